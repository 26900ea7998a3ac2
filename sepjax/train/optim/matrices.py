"""Which parameters are matrices."""

from typing import Any

import jax
import optax.contrib
from jaxtyping import Array

from sepjax.train.optim.freeze import leaf_names


def matrix_axes(params: Any) -> Any:
    """Return which leaves Muon orthogonalizes: matrices, one by one if stacked.

    Leaves named ``kernel`` with at least two axes, but for depthwise filters, which are
    no matrices, and the weights of recurrent layers. Their last two axes are inputs and
    outputs. Adam takes the rest.

    Example:
        >>> import jax.numpy as jnp
        >>> stacked = {"kernel": jnp.ones((40, 8, 4)), "bias": jnp.ones((40, 4))}
        >>> axes = matrix_axes(stacked)
        >>> axes["kernel"].output_axis, axes["bias"]
        (2, None)
    """

    def axes(path: tuple, leaf: Array) -> Any:
        names = ["", *(getattr(part, "key", "") for part in path)]
        recurrent = names[-2].startswith("lstm") and names[-1] in ("input", "state")
        matrix = names[-1] == "kernel" and names[-2] != "depthwise"
        if leaf.ndim < 2 or not (recurrent or matrix):
            return None
        return optax.contrib.MuonDimensionNumbers(leaf.ndim - 2, leaf.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)


def matrices(params: Any) -> tuple[str, ...]:
    """Return the paths of all matrices (:func:`matrix_axes`).

    Example:
        >>> shape = jax.ShapeDtypeStruct((4, 4), "float32")
        >>> matrices({"fc": {"kernel": shape, "bias": shape}})
        ('fc/kernel',)
    """
    kind = optax.contrib.MuonDimensionNumbers
    axes = jax.tree.leaves(
        matrix_axes(params), is_leaf=lambda leaf: leaf is None or isinstance(leaf, kind)
    )
    return tuple(n for n, axis in zip(leaf_names(params), axes) if axis is not None)
