"""How many numbers of a model are learned."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def count_parameters(params: Any, constants: Sequence[str] = ()) -> int:
    """Learned numbers in a tree of parameters.

    Args:
        params: nested dictionaries of arrays.
        constants: names of parameters that are gathered from the data and not counted,
            ``model.constants``.

    Example:
        >>> count_parameters({"a": np.zeros((2, 3)), "b": np.zeros(())})
        7
        >>> count_parameters({"mean": np.zeros(9), "std": np.ones(9)}, ("mean", "std"))
        0
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return sum(
        int(np.prod(leaf.shape))
        for path, leaf in leaves
        if getattr(path[-1], "key", None) not in constants
    )
