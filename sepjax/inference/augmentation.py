"""A track heard several times: later, upside down, with its channels swapped."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sepjax.registry import nearest

LONGEST = 0.5  # seconds of a shift, as in demucs
MOST = 100  # shifts
GOLDEN = (5**0.5 - 1) / 2
MIRRORS = ("polarity", "swap")

Blocks = Iterable[tuple[np.ndarray, ...]]


def shift_lengths(count: int, sample_rate: int) -> list[int]:
    r"""Return the shifts of a track, in samples: none, and others up to half a second.

    The :math:`k`-th is the fraction of :math:`k (\sqrt 5 - 1) / 2`, times half a
    second: spread evenly over the steps of any model, where evenly spaced ones might
    all be whole steps, to which a model is blind. A count of 0 is 1.

    Raises:
        ValueError: there are more than 100.

    Example:
        >>> shift_lengths(4, 8000)
        [0, 2472, 944, 3416]

    Reference:
        demucs' ``--shifts``: random ones, uniform over half a second.
    """
    if not 0 <= count <= MOST or count % 1:
        raise ValueError(f"shifts={count} must be a whole number, 0 to {MOST}")
    fractions = [number * GOLDEN % 1 for number in range(max(int(count), 1))]
    return [round(fraction * LONGEST * sample_rate) for fraction in fractions]


def mirrors(names: Iterable[str], width: int) -> list[tuple[int, int]]:
    """Return a sign and an order of channels for each time that a chunk is heard.

    All combinations of "polarity" and "swap" are there, so that the mean of what a
    model of ``width`` channels says of each depends neither on the sign of its input
    nor on which channel is the left one. A model of one channel hears each alone.

    Raises:
        ValueError: a name is none of these.

    Example:
        >>> mirrors(["polarity", "swap"], 2)
        [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    """
    for name in (names := set(names)):
        if name not in MIRRORS:
            text = nearest(name, MIRRORS)
            raise ValueError(f"unknown augmentation {name!r}: {text}")
    signs = (1, -1) if "polarity" in names else (1,)
    orders = (1, -1) if "swap" in names and width == 2 else (1,)
    return list(itertools.product(signs, orders))


def delayed(blocks: Iterable[np.ndarray], shift: int) -> Iterator[np.ndarray]:
    """Yield ``shift`` samples of silence, and then the blocks."""
    for block in blocks:
        if shift:
            yield np.zeros((shift, *block.shape[1:]), block.dtype)
            shift = 0
        yield block


def without_start(blocks: Blocks, shift: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield groups of blocks without the first ``shift`` samples."""
    for block in blocks:
        skipped = min(shift, len(block[0]))
        shift -= skipped
        if skipped < len(block[0]):
            yield tuple(part[skipped:] for part in block)


def in_step(streams: Sequence[Blocks]) -> Iterator[list[tuple[np.ndarray, ...]]]:
    """Cut streams of one length so that the blocks of all begin and end together.

    Each yields groups of arrays that are equally long.

    Example:
        >>> a, b = [(np.arange(3),), (np.arange(3, 5),)], [(10 * np.arange(5),)]
        >>> [[block.tolist() for (block,) in step] for step in in_step([a, b])]
        [[[0, 1, 2], [0, 10, 20]], [[3, 4], [30, 40]]]
    """
    iterators = [iter(stream) for stream in streams]
    held = [next(stream, None) for stream in iterators]
    while all(blocks is not None for blocks in held):
        size = min(len(blocks[0]) for blocks in held if blocks)
        yield [tuple(part[:size] for part in blocks) for blocks in held if blocks]
        for number, blocks in enumerate(held):
            rest = tuple(part[size:] for part in blocks or ())
            more = rest and len(rest[0])
            held[number] = rest if more else next(iterators[number], None)
