"""Decimation by an integer factor, differentiable."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.functional.framing import analyze

ZERO_CROSSINGS = 64
BETA = 14.769656459379492
ROLLOFF = 0.9475937167399596
BLOCK = 128  # outputs of one frame: a matrix that is large enough to be quick


def kaiser_sinc(
    place: Float[np.ndarray, "*place"],
    *,
    zero_crossings: int = ZERO_CROSSINGS,
    beta: float = BETA,
    rolloff: float = ROLLOFF,
) -> Float[np.ndarray, "*place"]:
    """A low-pass at ``rolloff`` times the Nyquist frequency, under a Kaiser window.

    ``h(x) = rolloff sinc(rolloff x) I0(beta sqrt(1 - (x / Z)^2)) / I0(beta)`` for
    ``|x| <= Z = zero_crossings``, else 0; ``x`` counts samples of the lower rate, and
    ``sinc(x) = sin(pi x) / (pi x)``.

    Example:
        >>> kaiser_sinc(np.array([0.0, 64.5])).round(4).tolist()
        [0.9476, 0.0]
    """
    inside = 1 - (np.asarray(place, np.float64) / zero_crossings) ** 2
    window = np.i0(beta * np.sqrt(np.maximum(inside, 0.0))) / np.i0(beta)
    return np.where(inside < 0, 0.0, rolloff * np.sinc(rolloff * place) * window)


def windowed_sinc(
    factor: int,
    *,
    zero_crossings: int = ZERO_CROSSINGS,
    beta: float = BETA,
    rolloff: float = ROLLOFF,
) -> Float[np.ndarray, " taps"]:
    """Symmetric low-pass taps to precede decimation, their sum one.

    :func:`kaiser_sinc` at every sample, ``2 zero_crossings factor + 1`` taps in double
    precision.

    Args:
        factor: of the decimation.
        zero_crossings: of the sinc on either side; more make the transition narrower.
        beta: of the Kaiser window; more attenuate the stop band further.
        rolloff: where the gain is a half, in Nyquist frequencies of the lower rate.

    Raises:
        ValueError: the factor is not a positive integer.

    Example:
        >>> taps = windowed_sinc(2)
        >>> len(taps), round(float(taps.sum()), 12), int(taps.argmax())
        (257, 1.0, 128)

    Reference:
        Smith, Digital audio resampling; the constants are those of ``kaiser_best`` in
        resampy 0.2.2.
    """
    if factor != int(factor) or factor < 1:
        raise ValueError(f"factor={factor} must be a positive integer")
    reach = zero_crossings * factor
    place = np.arange(-reach, reach + 1) / factor
    taps = kaiser_sinc(place, zero_crossings=zero_crossings, beta=beta, rolloff=rolloff)
    return taps / taps.sum()


def decimate(
    wave: Float[Array, "*batch time"], factor: int
) -> Float[Array, "*batch decimated"]:
    """Every ``factor``-th sample of a low-passed signal, without delay.

    ``y[k] = sum_n h[n] x[k factor + n]`` with the taps of :func:`windowed_sinc`, zeros
    outside the signal, ``ceil(time / factor)`` samples. In terms of the new Nyquist
    frequency, what lies below 0.87 keeps amplitude and phase (to 1e-7), what lies above
    1.02 is attenuated by 126 dB; exactly at 1 it is 56 dB.

    Args:
        wave: signals.
        factor: by which the rate falls; static under ``jit``.

    Raises:
        ValueError: the factor is not a positive integer.

    Example:
        >>> decimate(jnp.ones((2, 1001)), 4).shape
        (2, 251)
    """
    taps = windowed_sinc(factor)
    if factor == 1:
        return wave
    # Frame b holds all that the outputs b * BLOCK ... see; column c of the bank is the
    # filter of output c among them, `factor` samples further on than the one before.
    bank = np.zeros((BLOCK * factor + len(taps) - 1, BLOCK))
    for column in range(BLOCK):
        bank[column * factor :, column][: len(taps)] = taps
    # Accelerators would round the factors of a product to ten bits or fewer.
    with jax.default_matmul_precision("highest"):
        blocks = analyze(wave, jnp.asarray(bank, wave.dtype), BLOCK * factor)
    count = math.ceil(wave.shape[-1] / factor)
    return blocks.reshape(*wave.shape[:-1], -1)[..., :count]
