"""Several members of one configuration, trained side by side in one program.

Members differ in their seeds (``train.seeds``) and in numbers such as the learning rate
(``train.vary``). Each has the run folder of a run alone, and can be continued alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from sepjax.train.mesh import merge, replicated, split


def join(states: Sequence[Any], mesh: Mesh) -> Any:
    """One tree with a leading axis over members; a single state stays as it is."""
    if len(states) == 1:
        return states[0]

    def stacked(*trees: Any) -> Any:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    return jax.jit(stacked, out_shardings=replicated(mesh))(*states)


def part(tree: Any, index: int, count: int) -> Any:
    """Return the part of member ``index`` of ``count`` in a joined tree."""
    if count == 1:
        return tree
    on_device = isinstance(jax.tree.leaves(tree)[0], jax.Array)
    return (taken if on_device else take)(tree, index)


def take(tree: Any, index: int | jax.Array) -> Any:
    """Return the elements ``index`` of all leaves."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


# One program, where each shape and index would be compiled on its own.
taken = jax.jit(take)


def map_seeds(
    function: Callable[[dict], Any], batch: dict[str, jax.Array], count: int
) -> Any:
    """A function of every seed's batch, its results along a leading axis.

    Row ``b count + k`` of the batch belongs to seed ``k``, so that each device has rows
    of all seeds. One seed after the other, as Fourier transforms along any axis but the
    first have a layout that XLA refuses on CPUs.
    """

    def seeds_first(rows: jax.Array) -> jax.Array:
        return jnp.moveaxis(rows.reshape(-1, count, *rows.shape[1:]), 1, 0)

    return jax.lax.map(function, jax.tree.map(seeds_first, batch))


def map_members(
    step: Callable[[Any, Any], Any], states: Any, excerpts: Any, count: int
) -> Any:
    """A step of every member's state, side by side; results along a leading axis.

    Of the ``count`` members, member ``v S + s`` has the s-th of S seeds; excerpts of
    every seed lie along a leading axis.
    """
    seeds = jax.tree.leaves(excerpts)[0].shape[0]
    if count == seeds:
        return jax.vmap(step)(states, excerpts)
    each = jax.vmap(jax.vmap(step), in_axes=(0, None))
    return merge(each(split(states, count // seeds), excerpts))
