"""Layers whose gradients need little memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.dtypes import float0


def recomputed(
    layer: Callable[..., Any],
    wanted: bool = True,
    trained: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Return a function that keeps its arguments alone for its gradient.

    As :func:`jax.checkpoint`, but a layer is computed once more after the gradient of
    its result is known. XLA for CPUs has no other reason to wait: it may run the second
    forward passes of all layers first, and no memory is saved. So zero times a number
    of that gradient is added to the parameters that a layer begins with. Where that
    number is not finite, no gradient before it is.

    Args:
        layer: a function of the parameters that it begins with, and of arrays or trees
            of them, such as other parameters. Derivatives other than gradients cannot
            be taken, and ``jax.shard_map`` needs ``check_vma=False``.
        wanted: without, the layer itself is returned.
        trained: the same layer, computed in another way where gradients are taken.

    Example:
        >>> line = recomputed(lambda slope, x: slope * x)
        >>> [float(x) for x in jax.grad(line, (0, 1))(2.0, 3.0)]
        [3.0, 2.0]
    """
    if not wanted:
        return layer

    @jax.custom_vjp
    def run(params: Any, inputs: tuple) -> Any:
        return layer(params, *inputs)

    trained = trained or layer

    def forward(params: Any, inputs: tuple) -> Any:
        return trained(params, *inputs), (params, inputs)

    def backward(given: tuple, change: Any) -> tuple:
        params, inputs = given
        leaves = [leaf for leaf in jax.tree.leaves(change) if leaf.dtype != float0]
        first = sum(leaf.ravel()[0] for leaf in leaves if leaf.size)
        params = jax.tree.map(lambda x: x + jnp.asarray(0 * first, x.dtype), params)
        _, gradient = jax.vjp(lambda own, given: trained(own, *given), params, inputs)
        return gradient(change)

    run.defvjp(forward, backward)
    return lambda params, *inputs: run(params, inputs)
