"""State dicts of PyTorch, read key by key with errors that name keys."""

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sepjax.registry import name_problems, nearest

BATCH_STATS = "batch_stats"
"""Name of Flax's collection of running statistics, and of their part in a tree."""
# Where projects put a state dict beside other things.
STATES = ("state_dict", "model_state_dict", "state", "model", "net", "network")
STATES += ("best_state",)


def state_of(content: Any) -> dict[str, np.ndarray]:
    """Find the state dict in a file's content: all of it, or under a usual name.

    Raises:
        ValueError: there is none; the message tells what there is.

    Example:
        >>> list(state_of({"epoch": 1, "state_dict": {"weight": np.zeros(1)}}))
        ['weight']
    """
    within = [content]
    if isinstance(content, dict):
        within += [content.get(name) for name in STATES]
        names = ", ".join(str(name)[:40] for name in list(content)[:8])
        kind = f"a dictionary of {names}" if names else "an empty dictionary"
    else:
        kind = f"a {type(content).__name__}"
    for state in within:
        if (
            isinstance(state, dict)
            and state
            and all(isinstance(name, str) for name in state)
            and all(isinstance(array, np.ndarray) for array in state.values())
        ):
            return state
    raise ValueError(f"the file has no state dict, but {kind}")


def as_variables(params: Mapping[str, Any]) -> dict[str, Any]:
    """Collections that a model applies, from a tree of parameters and statistics.

    Args:
        params: of :func:`sepjax.weights.from_state_dict`.

    Example:
        >>> as_variables({"fc1": 1, "batch_stats": 2})
        {'params': {'fc1': 1}, 'batch_stats': 2}
        >>> as_variables({"encoder": 1})
        {'params': {'encoder': 1}}
    """
    trained = {name: part for name, part in params.items() if name != BATCH_STATS}
    rest = {name: part for name, part in params.items() if name == BATCH_STATS}
    return {"params": trained} | rest


class StateReader:
    """The arrays of a state dict, with errors that name keys.

    Args:
        state: names -> arrays. A prefix ``module.`` that all names share is dropped.
        convert: what :meth:`take` makes of an array, by default NumPy in float32.

    Example:
        >>> state = StateReader({"module.conv.weight": np.zeros((3, 2, 1))})
        >>> state.take("conv.weight", 3, -1, 1).shape
        (3, 2, 1)
    """

    def __init__(
        self,
        state: Mapping[str, Any],
        convert: Callable[[Any], Any] = lambda array: np.asarray(array, np.float32),
    ):
        self.convert = convert
        prefix = "module."
        shared = all(name.startswith(prefix) for name in state)
        cut = len(prefix) if shared else 0
        self.arrays = {name[cut:]: array for name, array in state.items()}
        self.rest = set(self.arrays)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def has(self, prefix: str) -> bool:
        """Return whether the name of an array begins with the prefix."""
        return any(name.startswith(prefix) for name in self.arrays)

    def take(self, name: str, *shape: int) -> Any:
        """Return the array of a name; ``-1`` in the shape is any size.

        Raises:
            KeyError: there is none of this name.
            ValueError: it has another shape, or is empty.
        """
        if name not in self.arrays:
            hint = nearest(name, self.arrays) if self.arrays else "it is empty"
            # The list of all names would be longer than a screen.
            raise KeyError(f"the state dict has no '{name}': {hint[:300]}")
        array = self.convert(self.arrays[name])
        fits = [s in (-1, size) for s, size in zip(shape, array.shape)]
        if array.ndim != len(shape) or not all(fits):
            sizes = tuple("any" if size < 0 else size for size in shape)
            raise ValueError(f"'{name}' has shape {array.shape}, expected {sizes}")
        if not array.size:  # beside a size of 0 others cost nothing, and may be any
            raise ValueError(f"'{name}' of shape {array.shape} is empty")
        self.rest.discard(name)
        return array

    def ignore(self, pattern: str) -> None:
        """Exempt matching names from the warning: they follow from the others."""
        self.rest -= {name for name in self.rest if re.fullmatch(pattern, name)}

    def count(self, pattern: str) -> int:
        r"""Return one more than the greatest number that a pattern matches; 0: none.

        Raises:
            ValueError: so many cannot be there, with so few arrays.

        Example:
            >>> state = StateReader({"net.0.weight": 0, "net.2.weight": 0, "gain": 0})
            >>> state.count(r"net.(\d+)")
            3
        """
        matches = [match for n in self.arrays if (match := re.match(pattern, n))]
        for match in matches:
            # Every number has an array; those that have none are beside others.
            if len(match[1]) > 9 or int(match[1]) >= len(self.arrays):
                raise ValueError(
                    f"'{match.string[:200]}' has a number beyond the "
                    f"{len(self.arrays)} arrays of the state dict: it is damaged"
                )
        return max((int(match[1]) + 1 for match in matches), default=0)

    def warn_of_the_rest(self) -> None:
        """Warn of the arrays that nothing has asked for."""
        if self.rest:
            some = ", ".join(sorted(self.rest)[:5])
            warnings.warn(
                f"{len(self.rest)} arrays of the state dict are unknown and left out: "
                f"{some}{', ...' if len(self.rest) > 5 else ''}",
                stacklevel=3,
            )


def source_names(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Names of the classes, numbered where there are none.

    Raises:
        ValueError: another number of names than the model has outputs, or a name that
            cannot name a file.

    Example:
        >>> source_names((), 2)
        ('source_1', 'source_2')
    """
    if names and len(names) != count:
        raise ValueError(f"sources={names} are {len(names)}, the model has {count}")
    if problem := next(name_problems(names), ""):
        raise ValueError(f"sources: {problem}")
    return tuple(names) or tuple(f"source_{i + 1}" for i in range(count))


def stacks_of(blocks: int, layers: int) -> int:
    """Return the number of stacks that blocks make, each of ``layers`` blocks.

    Raises:
        ValueError: the blocks do not divide into them.

    Example:
        >>> stacks_of(24, 8)
        3
    """
    if layers < 1 or blocks % layers:
        raise ValueError(
            f"layers={layers}: the {blocks} blocks do not divide into stacks"
        )
    return blocks // layers


def read_lstm(
    state: StateReader, place: str, layer: int, *, inputs: int, hidden: int
) -> dict[str, np.ndarray]:
    """Read one layer: matrices turned to (in, gates), directions along a leading axis.

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
