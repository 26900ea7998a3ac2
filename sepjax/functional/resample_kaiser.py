"""Resampling as ``kaiser_best`` of librosa 0.7.2 did it, quirks and all.

In NumPy, as it prepares files on the host, in double precision: published models heard
music resampled like this. For anything else soxr is quicker and more exact.
"""

import math

import numpy as np
from jaxtyping import Float

from sepjax.functional.resample import ZERO_CROSSINGS, kaiser_sinc

PRECISION = 512  # entries of the table from one zero crossing to the next
BLOCK = 4096  # output samples computed at once


def kaiser_best(
    wave: Float[np.ndarray, "*batch time"], rate: int, target: int
) -> Float[np.ndarray, "*batch resampled"]:
    """Interpolate with a windowed sinc, 64 zero crossings on either side.

    ``y[k] = sum_n x[n] s h(s (n - k rate / target))`` with :func:`kaiser_sinc` h and
    ``s = min(1, target / rate)``, but for a quirk: h is read from a table, in which
    neighboring samples lie ``int(512 s)`` entries apart instead of ``512 s``. So from
    44.1 kHz to 8, 16 and 32 kHz the gain at 0 Hz is 1.0079, 1.0027 and 1.0004.

    Args:
        wave: signals; zeros are assumed around them.
        rate: of the signals, Hz.
        target: rate wanted, Hz.

    Returns:
        ``ceil(time * target / rate)`` samples of the wave's type. If that was rounded
        up, the last one is zero, as librosa appended it.

    Raises:
        ValueError: a rate is not positive, or the target is below 1/512 of the rate.

    Example:
        >>> kaiser_best(np.ones(44100, np.float32), 44100, 8000).shape
        (8000,)

    Reference:
        resampy 0.2.2 (``resample`` with filter ``kaiser_best``); lengths of librosa
        0.7.2. Later versions of resampy have other constants and no such quirk.
    """
    if rate <= 0 or target <= 0 or target * PRECISION < rate:
        raise ValueError(
            f"cannot resample from {rate=} to {target=}: both must be positive, their "
            f"ratio at least 1/{PRECISION}"
        )
    if rate == target:
        return wave.copy()
    ratio = target / rate
    time = wave.shape[-1]
    scale, table = min(1.0, ratio), _table(min(1.0, ratio))
    taps = table.shape[-1]
    edges = [(0, 0)] * (wave.ndim - 1) + [(taps, taps)]
    padded = np.pad(np.asarray(wave, np.float64), edges)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * taps, axis=-1)
    # Added up as in the original: rounding decides on which side of a whole sample a
    # time falls, and the quirk gives either side other weights.
    count = int(time * ratio)
    times = np.append(0.0, np.cumsum(np.full(count, 1 / ratio)))[:count]
    result = np.zeros((*wave.shape[:-1], math.ceil(time * ratio)), wave.dtype)
    for start in range(0, len(times), BLOCK):
        block = times[start : start + BLOCK]
        before = block.astype(int)
        share = scale * (block - before)
        left, right = _weights(table, share), _weights(table, scale - share)
        weights = np.concatenate([left[:, ::-1], right], axis=-1)
        # Window n + 1 ends `taps` samples after sample n, at which `left` begins.
        heard = windows[..., before + 1, :]
        found = np.einsum("...kn,kn->...k", heard, weights)
        result[..., start : start + len(block)] = found
    return result


def _table(scale: float) -> Float[np.ndarray, "values_slopes offsets taps"]:
    """Entry ``[0, o, i]``: the filter at table index ``o + i int(512 scale)``.

    ``[1, o, i]`` is the difference to the next index.
    """
    size, step = ZERO_CROSSINGS * PRECISION + 1, int(scale * PRECISION)
    values = scale * kaiser_sinc(np.arange(size) / PRECISION)
    slopes = np.append(np.diff(values), 0.0)
    offsets = np.arange(int(scale * PRECISION) + 1)[:, None]
    index = offsets + step * np.arange(size // step)
    # A last tap is left out where less than a step remains behind it.
    heard = np.arange(size // step) < (size - offsets) // step
    index = np.minimum(index, size - 1)
    return np.where(heard, np.stack([values[index], slopes[index]]), 0.0)


def _weights(
    table: Float[np.ndarray, "values_slopes offsets taps"],
    share: Float[np.ndarray, " block"],
) -> Float[np.ndarray, "block taps"]:
    """The filter from ``share`` samples (of the lower rate) on, sample by sample."""
    offset = (share * PRECISION).astype(int)
    part = share * PRECISION - offset
    return table[0, offset] + part[:, None] * table[1, offset]
