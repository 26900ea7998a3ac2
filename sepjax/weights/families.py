"""State dicts by family: reading them key by key, and the one entrance for all."""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from sepjax.config import ModelConfig
from sepjax.registry import Registry, nearest

FAMILIES = Registry("family of state dicts")
BATCH_STATS = "batch_stats"
"""Name of Flax's collection of running statistics, and of their part in a tree."""


def from_state_dict(
    state: Mapping[str, Any], *, family: str, **options: Any
) -> tuple[ModelConfig, dict]:
    """A model of ours from the state dict of a public implementation.

    Sizes are read from the shapes of the arrays; what shapes cannot tell are options
    of the family, which the page ``docs/weights.md`` lists. ``build_model(config)``
    with the returned parameters estimates what the source does from the same weights.

    Args:
        state: the source's names -> NumPy arrays. A prefix ``module.`` that all names
            share is dropped.
        family: a key of :data:`FAMILIES`.
        options: ``sources`` (names of the classes), ``sample_rate``, ``layers``,
            ``stride``, ``mask_act``, ``norm``, ... of the family.

    Returns:
        The configuration, and the tree of parameters as NumPy arrays, float32. Where a
        model has running statistics, they are one more part of the tree, named
        ``batch_stats``: :func:`as_variables` makes of it what the model applies.

    Raises:
        KeyError: an array is missing; the message names it.
        ValueError: an array has another shape than the others imply, an option does
            not fit, or the family is not known.

    Warns:
        UserWarning: the state has arrays that the family does not know.

    Example:
        >>> sorted(FAMILIES)[:3], "open_unmix" in FAMILIES
        (['asteroid', 'demucs', 'demucs_tasnet'], True)
        >>> from_state_dict({}, family="asteroid", layers=8)
        Traceback (most recent call last):
        KeyError: "the state dict has no 'masker.TCN.0.': is it of another family?"
    """
    reader = StateReader(state)
    config, params = FAMILIES.build(family, reader, **options)
    reader.warn_of_the_rest()
    return config, params


def as_variables(params: Mapping[str, Any]) -> dict[str, Any]:
    """Collections that a model applies, from a tree of :func:`from_state_dict`.

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
