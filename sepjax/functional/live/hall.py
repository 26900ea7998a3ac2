r"""The sound of a hall: synthetic impulse responses, and convolution with them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

FIRST_REFLECTION = 0.01
"""Seconds from the direct sound to what the walls send back."""
BANDS = (250.0, 1000.0, 4000.0, 16000.0)
"""Hz, each with a reverberation time of its own, and in between a mixture of two."""
AIR = 8000.0
"""Hz at which air and walls have halved the reverberation time of low frequencies."""


def relative_time(frequency: np.ndarray) -> np.ndarray:
    """The reverberation time at a frequency over that at 1 kHz.

    ``(1 + 1000 / AIR) / (1 + f / AIR)``: high frequencies die away first.

    Example:
        >>> relative_time(np.array([250.0, 1000.0, 4000.0])).round(2).tolist()
        [1.09, 1.0, 0.75]
    """
    return (1 + 1000 / AIR) / (1 + frequency / AIR)


def hall_impulse_response(
    key: jax.Array,
    reverb_seconds: Float[Array, ""] | float,
    direct_db: Float[Array, ""] | float,
    *,
    sample_rate: int,
    taps: int,
) -> Float[Array, " taps"]:
    r"""Direct sound and a tail of noise that decays, high frequencies first.

    ``h[0] = 1``; from :data:`FIRST_REFLECTION` seconds on
    :math:`h = a \sum_k n_k(t)\, 10^{-3 t / T_k}`, where :math:`n_k` are the bands of
    one Gaussian noise around the frequencies of :data:`BANDS` and :math:`T_k` is
    ``reverb_seconds`` times :func:`relative_time`. The factor :math:`a` makes the
    energy of the tail ``direct_db`` less than one.

    Args:
        key: of the noise: another place in the hall for every key.
        reverb_seconds: until the energy has fallen by 60 dB, at 1 kHz.
        direct_db: direct-to-reverberant ratio in dB; infinite: no tail.
        sample_rate: in Hz; static under ``jit``.
        taps: of the response, also static; ``reverb_seconds * sample_rate`` suffice.

    Example:
        >>> draw = jax.jit(
        ...     lambda key: hall_impulse_response(
        ...         key, 1.0, 6.0, sample_rate=8000, taps=8000
        ...     )
        ... )
        >>> response = draw(jax.random.key(0))
        >>> float(response[0]), round(float((response[1:] ** 2).sum()), 3)
        (1.0, 0.251)

    Reference:
        Moorer, About this reverberation business, 1979.
    """
    noise = jax.random.normal(key, (taps,))
    weights, centers = _bands(taps, sample_rate)
    spectrum = jnp.fft.rfft(noise)
    parts = jnp.fft.irfft(spectrum[None] * jnp.asarray(weights, spectrum.dtype), n=taps)
    time = jnp.arange(taps, dtype=noise.dtype) / sample_rate - FIRST_REFLECTION
    times = jnp.asarray(relative_time(centers)[:, None], noise.dtype) * reverb_seconds
    decay = jnp.exp(-math.log(1000) * jnp.maximum(time, 0.0)[None] / times)
    tail = jnp.where(time >= 0, jnp.sum(parts * decay, axis=0), 0.0)
    return with_direct_sound(tail, jnp.asarray(direct_db, noise.dtype))


def _bands(taps: int, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (bands, bins) that sum to one, and the bands' centers in Hz."""
    centers = np.array([c for c in BANDS if c <= sample_rate / 2] or BANDS[:1])
    bins = np.fft.rfftfreq(taps, 1 / sample_rate)
    steps = np.log2(centers[1:] / centers[:-1]).mean() if len(centers) > 1 else 1.0
    place = np.log2(np.maximum(bins, 1) / centers[0]) / steps
    place = np.clip(place, 0, len(centers) - 1)
    away = np.minimum(np.abs(place - np.arange(len(centers))[:, None]), 1)
    return np.cos(np.pi / 2 * away) ** 2, centers


def with_direct_sound(
    tail: Float[Array, "*batch taps"], direct_db: Float[Array, "*batch"]
) -> Float[Array, "*batch taps"]:
    """An impulse of one at lag 0, the tail behind it scaled to ``-direct_db``.

    Sample 0 of the tail is not used. A tail of zeros stays zero.

    Example:
        >>> with_direct_sound(jnp.array([7.0, 0.0, 2.0]), jnp.array(20.0))
        Array([1. , 0. , 0.1], dtype=float32)
    """
    tail = tail[..., 1:]
    energy = jnp.sum(tail**2, axis=-1)
    gain = jnp.sqrt(10.0 ** (-direct_db / 10) / jnp.maximum(energy, 1e-20))
    direct = jnp.ones_like(tail[..., :1])
    return jnp.concatenate([direct, gain[..., None] * tail], axis=-1)


def reverberate(
    waves: Float[Array, "*batch time"], response: Float[Array, "*batch taps"]
) -> Float[Array, "*batch time"]:
    """Causal convolution, ``y[t] = sum_k h[k] x[t - k]``, cut at the waves' length.

    By one Fourier transform of ``time + taps - 1`` samples, or some more.

    Example:
        >>> reverberate(jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.array([1.0, 0.5])).round(6)
        Array([1. , 0.5, 0. , 0. ], dtype=float32)
    """
    time = waves.shape[-1]
    response = response[..., :time]
    size = quick_size(time + response.shape[-1] - 1)
    spectrum = jnp.fft.rfft(waves, n=size) * jnp.fft.rfft(response, n=size)
    return jnp.fft.irfft(spectrum, n=size)[..., :time]


def quick_size(least: int) -> int:
    """The least even number from ``least`` on without a prime factor above 5.

    Example:
        >>> quick_size(1001), quick_size(64000)
        (1024, 64000)
    """
    powers = (2 * 3**threes * 5**fives for threes in range(21) for fives in range(14))
    return min(p << max(0, -(-least // p) - 1).bit_length() for p in powers)
