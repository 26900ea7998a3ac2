"""Frames and overlap-add of a signal that comes block by block.

Frame k of a signal stands for the samples from ``k hop`` on. It is known as soon as the
last sample that it sees is there. What a block does not settle is state: samples that
later frames see as well, and samples of the output that later frames add to.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

OPEN = 1 << 30
"""The end of a signal that has not ended yet."""


class Framing(NamedTuple):
    """Which samples a frame sees, and which ones it adds to, in samples.

    With the frame's place at ``k hop`` the frame sees the samples from ``- before`` to
    ``after``, which is not one of them, and adds to those from ``- start`` to ``stop``.

    Blocks are multiples of ``hop``. So that a block ends where a frame is known,
    ``lead`` zeros come before the first sample.

    Example:
        >>> framing = Framing(hop=8, before=4, after=12, start=4, stop=12)
        >>> framing.latency, framing.lead, framing.delay, framing.past, framing.rest
        (15, 4, 8, 8, 8)
    """

    hop: int
    before: int
    after: int
    start: int
    stop: int

    @property
    def wait(self) -> int:
        """Frames that begin in a block, but are known with a later one."""
        return max(math.ceil(self.after / self.hop), 1) - 1

    @property
    def lead(self) -> int:
        """Zeros before the first sample."""
        return (self.wait + 1) * self.hop - self.after

    @property
    def past(self) -> int:
        """Samples before a block that its frames see."""
        return self.before + self.after - self.hop

    @property
    def rest(self) -> int:
        """Samples of the output that later frames add to."""
        return self.start + self.stop - self.hop

    @property
    def latency(self) -> int:
        """Samples after a sample of the output on which the sample depends."""
        return self.after + self.start - 1

    @property
    def delay(self) -> int:
        """Samples by which the output lies behind the blocks."""
        return self.latency + 1 - self.hop


class Clock(NamedTuple):
    """Where a block begins and where the signal ends, counted from its first sample.

    Long signals count on from a later place that is a whole number of frames: the
    numbers stay small, be it a day.
    """

    position: Int[Array, ""]
    end: Int[Array, ""]


def start_clock(framing: Framing) -> Clock:
    """Return the clock before the first block.

    Example:
        >>> int(start_clock(Framing(8, 4, 12, 4, 12)).position)
        -4
    """
    return Clock(jnp.int32(-framing.lead), jnp.int32(OPEN))


def advance(
    clock: Clock, framing: Framing, size: int, samples: int | Array | None
) -> tuple[Clock, Clock]:
    """Return the clock of the next block, and that of this one, with the end if known.

    Args:
        clock: of this block.
        framing: of the signal.
        size: samples of a block.
        samples: how many of them are the signal's, less than all where it ends; None:
            all of them.

    Example:
        >>> framing = Framing(8, 4, 12, 4, 12)
        >>> following, now = advance(start_clock(framing), framing, 16, 7)
        >>> int(following.position), int(now.end)
        (12, 3)
    """
    samples = jnp.asarray(size if samples is None else samples, jnp.int32)
    ends = (clock.end >= OPEN) & (samples < size)
    end = jnp.where(ends, clock.position + samples, clock.end)
    position = clock.position + size
    # Beyond the second period count from the first one: paddings depend on the
    # position within a frame at most, and the beginning is far.
    period = framing.hop * (framing.before + framing.after)
    turned = jnp.maximum(position // period - 1, 0) * period
    following = jnp.where(end >= OPEN, OPEN, end - turned)
    return Clock(position - turned, following), Clock(clock.position, end)


def inside(clock: Clock, size: int) -> Bool[Array, " size"]:
    """Return which samples of a block belong to the signal.

    Example:
        >>> inside(Clock(jnp.int32(-1), jnp.int32(2)), 4).tolist()
        [False, True, True, False]
    """
    places = clock.position + jnp.arange(size)
    return (places >= 0) & (places < clock.end)


def valid_frames(
    clock: Clock, framing: Framing, count: int, frames: Callable[[Array], Array]
) -> Bool[Array, " count"]:
    """Return which of the frames that a block makes known belong to the signal.

    Args:
        clock: of this block.
        framing: of the signal.
        count: frames of a block.
        frames: number of frames of a signal of so many samples.

    Example:
        >>> framing = Framing(8, 4, 12, 4, 12)
        >>> valid_frames(start_clock(framing), framing, 3, lambda end: end).tolist()
        [False, True, True]
    """
    first = (clock.position + framing.lead) // framing.hop - framing.wait
    numbers = first + jnp.arange(count)
    return (numbers >= 0) & (numbers < frames(clock.end))


def next_part(
    state: Mapping[str, Any],
    block: Float[Array, "*batch size"],
    samples: int | Array | None,
    framing: Framing,
    frames: Callable[[Array], Array],
) -> tuple[dict[str, Any], Clock, Array, Bool[Array, " count"]]:
    """Put a block behind the samples before it; return what the next one needs first.

    Args:
        state: ``clock``, of :func:`start_clock`, and ``past``, the samples before the
            block, ``framing.past`` or more of them, zeros in the beginning.
        block: a multiple of ``framing.hop`` samples.
        samples: see :func:`advance`.
        framing: of the signal.
        frames: see :func:`valid_frames`.

    Returns:
        The state of the next block; the clock of this one; ``past`` and block together,
        zeros where the signal is not; which of the frames that become known are valid.

    Raises:
        ValueError: the block is no multiple of ``framing.hop``.

    Example:
        >>> framing = Framing(2, 0, 4, 0, 4)
        >>> state = {"clock": start_clock(framing), "past": jnp.zeros(2)}
        >>> count = lambda time: -(-time // 2)
        >>> state, _, wave, valid = next_part(state, jnp.ones(4), 3, framing, count)
        >>> wave.tolist(), valid.tolist(), state["past"].tolist()
        ([0.0, 0.0, 1.0, 1.0, 1.0, 0.0], [False, True], [1.0, 0.0])
    """
    size, hop = block.shape[-1], framing.hop
    if size % hop or not size:
        raise ValueError(f"a block of {size} samples is no multiple of {hop}")
    following, now = advance(state["clock"], framing, size, samples)
    heard = jnp.where(inside(now, size), block, 0)
    wave = jnp.concatenate([state["past"], heard], axis=-1)
    valid = valid_frames(now, framing, size // hop, frames)
    return dict(clock=following, past=wave[..., size:]), now, wave, valid


def overlap_add_step(
    rest: Float[Array, "*batch rest"], wave: Float[Array, "*batch time"]
) -> tuple[Float[Array, "*batch rest"], Float[Array, "*batch size"]]:
    """Add what is left of earlier frames; return what is left of these, and a block.

    Example:
        >>> rest, block = overlap_add_step(jnp.array([1.0]), jnp.array([1.0, 2.0, 3.0]))
        >>> block.tolist(), rest.tolist()
        ([2.0, 2.0], [3.0])
    """
    overlap = rest.shape[-1]
    total = wave.at[..., :overlap].add(rest.astype(wave.dtype))
    size = wave.shape[-1] - overlap
    return total[..., size:], total[..., :size]


def reflect(
    wave: Float[Array, "*batch time"], first: Array, end: Array
) -> Float[Array, "*batch time"]:
    """Replace what lies outside of a signal by its reflection at both ends.

    ``x[-n]`` becomes ``x[n]``, and ``x[end - 1 + n]`` becomes ``x[end - 1 - n]``.

    Args:
        wave: a piece of the signal, zeros outside.
        first: place of its first sample in the signal.
        end: number of samples of the signal.

    Example:
        >>> reflect(jnp.array([0.0, 0, 1, 2, 3, 0]), jnp.int32(-2), jnp.int32(3))
        Array([3., 2., 1., 2., 3., 2.], dtype=float32)
    """
    places = jnp.abs(first + jnp.arange(wave.shape[-1]))
    places = jnp.where(places >= end, 2 * (end - 1) - places, places)
    return jnp.take(wave, places - first, axis=-1, mode="clip")
