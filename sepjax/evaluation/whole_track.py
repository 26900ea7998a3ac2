"""Whole-track scores of one estimate against its reference, in float64.

Both scores are computed over all samples and channels at once; how they are averaged
over tracks is the subject of :mod:`sepjax.evaluation.scoring`.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from sepjax import losses
from sepjax.evaluation.device import float64_enabled


@jax.jit
def _exact_si_sdr(reference: jax.Array, estimate: jax.Array) -> jax.Array:
    # Silence is told apart below: no floor need keep values finite, as in training.
    waves = (wave.astype(jnp.float64) for wave in (reference, estimate))
    return losses.si_sdr(*waves, eps=0.0)


def si_sdr(
    reference: np.ndarray,
    estimate: np.ndarray,
    *,
    zero_mean: bool = False,
    channels: Literal["flatten", "mean"] = "flatten",
) -> np.ndarray:
    r"""Scale-invariant signal-to-distortion ratio in dB (thesis eq. 2.12).

    .. math:: 10 \log_{10} \frac{|\alpha s|^2}{|\alpha s - \hat s|^2},
        \qquad \alpha = \frac{\langle \hat s, s \rangle}{|s|^2}

    Args:
        reference: ``(..., time, channels)`` or ``(time,)``, the source :math:`s`.
        estimate: same shape, :math:`\hat s`, of any scale.
        zero_mean: remove the mean of every channel first, as asteroid does.
        channels: "flatten" lays the channels end to end and fits one scale (the
            ratio between channels then counts); "mean" averages the scores of the
            channels in which the reference sounds.

    Returns:
        ``(...)`` float64. NaN where the reference is silent (there is nothing to
        score), minus infinity where only the estimate is silent, infinity for a copy.

    Raises:
        ValueError: the shapes differ, or a choice is unknown.

    Example:
        >>> reference = np.array([1.0, 0.0, 1.0, 0.0])
        >>> estimate = np.array([3.0, 0.3, 3.0, 0.3])
        >>> print(f"{si_sdr(reference, estimate):.2f} dB")
        20.00 dB
    """
    if channels not in ("flatten", "mean"):
        raise ValueError(f"channels={channels!r} must be 'flatten' or 'mean'")
    waves = _channel_first(reference, estimate)
    if zero_mean:
        waves = [w - w.mean(-1, keepdims=True, dtype=np.float64) for w in waves]
    if channels == "flatten":
        waves = [wave.reshape(*wave.shape[:-2], 1, -1) for wave in waves]
    reference, estimate = waves
    with float64_enabled():
        values = np.asarray(_exact_si_sdr(reference, estimate))
    values = np.where(estimate.any(-1), values, -np.inf)
    values = np.where((reference == estimate).all(-1), np.inf, values)
    sounds = reference.any(-1)
    total = np.where(sounds, values, 0.0).sum(-1)
    return np.where(sounds.any(-1), total / np.maximum(sounds.sum(-1), 1), np.nan)


def usdr(
    reference: np.ndarray, estimate: np.ndarray, *, eps: float = 1e-7
) -> np.ndarray:
    r"""Signal-to-distortion ratio of the whole track, in dB ("uSDR", MDX 2021).

    .. math:: 10 \log_{10}
        \frac{\sum s^2 + \epsilon}{\sum (s - \hat s)^2 + \epsilon}

    Shapes and errors are those of :func:`si_sdr`, at full scale 1; the scale counts. It
    is defined for silence too, where it tells little.

    Example:
        >>> print(f"{usdr(np.ones(4), 0.9 * np.ones(4)):.2f} dB")
        20.00 dB

    Reference:
        Mitsufuji et al., "Music Demixing Challenge 2021", eq. 1.
    """
    reference, estimate = _channel_first(reference, estimate)
    signal = np.square(reference, dtype=np.float64).sum((-2, -1))
    error = np.subtract(reference, estimate, dtype=np.float64)
    error = np.square(error, out=error).sum((-2, -1))
    return 10 * np.log10((signal + eps) / (error + eps))


def _channel_first(*waves: np.ndarray) -> list[np.ndarray]:
    shapes = [np.shape(wave) for wave in waves]
    if shapes[0] != shapes[1]:
        raise ValueError(f"reference {shapes[0]} and estimate {shapes[1]} differ")
    if 0 in shapes[0] or not shapes[0]:
        raise ValueError(f"nothing to score: the signals have shape {shapes[0]}")
    # A float32 track stays what it is: a copy in float64 takes longer than its score.
    arrays = [np.asarray(wave) for wave in waves]
    arrays = [a if a.dtype.kind == "f" else a.astype(np.float64) for a in arrays]
    return [a[None] if a.ndim == 1 else np.swapaxes(a, -1, -2) for a in arrays]
