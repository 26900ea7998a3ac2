"""Several seeds of one configuration, trained side by side in one program.

Every seed has a run folder of its own, ``seed_<seed>``, in which nothing shows that
others ran beside it: configuration, log, checkpoints and scores are those of a run of
one seed, which can be continued alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from sepjax.train.mesh import replicated


def join(states: Sequence[Any], mesh: Mesh) -> Any:
    """One tree with a leading axis over seeds; a single state stays as it is."""
    if len(states) == 1:
        return states[0]

    def stacked(*trees: Any) -> Any:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    return jax.jit(stacked, out_shardings=replicated(mesh))(*states)


def part(tree: Any, index: int, count: int) -> Any:
    """What belongs to seed ``index`` of ``count`` in a joined tree."""
    return tree if count == 1 else jax.tree.map(lambda leaf: leaf[index], tree)


def map_seeds(
    function: Callable[[dict], Any], batch: dict[str, jax.Array], count: int
) -> Any:
    """A function of every seed's batch, its results along a leading axis.

    Row ``b count + k`` of the batch belongs to seed ``k``, so that each device has rows
    of all seeds. One seed after the other: XLA gathers from all devices what a Fourier
    transform is given, and along any axis but the first in a layout that it refuses on
    CPUs.
    """

    def seeds_first(rows: jax.Array) -> jax.Array:
        return jnp.moveaxis(rows.reshape(-1, count, *rows.shape[1:]), 1, 0)

    return jax.lax.map(function, jax.tree.map(seeds_first, batch))
