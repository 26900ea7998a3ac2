"""Chunks of one length from blocks of any, and back, linearly cross-faded."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Chunking(NamedTuple):
    """Options of separation chunk by chunk; see :func:`sepjax.separate`."""

    chunk: float = 8.0  # seconds separated at once
    overlap: float = 0.25  # share of a chunk that is cross-faded with the next
    normalize: bool = True  # divide by the standard deviation of the whole track first
    rescale: bool = True  # fit scales to the mixture
    shifts: int = 1  # times that a track is heard, each a little later
    augment: tuple[str, ...] = ()  # what else is heard: "polarity", "swap"


DEFAULT = Chunking()


def check_chunking(chunk: float, overlap: float) -> None:
    """Check that chunks have a length that memory holds, and get on.

    Raises:
        ValueError: they are shorter than 0.01 s, longer than an hour, or overlap by
            more than 0.99.
    """
    if not (0.01 <= chunk <= 3600 and 0 <= overlap <= 0.99):
        raise ValueError(
            f"chunk={chunk} must be 0.01 to 3600 seconds, overlap={overlap} 0 to 0.99"
        )


@dataclass
class Chunk:
    """A piece of a track.

    Attributes:
        start: first sample.
        wave: ``(length, 1 + references, channels)``, padded with zeros at the end.
        size: samples of it that are the track's.
        estimates: ``(length, sources, channels)``, where they are known.
        missing: how many groups of channels are not estimated yet.
    """

    start: int
    wave: np.ndarray
    size: int
    estimates: np.ndarray = field(init=False)
    missing: int = 0


def chunks_of(
    blocks: Iterable[np.ndarray], length: int, hop: int, *, tiled: bool = False
) -> Iterator[Chunk]:
    """Cut a track into chunks that begin every ``hop`` samples.

    There is at least one chunk, and none that lies inside the chunk before it, unless
    estimates of chunks are to be added (``tiled``).

    Example:
        >>> blocks = [np.zeros((5, 1, 2), np.float32)] * 3
        >>> [(chunk.start, chunk.size) for chunk in chunks_of(blocks, 8, 6)]
        [(0, 8), (6, 8), (12, 3)]
        >>> [chunk.start for chunk in chunks_of(blocks, 20, 6, tiled=True)]
        [0, 6, 12]
    """
    held, start, covered = None, 0, False
    for block in blocks:
        held = block if held is None else np.concatenate([held, block])
        while len(held) >= length:
            yield Chunk(start, held[:length].copy(), length)
            held, start, covered = held[hop:], start + hop, True
    # The chunk before holds the rest already, but for the samples after its end.
    known = length - hop if covered and not tiled else 0
    while held is not None and len(held) > known:
        tail = [(0, length - len(held)), (0, 0), (0, 0)]
        yield Chunk(start, np.pad(held, tail), len(held))
        held, start = held[hop:] if tiled else None, start + hop


def count_chunks(time: int, length: int, hop: int, *, tiled: bool = False) -> int:
    """Count the chunks of :func:`chunks_of`.

    Example:
        >>> count_chunks(15, 8, 6), count_chunks(14, 8, 6)
        (3, 2)
        >>> count_chunks(14, 8, 6, tiled=True)
        3
    """
    rest = time - hop if tiled else time - length
    return max(-(-rest // hop), 0) + 1


def joined(
    chunks: Iterable[Chunk], length: int, hop: int, *, tiled: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Join the estimates of chunks: cross-faded where they overlap, or added.

    Yields:
        Mixture ``(time, channels)`` and estimates ``(time, sources, channels)``, block
        by block without a gap.
    """
    window = fades(length, length - hop)[:, None, None]
    # What the chunks before have in the next one; where they are added, without fades.
    ahead, shares = np.zeros((length - hop, 1, 1), np.float32), np.zeros_like(window)
    last = None
    for chunk in chunks:
        if last is not None:
            mixture, total, _ = last
            yield mixture[:hop], total[:hop]
        total = chunk.estimates if tiled else chunk.estimates * window
        total[: length - hop] += ahead
        ahead = total[hop:].copy()
        if not tiled:
            weight = window.copy()
            weight[: length - hop] += shares[hop:]
            total, shares = total / weight, weight
        last = chunk.wave[:, 0], total, chunk.size
    if last is not None:
        mixture, total, size = last
        yield mixture[:size], total[:size]


def fades(length: int, fade: int) -> np.ndarray:
    """Trapezoid: linear ramps of ``fade`` samples, whose overlap sums to one."""
    ramp = (np.arange(length, dtype=np.float32) + 0.5) / max(fade, 0.5)
    return np.minimum(np.minimum(ramp, ramp[::-1]), 1)
