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
    each = _added(chunks, length, hop) if tiled else _faded(chunks, length, hop)
    last = None
    for chunk, *parts in each:
        if last is not None:
            yield from _blocks(*last, hop)
        last = chunk.wave[:, 0], parts, chunk.size
    if last is not None:
        yield from _blocks(*last, length)


def _blocks(
    mixture: np.ndarray, parts: Iterable[np.ndarray], size: int, most: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The parts of a chunk one after the other, up to its end or another sample."""
    done, end = 0, min(size, most)
    for part in parts:
        if done < end:
            part = part[: end - done]
            yield mixture[done : done + len(part)], part
            done += len(part)


def _added(
    chunks: Iterable[Chunk], length: int, hop: int
) -> Iterator[tuple[Chunk, np.ndarray, np.ndarray]]:
    """Tiles and the sums of their estimates with what tiles before have there.

    Estimates are not changed: they may lie in memory of the device.
    """
    common, ahead = length - hop, np.zeros((length - hop, 1, 1), np.float32)
    for chunk in chunks:
        start, rest = chunk.estimates[:common] + ahead, chunk.estimates[common:]
        ahead = np.concatenate([start[hop:], rest[max(hop - common, 0) :]])
        yield chunk, start, rest


def _faded(
    chunks: Iterable[Chunk], length: int, hop: int
) -> Iterator[tuple[Chunk, np.ndarray]]:
    """Chunks and their estimates, cross-faded with those before."""
    window = fades(length, length - hop)[:, None, None]
    # What the chunks before have in the next one.
    ahead, shares = np.zeros((length - hop, 1, 1), np.float32), np.zeros_like(window)
    for chunk in chunks:
        total, weight = chunk.estimates * window, window.copy()
        total[: length - hop] += ahead
        weight[: length - hop] += shares[hop:]
        ahead, shares = total[hop:].copy(), weight
        yield chunk, total / weight


def fades(length: int, fade: int) -> np.ndarray:
    """Trapezoid: linear ramps of ``fade`` samples, whose overlap sums to one."""
    ramp = (np.arange(length, dtype=np.float32) + 0.5) / max(fade, 0.5)
    return np.minimum(np.minimum(ramp, ramp[::-1]), 1)
