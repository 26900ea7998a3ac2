"""Decimation by an integer factor, differentiable."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.functional.framing import analyze

ZERO_CROSSINGS = 64  # of the sinc on either side
BETA = 14.769656459379492  # of the Kaiser window
ROLLOFF = 0.9475937167399596  # where the gain is a half, over the new Nyquist frequency
BLOCK = 128  # outputs of one frame: a matrix that is large enough to be quick


def windowed_sinc(factor: int) -> Float[np.ndarray, " taps"]:
    """Symmetric low-pass taps to precede decimation, their sum one.

    A sinc under a Kaiser window, ``2 Z factor + 1`` taps in double precision: up to a
    factor ``h(x) = r sinc(r x) I0(beta sqrt(1 - (x / Z)^2)) / I0(beta)``, where ``x``
    counts samples of the lower rate, ``r`` is :data:`ROLLOFF`, ``Z`` is
    :data:`ZERO_CROSSINGS`, and ``sinc(x) = sin(pi x) / (pi x)``.

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
    reach = ZERO_CROSSINGS * factor
    place = np.arange(-reach, reach + 1) / factor
    inside = 1 - (place / ZERO_CROSSINGS) ** 2
    window = np.i0(BETA * np.sqrt(np.maximum(inside, 0.0))) / np.i0(BETA)
    taps = ROLLOFF * np.sinc(ROLLOFF * place) * window
    return taps / taps.sum()


def decimate(
    wave: Float[Array, "*batch time"], factor: int
) -> Float[Array, "*batch decimated"]:
    """Every ``factor``-th sample of a low-passed signal, without delay.

    ``y[k] = sum_n h[n] x[k factor + n]`` with the taps of :func:`windowed_sinc`, zeros
    outside the signal, ``ceil(time / factor)`` samples. In terms of the new Nyquist
    frequency, what lies below 0.87 keeps amplitude and phase (to 1e-7), what lies above
    1.02 is attenuated by 126 dB; exactly at 1 it is 56 dB. The factor is static under
    ``jit``.

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
