"""Losses of spectra: a value for every item and source."""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from sepjax.functional.spectral import stft
from sepjax.losses.registry import LOSSES
from sepjax.losses.waveform import Values, Waves


@LOSSES.register(
    "spectral_mse", label="mse", over_sources="sum", counts_silence=True, positive=True
)
def spectral_mse(
    source_spectra: Float[Array, "batch sources frames bins channels"],
    spectra: Float[Array, "batch sources frames bins channels"],
) -> Values:
    r"""Mean squared error of magnitudes (Open-Unmix).

    .. math:: \mathrm{mean}_{t,f,i} (\hat V - V)^2

    Its sum over sources gives each network, which has no parameter in common with the
    others, the gradient of its own error alone.

    Example:
        >>> one = jnp.ones((2, 3, 4, 5, 1))
        >>> spectral_mse(one, 2 * one).tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    return jnp.mean(jnp.square(spectra - source_spectra), axis=(2, 3, 4))


@LOSSES.register(
    "spectral_l1", label="l1", over_sources="sum", counts_silence=True, positive=True
)
def spectral_l1(
    source_spectra: Float[Array, "batch sources frames bins channels"],
    spectra: Float[Array, "batch sources frames bins channels"],
) -> Values:
    r"""Mean absolute error of magnitudes (Spleeter), summed over sources.

    .. math:: \mathrm{mean}_{t,f,i} |\hat V - V|

    Example:
        >>> one = jnp.ones((2, 3, 4, 5, 1))
        >>> spectral_l1(one, -2 * one).tolist()
        [[3.0, 3.0, 3.0], [3.0, 3.0, 3.0]]

    Reference:
        Jansson et al. 2017, Singing voice separation with deep U-Net convolutional
        networks.
    """
    return jnp.mean(jnp.abs(spectra - source_spectra), axis=(2, 3, 4))


@LOSSES.register("multi_resolution_stft", counts_silence=True, positive=True)
def multi_resolution_stft(
    sources: Waves,
    estimates: Waves,
    windows: tuple[int, ...] = (4096, 2048, 1024, 512, 256),
    hop: int = 147,
    n_fft: int = 0,
) -> Values:
    r"""Mean absolute error of complex spectra, summed over windows of several lengths.

    .. math:: \sum_n \mathrm{mean}_{f,t,c} |\hat S_n - S_n|

    Windows and hop are in samples; frames that are longer than the signal are left out.
    Zeros around windows make frames of at least ``n_fft`` samples.

    Example:
        >>> wave = jnp.sin(jnp.arange(600.0))[None, None]
        >>> import jax
        >>> loss = jax.jit(multi_resolution_stft)
        >>> value, twice = loss(wave, 0.5 * wave), loss(wave, 0.0 * wave)
        >>> round(float((twice / value)[0, 0]), 3)
        2.0

    Reference:
        Lu et al. 2023, Music source separation with band-split RoPE transformer.
    """
    error, time = estimates - sources, sources.shape[-1]
    total = jnp.zeros(sources.shape[:2])
    for window in windows:
        length = max(window, n_fft)
        if length // 2 < time:
            spectrum: Complex[Array, "..."] = stft(
                error, n_fft=length, hop=hop, window=window
            )
            # The root's gradient at zero is not finite.
            power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
            size = jnp.sqrt(power + 1e-20)
            total += jnp.mean(size, axis=tuple(range(2, size.ndim)))
    return total


@LOSSES.register("padded_stft", counts_silence=True, positive=True)
def padded_stft(sources: Waves, estimates: Waves) -> Values:
    """:func:`multi_resolution_stft` in frames of at least 2048 samples.

    With ``l1`` it is the loss that the public RoFormers were trained with.

    Example:
        >>> wave = jnp.sin(jnp.arange(2000.0))[None, None]
        >>> import jax
        >>> jax.jit(padded_stft)(wave, 0.5 * wave).shape
        (1, 1)

    Reference:
        Lu et al. 2023; ZFTurbo/Music-Source-Separation-Training.
    """
    return multi_resolution_stft(sources, estimates, n_fft=2048)
