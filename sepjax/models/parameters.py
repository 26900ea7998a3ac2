"""How many numbers of a model are learned."""

from typing import Any

import jax
import numpy as np

from sepjax.models.tasnet.branches import CONSTANTS


def count_parameters(params: Any) -> int:
    """Learned numbers in a tree of parameters, without what is gathered from the data.

    Example:
        >>> count_parameters({"a": np.zeros((2, 3)), "b": np.zeros(())})
        7
        >>> count_parameters({"mean": np.zeros(9), "std": np.ones(9)})
        0
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return sum(
        int(np.prod(leaf.shape))
        for path, leaf in leaves
        if getattr(path[-1], "key", None) not in CONSTANTS
    )
