"""Losses of waveforms: a value for every item and source."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.functional.hearing import hearing
from sepjax.losses.registry import LOSSES

Waves = Float[Array, "batch sources *channels time"]
Values = Float[Array, "batch sources"]


def si_sdr(
    reference: Float[Array, "*batch time"],
    estimate: Float[Array, "*batch time"],
    *,
    zero_mean: bool = False,
    eps: float = 1e-8,
) -> Float[Array, "*batch"]:
    r"""Scale-invariant signal-to-distortion ratio in decibels (thesis eq. 2.12).

    .. math:: \alpha = \frac{\langle \hat s, s \rangle}{\|s\|^2 + \epsilon}, \qquad
              10 \log_{10} \frac{\max(\|\alpha s\|^2, \epsilon)}
                                {\max(\|\alpha s - \hat s\|^2, \epsilon)}

    The floors make value and gradient finite for silent references, silent estimates
    and perfect ones. They are absolute: normalise loudness first.

    With ``zero_mean`` the means of both are removed first, as speech toolkits do.

    Example:
        >>> wave = jnp.array([1.0, -1.0, 1.0, -1.0])
        >>> noise = jnp.array([1.0, 1.0, -1.0, -1.0])
        >>> round(float(si_sdr(wave, 2 * wave + noise)), 2)
        6.02

    Reference:
        Le Roux et al. 2019, SDR: half-baked or well done?
    """
    if zero_mean:
        reference = reference - jnp.mean(reference, axis=-1, keepdims=True)
        estimate = estimate - jnp.mean(estimate, axis=-1, keepdims=True)
    energy = jnp.sum(reference**2, axis=-1, keepdims=True)
    scale = jnp.sum(reference * estimate, axis=-1, keepdims=True) / (energy + eps)
    target = scale * reference
    signal = jnp.maximum(jnp.sum(target**2, axis=-1), eps)
    distortion = jnp.maximum(jnp.sum((target - estimate) ** 2, axis=-1), eps)
    return 10 * (jnp.log10(signal) - jnp.log10(distortion))


def source_si_sdr(reference: Waves, estimate: Waves) -> Values:
    """SI-SDR of every source, its channels one long vector (one scale for all).

    Example:
        >>> stereo = jnp.array([[[[1.0, -1.0], [2.0, -2.0]]]])
        >>> source_si_sdr(stereo, 3 * stereo).shape
        (1, 1)
    """
    return si_sdr(*(x.reshape(*x.shape[:2], -1) for x in (reference, estimate)))


@LOSSES.register("si_sdr", label="si_sdr", sign=-1)
def negative_si_sdr(sources: Waves, estimates: Waves) -> Values:
    """Minus :func:`source_si_sdr`, in decibels.

    Example:
        >>> wave = jnp.array([[[1.0, -1.0, 1.0, -1.0]]])
        >>> noise = jnp.array([[[1.0, 1.0, -1.0, -1.0]]])
        >>> round(float(negative_si_sdr(wave, wave + noise / 2)[0, 0]), 2)
        -6.02
    """
    return -source_si_sdr(sources, estimates)


@LOSSES.register("sdr")
def negative_sdr(sources: Waves, estimates: Waves) -> Values:
    r"""Minus the plain signal-to-distortion ratio, which minds the scale, in decibels.

    .. math:: -10 \log_{10} \frac{\|s\|^2 + \epsilon}{\|s - \hat s\|^2 + \epsilon},
              \quad \epsilon = 10^{-8}

    Example:
        >>> wave = jnp.ones((1, 1, 4))
        >>> round(float(negative_sdr(wave, 0.9 * wave)[0, 0]), 2)
        -20.0
    """
    signal = jnp.sum(jnp.square(sources), axis=_inner(sources))
    distortion = jnp.sum(jnp.square(sources - estimates), axis=_inner(sources))
    return 10 * (jnp.log10(distortion + 1e-8) - jnp.log10(signal + 1e-8))


@LOSSES.register("l1", counts_silence=True, positive=True)
def l1(sources: Waves, estimates: Waves) -> Values:
    r"""Mean absolute error :math:`\frac{1}{T} \sum_t |s_t - \hat s_t|`.

    Example:
        >>> float(l1(jnp.ones((1, 1, 4)), jnp.zeros((1, 1, 4)))[0, 0])
        1.0
    """
    return jnp.mean(jnp.abs(sources - estimates), axis=_inner(sources))


@LOSSES.register("mse", counts_silence=True, positive=True)
def mse(sources: Waves, estimates: Waves) -> Values:
    r"""Mean squared error :math:`\frac{1}{T} \sum_t (s_t - \hat s_t)^2`.

    Example:
        >>> float(mse(jnp.ones((1, 1, 4)), 3 * jnp.ones((1, 1, 4)))[0, 0])
        4.0
    """
    return jnp.mean(jnp.square(sources - estimates), axis=_inner(sources))


@LOSSES.register("l1_snr", counts_silence=True)
def l1_snr(sources: Waves, estimates: Waves) -> Values:
    r"""Error over signal in mean absolute values, in decibels.

    .. math:: 10 \log_{10} \frac{\|\hat s - s\|_1 + \epsilon}{\|s\|_1 + \epsilon}

    with norms that are means over samples and :math:`\epsilon = 10^{-3}`, so that a
    silent source has a finite value.

    Example:
        >>> wave = jnp.ones((1, 1, 4))
        >>> round(float(l1_snr(wave, 0.9 * wave)[0, 0]), 1)
        -10.0

    Reference:
        Watcharasupat et al. 2023, A generalized bandsplit neural network for cinematic
        audio source separation.
    """
    axes = _inner(sources)
    error = jnp.mean(jnp.abs(estimates - sources), axis=axes) + 1e-3
    signal = jnp.mean(jnp.abs(sources), axis=axes) + 1e-3
    return 10 * (jnp.log10(error) - jnp.log10(signal))


@LOSSES.register("log_wmse", counts_silence=True)
def log_wmse(
    sources: Waves,
    estimates: Waves,
    mixture: Float[Array, "batch *channels time"],
    sample_rate: int,
) -> Values:
    r"""Minus logWMSE: the logarithm of an error weighted as hearing is.

    .. math:: 4 \ln\left(\frac{1}{T} \sum_t \theta(d_t)^2 + 10^{-8}\right), \quad
              d = \frac{w * (\hat s - s)}{\mathrm{rms}(w * x)}

    with the mixture :math:`x`, the root of :func:`~sepjax.functional.hearing.hearing`
    as the frequency response of :math:`w`, and :math:`\theta` that sets values below
    -68 dB to zero: nobody hears them. The mean over channels is taken last. Silent
    sources have a finite value. The rate is in Hz.

    Example:
        >>> noise = jnp.sin(jnp.arange(800.0))[None]
        >>> value = log_wmse(jnp.zeros((1, 1, 800)), 0.1 * noise[:, None], noise, 8000)
        >>> round(float(value[0, 0]), 2)  # 4 ln(0.01)
        -18.42

    Reference:
        Jordal, log-wmse-audio-quality; as a loss Landschoot, torch-log-wmse.
    """
    frequency = np.fft.rfftfreq(2 * sources.shape[-1], 1 / sample_rate)
    weight = jnp.asarray(np.sqrt(hearing(frequency)), sources.dtype)

    def weighted(wave: Array) -> Array:
        spectrum = jnp.fft.rfft(wave, n=2 * wave.shape[-1])
        spectrum *= jnp.broadcast_to(weight, spectrum.shape)
        return jnp.fft.irfft(spectrum)[..., : wave.shape[-1]]

    loudness = jnp.sqrt(jnp.mean(weighted(mixture) ** 2, -1, keepdims=True) + 1e-12)
    error = weighted(estimates - sources) / loudness[:, None]
    audible = jnp.where(jnp.abs(error) < 10 ** (-68 / 20), 0.0, error)
    values = 4 * jnp.log(jnp.mean(audible**2, -1) + 1e-8)
    return jnp.mean(values.reshape(*values.shape[:2], -1), -1)


def _inner(waves: Array) -> tuple[int, ...]:
    """The axes after items and sources."""
    return tuple(range(2, waves.ndim))
