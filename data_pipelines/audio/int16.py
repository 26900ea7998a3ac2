"""Samples as integers and as floats at full scale 1, by one rule.

An integer of ``b`` bits over ``2**(b - 1)`` is a float; floats are rounded back, and
what exceeds the largest integer becomes it: +1.0 is 32767 of 16 bits.
"""

from typing import Any

import numpy as np

FULL_SCALE = 32768


def to_int16(audio: np.ndarray) -> tuple[np.ndarray, int]:
    """Round to 16 bits; also return how many samples were clipped.

    Example:
        >>> samples, clipped = to_int16(np.array([0.5, -1.0, 1.5]))
        >>> samples.tolist(), clipped
        ([16384, -32768, 32767], 1)
    """
    scaled = np.rint(audio * FULL_SCALE)
    # Full scale itself, 32768, is one step too many but no clipping to speak of.
    clipped = int(np.count_nonzero((scaled > FULL_SCALE) | (scaled < -FULL_SCALE)))
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16), clipped


def to_float(samples: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
    """Convert integers of 16 bits, or their sums, to full scale 1; floats stay.

    Example:
        >>> to_float(np.array([16384, -32768], np.int16))
        array([ 0.5, -1. ], dtype=float32)
    """
    if np.issubdtype(samples.dtype, np.floating):
        return samples.astype(dtype)
    return samples.astype(dtype) / dtype(FULL_SCALE)


def quantize(audio: np.ndarray, bits: int) -> np.ndarray:
    """Convert samples to integers of so many bits; int16 samples stay as they are.

    Example:
        >>> quantize(np.array([0.5, 1.0, -1.0]), 24).tolist()
        [4194304, 8388607, -8388608]
    """
    if audio.dtype == np.int16:
        return audio
    full = 2.0 ** (bits - 1)
    return np.clip(np.rint(audio * full), -full, full - 1).astype(np.int32)


def packed(samples: np.ndarray, width: int) -> bytes:
    r"""Pack integers as the bytes of a PCM WAV, little end first.

    Example:
        >>> packed(np.array([1, -1]), 3)
        b'\x01\x00\x00\xff\xff\xff'
    """
    wide = np.ascontiguousarray(samples, "<i2" if width == 2 else "<i4")
    if width == 2:
        return wide.tobytes()
    return wide.view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
