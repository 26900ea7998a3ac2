"""State dicts of PyTorch, read key by key with errors that name keys."""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from sepjax.registry import nearest

BATCH_STATS = "batch_stats"
"""Name of Flax's collection of running statistics, and of their part in a tree."""


class StateReader:
    """The arrays of a state dict, with errors that name keys.

    Example:
        >>> state = StateReader({"module.conv.weight": np.zeros((3, 2, 1))})
        >>> state.take("conv.weight", 3, -1, 1).shape
        (3, 2, 1)
    """

    def __init__(self, state: Mapping[str, Any]):
        prefix = "module."
        shared = all(name.startswith(prefix) for name in state)
        cut = len(prefix) if shared else 0
        self.arrays = {name[cut:]: array for name, array in state.items()}
        self.rest = set(self.arrays)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def take(self, name: str, *shape: int) -> np.ndarray:
        """The array of a name as float32; ``-1`` in the shape is any size.

        Raises:
            KeyError: there is none of this name.
            ValueError: it has another shape.
        """
        if name not in self.arrays:
            hint = nearest(name, self.arrays) if self.arrays else "it is empty"
            # The list of all names would be longer than a screen.
            raise KeyError(f"the state dict has no '{name}': {hint[:300]}")
        array = np.asarray(self.arrays[name], np.float32)
        fits = [s in (-1, size) for s, size in zip(shape, array.shape)]
        if array.ndim != len(shape) or not all(fits):
            wanted = tuple("any" if size < 0 else size for size in shape)
            raise ValueError(f"'{name}' has shape {array.shape}, expected {wanted}")
        self.rest.discard(name)
        return array

    def ignore(self, pattern: str) -> None:
        """Names that match need no warning: they follow from the others."""
        self.rest -= {name for name in self.rest if re.fullmatch(pattern, name)}

    def count(self, pattern: str) -> int:
        r"""One more than the greatest number that a pattern's group finds; 0: none.

        Example:
            >>> StateReader({"net.0.weight": 0, "net.7.weight": 0}).count(r"net.(\d+)")
            8
        """
        found = (re.match(pattern, name) for name in self.arrays)
        return max((int(match[1]) + 1 for match in found if match), default=0)

    def warn_of_the_rest(self) -> None:
        """Say which arrays nothing has asked for."""
        if self.rest:
            some = ", ".join(sorted(self.rest)[:5])
            warnings.warn(
                f"{len(self.rest)} arrays of the state dict are unknown and left out: "
                f"{some}{', ...' if len(self.rest) > 5 else ''}",
                stacklevel=3,
            )


def source_names(given: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Names of the classes as given, or numbered.

    Raises:
        ValueError: another number of names is given than the model has outputs.

    Example:
        >>> source_names((), 2)
        ('source_1', 'source_2')
    """
    if given and len(given) != count:
        raise ValueError(f"sources={given} are {len(given)}, the model has {count}")
    return tuple(given) or tuple(f"source_{i + 1}" for i in range(count))


def read_lstm(
    state: StateReader, place: str, layer: int, *, inputs: int, hidden: int
) -> dict[str, np.ndarray]:
    """One layer: matrices turned to (in, gates), directions along a leading axis.

    The order of the gates is ours, and both biases stay.

    Args:
        state: its arrays.
        place: what comes before ``weight_ih_l0``.
        layer: number of the layer; it has two directions if there are names with
            ``_reverse``.
        inputs: channels that it hears.
        hidden: channels of each direction.
    """
    both = f"{place}weight_ih_l{layer}_reverse" in state
    shapes = {
        "input": ("weight_ih", 4 * hidden, inputs),
        "state": ("weight_hh", 4 * hidden, hidden),
        "input_bias": ("bias_ih", 4 * hidden),
        "state_bias": ("bias_hh", 4 * hidden),
    }
    return {
        name: np.stack(
            [
                state.take(f"{place}{theirs}_l{layer}{end}", *shape).T
                for end in ("", *("_reverse",) * both)
            ]
        )
        for name, (theirs, *shape) in shapes.items()
    }
