"""Which rows of a spectrum make a band, and which bands make a group.

A spectrum has a row for the real and for the imaginary part of every channel of every
bin: row ``(bin * channels + channel) * 2 + part``. The rows of all bands, one band
after the other, are their *numbers*. Bands of nearly the same size are computed side by
side, as a group, with zeros behind the shorter ones.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sepjax.functional.hearing import mel_bank

WASTE = 2.0  # the most by which sizes of a group differ, as a factor


class Group(NamedTuple):
    """Neighboring bands: ``first`` to ``stop``, and the place of their numbers.

    ``index`` is ``(bands, size)``; behind a band it is the count of all numbers.
    """

    first: int
    stop: int
    index: np.ndarray


class Bands(NamedTuple):
    """Bands of a spectrum.

    Attributes:
        sizes: numbers of each band.
        rows: row of each number; one more, which is none.
        groups: of neighboring bands.
        places: ``(most, rows)``, the places of a row's numbers among those of groups;
            behind them the count of all.
        shares: of each row, one over how many bands have it.
    """

    sizes: np.ndarray
    rows: np.ndarray
    groups: tuple[Group, ...]
    places: np.ndarray
    shares: np.ndarray


def consecutive(sizes: Sequence[int]) -> list[np.ndarray]:
    """Return the bins of bands that lie side by side.

    Example:
        >>> [bins.tolist() for bins in consecutive((2, 3))]
        [[0, 1], [2, 3, 4]]
    """
    return [np.arange(end - size, end) for end, size in zip(np.cumsum(sizes), sizes)]


def mel_bins(sample_rate: int, n_fft: int, count: int) -> list[np.ndarray]:
    """Return the bins at which the triangle of each mel band is above zero.

    The first and the last band have the first and the last bin as well.

    Example:
        >>> sum(map(len, mel_bins(44100, 2048, 60)))
        1979

    Reference:
        Wang et al. 2023; the triangles of librosa.filters.mel.
    """
    triangles = mel_bank(sample_rate, n_fft, count, slaney=True) > 0
    triangles[0, 0] = triangles[-1, -1] = True
    return [np.flatnonzero(triangle) for triangle in triangles.T]


def make_bands(bins: Sequence[np.ndarray], channels: int) -> Bands:
    """Make the tables of bands of a spectrum of so many channels.

    Example:
        >>> bands = make_bands(mel_bins(44100, 2048, 60), 2)
        >>> len(bands.groups), len(bands.places), int(bands.sizes[0])
        (5, 2, 28)
    """
    parts, count = 2 * channels, max(int(band.max()) for band in bins) + 1
    rows = [(band[:, None] * parts + np.arange(parts)).ravel() for band in bins]
    sizes = np.array([len(band) for band in rows])
    groups = tuple(_groups(sizes))
    order = np.concatenate([group.index.ravel() for group in groups])
    place = np.full(sizes.sum() + 1, -1)
    place[order] = np.arange(len(order))
    numbers: list[list[int]] = [[] for _ in range(count * parts)]
    for row, own in zip(np.concatenate(rows), place):
        numbers[row].append(own)
    most = max(map(len, numbers))
    places = [own + [len(order)] * (most - len(own)) for own in numbers]
    rows.append(np.array([count * parts]))
    shares = 1 / np.array([[len(own)] for own in numbers], np.float32)
    return Bands(sizes, np.concatenate(rows), groups, np.array(places).T, shares)


def _groups(sizes: np.ndarray) -> list[Group]:
    starts = np.cumsum(sizes) - sizes
    groups, first = [], 0
    while first < len(sizes):
        known = itertools.accumulate(sizes[first:], lambda low, size: min(low, size))
        highest = itertools.accumulate(sizes[first:], max)
        pairs = zip(known, highest)
        fits = itertools.takewhile(lambda pair: pair[1] <= WASTE * pair[0], pairs)
        stop = first + sum(1 for _ in fits)
        step = np.arange(sizes[first:stop].max())
        index = starts[first:stop, None] + step
        index = np.where(step < sizes[first:stop, None], index, sizes.sum())
        groups.append(Group(first, stop, index))
        first = stop
    return groups
