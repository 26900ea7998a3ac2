"""Short-time Fourier transform and its inverse, channel-last."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from sepjax.functional.framing import fit, frame, overlap_add

FLOOR = -8.0
"""Of :func:`log_power`, reached by silence."""


def hann(length: int) -> Float[Array, " length"]:
    """Periodic Hann window, ``0.5 - 0.5 cos(2 pi n / length)``.

    Example:
        >>> hann(4)
        Array([0. , 0.5, 1. , 0.5], dtype=float32)
    """
    # In double precision: its small ends decide how far a spectrum's floor lies.
    angle = 2 * np.pi * np.arange(length) / length
    return jnp.asarray(0.5 - 0.5 * np.cos(angle), dtype=float)


def stft(
    wave: Float[Array, "*batch time"],
    *,
    n_fft: int,
    hop: int,
    window: int = 0,
    center: bool = True,
    padding: str = "reflect",
) -> Complex[Array, "*batch frames bins"]:
    """One-sided short-time Fourier transform with a periodic Hann window, unscaled.

    ``X[k, f] = sum_n w[n] x[k * hop + n] exp(-2 pi i f n / n_fft)``.

    Args:
        wave: signals.
        n_fft: length of a frame, samples; there are ``n_fft // 2 + 1`` bins.
        hop: samples between frames.
        window: samples of the window in the middle of a frame, with zeros around
            it; 0: all.
        center: pad by half a window on both sides, so that frame ``k`` is centred on
            sample ``k * hop`` (torch's default).
        padding: ``"reflect"`` or ``"constant"`` (zeros), how ``center`` pads.

    Example:
        >>> stft(jnp.zeros((2, 4096)), n_fft=512, hop=128).shape
        (2, 33, 257)
    """
    if center:
        edges = [(0, 0)] * (wave.ndim - 1) + [(n_fft // 2, n_fft // 2)]
        wave = jnp.pad(wave, edges, mode=padding)
    frames = frame(wave, n_fft, hop)
    taps = jnp.broadcast_to(_taps(n_fft, window).astype(wave.dtype), frames.shape)
    return jnp.fft.rfft(frames * taps, axis=-1)


def _taps(n_fft: int, window: int) -> Float[Array, " length"]:
    before = (n_fft - (window or n_fft)) // 2
    return fit(jnp.pad(hann(window or n_fft), (before, 0)), n_fft)


def istft(
    spectrum: Complex[Array, "*batch frames bins"],
    *,
    n_fft: int,
    hop: int,
    time: int,
    window: int = 0,
    center: bool = True,
) -> Float[Array, "*batch time"]:
    """Least-squares inverse of :func:`stft`.

    ``x[t] = sum_k w[t - k hop] y[k, t - k hop] / sum_k w[t - k hop]^2`` with ``y`` the
    inverse transform of every frame (Griffin and Lim 1984, eq. 6). Samples that no
    window reaches are zero.

    Args:
        spectrum: as :func:`stft` returns it.
        n_fft: length of a frame, samples.
        hop: samples between frames.
        time: samples to return, cropped or zero-padded at the end.
        window: as of the transform.
        center: whether the transform was centred.

    Example:
        >>> wave = jnp.sin(jnp.arange(1000.0))
        >>> again = istft(stft(wave, n_fft=64, hop=16), n_fft=64, hop=16, time=1000)
        >>> bool(jnp.abs(again - wave).max() < 1e-5)
        True
    """
    frames = jnp.fft.irfft(spectrum, n_fft, axis=-1)
    taps = _taps(n_fft, window).astype(frames.dtype)
    taps = jnp.broadcast_to(taps, frames.shape[-2:])
    wave = overlap_add(frames * jnp.broadcast_to(taps, frames.shape), hop)
    # One weight for all signals.
    weight = overlap_add(taps**2, hop)
    weight = jnp.where(weight > 1e-8, weight, 1.0)
    wave = wave / jnp.broadcast_to(weight, wave.shape)
    return fit(wave[..., n_fft // 2 if center else 0 :], time)


def log_power(
    wave: Float[Array, "*batch time"], *, n_fft: int, hop: int
) -> Float[Array, "*batch frames bins"]:
    """Decadic logarithm of the power spectrogram, ``log10(|STFT|^2 + 1e-8)``.

    Signals shorter than half a window are padded with zeros first, since a reflection
    needs as many samples.

    Example:
        >>> log_power(jnp.zeros((2, 4096)), n_fft=512, hop=128)[0, 0, 0].round(3)
        Array(-8., dtype=float32)

    Reference:
        Samuel, Ganeshan and Naradowsky 2020, Meta-learning extractors for music
        source separation.
    """
    wave = fit(wave, max(n_fft // 2 + 1, wave.shape[-1]))
    spectrum = stft(wave, n_fft=n_fft, hop=hop)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    return jnp.log10(power + 10**FLOOR)


def interpolate_frames(
    features: Float[Array, "*batch frames features"], frames: int
) -> Float[Array, "*batch resampled features"]:
    """Linear interpolation along the frames, first and last ones aligned.

    Frame ``k`` of the result lies at ``k (S - 1) / (K - 1)`` of the S given ones.

    Example:
        >>> interpolate_frames(jnp.array([[0.0], [2.0]]), 3).tolist()
        [[0.0], [1.0], [2.0]]
    """
    count = features.shape[-2]
    place = np.arange(frames) * ((count - 1) / max(frames - 1, 1))
    before = np.minimum(place.astype(int), max(count - 2, 0))
    after = np.minimum(before + 1, count - 1)
    share = jnp.asarray(place - before, features.dtype)
    share = share.reshape((1,) * (features.ndim - 2) + (frames, 1))
    low, high = (jnp.take(features, index, axis=-2) for index in (before, after))
    return low + share * (high - low)
