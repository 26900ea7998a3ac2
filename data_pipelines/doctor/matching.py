"""Which recordings are alike: an index of pairs of peaks, and waves side by side.

The index proposes, cheaply and without missing much; it cannot tell a copy from a song
that plays the same loops under another voice. So what it proposes is aligned to the
sample and compared block by block.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.doctor.fingerprint import HOP, RATE, Fingerprint

VERSION = 2  # of the comparison; part of the names of what is remembered
# Two songs that share nothing had 3 pairs in common at one offset, copies of 30 s of
# them, coded at 32 kbit/s or in noise, 66 and more.
LEAST_PAIRS = 8
# And so many of all pairs of the shorter: chance grows with the length of both. Copies
# kept 7 % of their pairs or more.
LEAST_SHARE = 0.02
OFFSETS = 16  # candidates at so many offsets: copies from which something was cut
# Pairs of peaks that occur more often, in all and for each song, tell nothing and cost
# time.
COMMON, COMMON_PER_SONG = 5000, 5
BLOCK = 4 * RATE  # samples that are compared at once, 4 s
# Likeness of two aligned blocks that hold the same audio. Copies (MP3, AAC of 48
# kbit/s, noise 20 dB below, clipped by 6 dB, equalized) have 0.97 and more in most
# blocks; songs that differ in one of five loops stay below 0.9.
SAME_BLOCK = 0.95
SOUNDING = -40.0  # dB: blocks quieter than this against the song are not compared
MARGIN = 2 * HOP  # samples by which an offset may be wrong
# Blocks are aligned above the bass, whose phase any high-pass turns, and compared band
# by band, of a fifth of their frequency and of so many bins that chance has no part.
HIGH_PASS = 150.0  # Hz
LOWEST, WIDTH, LEAST_BINS = 40.0, 1.2, 32  # Hz, ratio, bins of the spectrum of a block


class Index(NamedTuple):
    """Pairs of peaks of many songs, ordered by hash."""

    hashes: np.ndarray  # (pairs,) uint32
    songs: np.ndarray  # (pairs,) int32
    frames: np.ndarray  # (pairs,) uint32
    counts: np.ndarray  # (songs,) int64, pairs of each song


class Candidate(NamedTuple):
    """A song of the index that may contain the query."""

    song: int
    pairs: int  # in common, at the best offset
    offsets: tuple[int, ...]  # hops, where the query's start lies in the song


def build_index(prints: Sequence[Fingerprint]) -> Index:
    """Bring the fingerprints of songs into one table."""
    empty = np.zeros(0, np.uint32)
    hashes = np.concatenate([empty, *(one.hashes for one in prints)])
    frames = np.concatenate([empty, *(one.frames for one in prints)])
    counts = np.array([len(one.hashes) for one in prints], np.int64)
    songs = np.repeat(np.arange(len(prints), dtype=np.int32), counts)
    order = np.argsort(hashes, kind="stable")
    return Index(hashes[order], songs[order], frames[order], counts)


def candidates(index: Index, query: Fingerprint) -> list[Candidate]:
    """Return songs with enough pairs of the query at one offset, best first.

    Enough: :data:`LEAST_PAIRS`, and :data:`LEAST_SHARE` of the shorter song's pairs; at
    other offsets, of the pieces of a cut song, :data:`LEAST_PAIRS` are enough. The time
    depends on how often the query's hashes occur, not on how many songs there are whose
    hashes are others.
    """
    low = np.searchsorted(index.hashes, query.hashes, "left")
    counts = np.searchsorted(index.hashes, query.hashes, "right") - low
    counts[counts > max(COMMON, COMMON_PER_SONG * len(index.counts))] = 0
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - low, counts)
    offsets = index.frames[rows].astype(np.int64) - np.repeat(query.frames, counts)
    # One number for song and offset, with room for an offset's neighbours.
    span = 2 * int(max(index.frames.max(initial=0), query.frames.max(initial=0))) + 8
    keys = index.songs[rows] * np.int64(span) + offsets + span // 2
    keys, hits = np.unique(keys, return_counts=True)
    near = hits.copy()  # a copy begins between two frames: its pairs fall on both
    beside = np.diff(keys) == 1
    near[:-1][beside] += hits[1:][beside]
    near[1:][beside] += hits[:-1][beside]
    shorter = np.minimum(index.counts, len(query.hashes))[keys // span]
    enough = near >= np.maximum(LEAST_PAIRS, LEAST_SHARE * shorter)
    proposed = np.isin(keys // span, np.unique(keys[enough] // span))
    good = np.flatnonzero(proposed & (near >= LEAST_PAIRS))
    good = good[np.argsort(-near[good], kind="stable")]
    found: dict[int, Candidate] = {}
    for key, pairs in zip(keys[good].tolist(), near[good].tolist()):
        song, offset = key // span, key % span - span // 2
        one = found.setdefault(song, Candidate(song, pairs, ()))
        if len(one.offsets) < OFFSETS and all(abs(offset - o) > 2 for o in one.offsets):
            found[song] = one._replace(offsets=(*one.offsets, offset))
    return list(found.values())


def shared_part(wave: np.ndarray, other: np.ndarray, offsets: Sequence[int]) -> float:
    """Measure the part of a wave that is in another one, from 0 to 1.

    Args:
        wave: (time,) at :data:`~.fingerprint.RATE`.
        other: likewise.
        offsets: in hops, where the wave's start may lie in the other.

    Returns:
        The share of the wave's sounding blocks whose :func:`likeness` to the other's,
        at one of the offsets and at most two hops beside it, exceeds
        :data:`SAME_BLOCK`. 0 where the wave is silent.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> song = rng.standard_normal(10 * RATE).astype(np.float32)
        >>> shared_part(song[2 * HOP :] / 3, song, [2])
        1.0
        >>> shared_part(song[::-1], song, [2])
        0.0
    """
    block = max(1, min(BLOCK, len(wave)))
    own, theirs = _above_bass(wave), _above_bass(other)
    starts = np.arange(len(wave) // block) * block
    blocks = own[: len(starts) * block].reshape(-1, block)
    energies = np.square(blocks, dtype=np.float64).sum(axis=1)
    least = energies.sum() / max(len(starts), 1) * 10 ** (SOUNDING / 10)
    sounding = starts[energies > max(least, 1e-12)].tolist()

    def same(start: int, offset: int) -> bool:
        piece = slice(start, start + block)
        at = _aligned(own[piece], theirs, start + offset * HOP)
        if at is None:
            return False
        return likeness(wave[piece], other[at : at + block]) > SAME_BLOCK

    alike = sum(any(same(start, offset) for offset in offsets) for start in sounding)
    return alike / max(len(sounding), 1)


def likeness(wave: np.ndarray, other: np.ndarray) -> float:
    r"""Measure the likeness of two aligned waves, whatever equalizer is between them.

    .. math:: \sum_b w_b c_b / \sum_b w_b, \quad
        c_b = |\langle X, Y \rangle_b| / (\|X\|_b \|Y\|_b), \quad
        w_b = \sqrt{\|X\|_b \|Y\|_b}

    over bands :math:`b` of the spectra X, Y. An equalizer changes level and phase of a
    band, not its :math:`c_b`; and because weights are amplitudes, not energies, a loud
    kick does not hide that all else differs.

    Args:
        wave: (time,), at :data:`~.fingerprint.RATE`.
        other: (time,).

    Returns:
        From 0 to 1; 0 where one of them is silent.

    Example:
        >>> wave, other = np.random.default_rng(0).standard_normal((2, 4 * RATE))
        >>> round(likeness(wave, wave - 0.9 * np.roll(wave, 1)), 2)
        1.0
        >>> likeness(wave, other) < 0.2
        True
    """
    from scipy import fft

    first, second = fft.rfft(wave), fft.rfft(other)
    limits = _bands(len(wave))

    def sums(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values[: limits[-1]], limits[:-1])

    levels = np.sqrt(sums(np.square(abs(first))) * sums(np.square(abs(second))))
    audible = levels > 0
    common = abs(sums(first * second.conj()))[audible]
    weights = np.sqrt(levels[audible])
    return float((common / weights).sum() / weights.sum()) if audible.any() else 0.0


def _bands(samples: int) -> list[int]:
    """First bins of the bands in the spectrum of so many samples, and the end."""
    end = samples // 2 + 1
    limits = [min(round(LOWEST * samples / RATE), end - 1)]
    while limits[-1] < end:
        limits.append(max(limits[-1] + LEAST_BINS, round(WIDTH * limits[-1])))
    limits[-1] = end
    if len(limits) > 2 and limits[-1] - limits[-2] < LEAST_BINS:
        del limits[-2]
    return limits


def _above_bass(wave: np.ndarray) -> np.ndarray:
    from scipy.signal import butter, sosfilt

    filters = butter(2, HIGH_PASS, "high", fs=RATE, output="sos")
    return sosfilt(filters, wave).astype(np.float32) if len(wave) else wave


def _aligned(block: np.ndarray, other: np.ndarray, start: int) -> int | None:
    """The place near ``start`` at which a block correlates most with another wave."""
    from scipy.signal import correlate

    first = max(start - MARGIN, 0)
    # A negative end would count from the other's end.
    there = other[first : max(start + MARGIN + len(block), 0)]
    if len(there) < len(block):
        return None
    products = correlate(there, block, "valid", "fft")
    sums = np.cumsum(np.square(there, dtype=np.float64))
    energies = sums[len(block) - 1 :] - np.concatenate([[0.0], sums[: -len(block)]])
    # What is inaudible against the block cannot be its copy: no division by zero.
    own = np.square(block, dtype=np.float64).sum()
    energies = np.where(energies > 1e-6 * own, energies, np.inf)
    return first + int(np.argmax(abs(products) / np.sqrt(energies)))
