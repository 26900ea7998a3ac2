"""From values per item and source to the loss of a whole batch, however it is split.

A batch may be split over devices and microbatches. A share of it is reduced with the
counts of the whole batch (:class:`Whole`), so that the sum over shares is the loss.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped


class Whole(NamedTuple):
    """The facts about the whole batch that a device's share must know."""

    counts: Float[Array, " sources"]  # items in which each source sounds
    pairs: Float[Array, ""]  # of sources that sound in the same item
    neighbours: Float[Array, ""]  # sources that sound in an item and the one before
    shares: int = 1  # all of the same number of items
    axis_name: str | None = None  # along which devices have their shares


def whole_batch(
    sources: Float[Array, "batch sources *channels time"],
    axis_name: str | None = None,
    microbatches: int = 1,
) -> Whole:
    """The facts about the whole batch, from a device's share of the true sources.

    Example:
        >>> whole_batch(jnp.ones((3, 2, 4))).counts
        Array([3., 3.], dtype=float32)
    """
    active = active_sources(sources)
    counts = jnp.sum(active, axis=0, dtype=jnp.float32)
    facts = counts, active_pairs(active), active_neighbours(active, axis_name)
    if axis_name is None:
        return Whole(*facts, microbatches)
    counts, pairs, neighbours = jax.lax.psum(facts, axis_name)
    shares = microbatches * jax.lax.axis_size(axis_name)
    return Whole(counts, pairs, neighbours, shares, axis_name)


def active_sources(
    reference: Float[Array, "batch sources *channels time"],
) -> Bool[Array, "batch sources"]:
    """Return which sources sound at all.

    Example:
        >>> active_sources(jnp.array([[[0.0, 0.0], [0.0, 0.1]]]))
        Array([[False,  True]], dtype=bool)
    """
    return jnp.any(reference != 0, axis=tuple(range(2, reference.ndim)))


def mean_over_active(
    values: Float[Array, "batch sources"],
    active: Bool[Array, "batch sources"] | Float[Array, "batch sources"],
    counts: Float[Array, " sources"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, " sources"]]:
    """Mean over the active items of each source, and the mean of these over sources.

    A source that is active nowhere counts in neither mean; without any active source
    the means are 0. ``counts`` are the active items per source in the *whole* batch
    where ``values`` are only a share of it; the shares then sum up to the mean.

    Example:
        >>> mean, each = mean_over_active(
        ...     jnp.array([[2.0, 9.0], [4.0, 9.0]]), jnp.array([[True, False]] * 2)
        ... )
        >>> float(mean), each
        (3.0, Array([3., 0.], dtype=float32))
    """
    active = active.astype(values.dtype)
    counts = jnp.sum(active, axis=0) if counts is None else counts
    # where, not a product: an inactive value may be huge or not finite.
    total = jnp.sum(jnp.where(active > 0, values * active, 0.0), axis=0)
    each = total / jnp.maximum(counts, 1)
    return jnp.sum(each) / jnp.maximum(jnp.sum(counts > 0), 1), each


def active_pairs(active: Bool[Array, "batch sources"]) -> Float[Array, ""]:
    """Number of pairs of different sources that sound in the same item.

    Example:
        >>> float(active_pairs(jnp.array([[True, True, True], [True, False, False]])))
        3.0
    """
    count = jnp.sum(active, axis=1, dtype=jnp.float32)
    return jnp.sum(jnp.square(count) - count) / 2


def active_neighbours(
    active: Bool[Array, "batch sources"], axis_name: str | None = None
) -> Float[Array, ""]:
    """Number of sources that sound both in an item and in the one before it.

    Example:
        >>> float(active_neighbours(jnp.array([[True, True], [True, False]])))
        2.0
    """
    before = preceding_items(active, axis_name)
    return jnp.sum(active & before, dtype=jnp.float32)


def preceding_items(
    x: Shaped[Array, "batch *rest"], axis_name: str | None = None
) -> Shaped[Array, "batch *rest"]:
    """The item before each item of the whole batch; before the first comes the last.

    Where items are split along ``axis_name``, an axis of ``pmap`` or ``shard_map``, one
    item moves from each device to the next.

    Example:
        >>> preceding_items(jnp.array([1, 2, 3]))
        Array([3, 1, 2], dtype=int32)
    """
    if axis_name is None:
        return jnp.roll(x, 1, axis=0)
    devices = jax.lax.axis_size(axis_name)
    ring = [(device, (device + 1) % devices) for device in range(devices)]
    return jnp.concatenate([jax.lax.ppermute(x[-1:], axis_name, ring), x[:-1]])
