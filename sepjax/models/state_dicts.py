"""State dicts by family: reading them key by key, and the one entrance for all."""

from collections.abc import Mapping
from typing import Any

from sepjax.config import Config
from sepjax.foreign.state_dict import BATCH_STATS, StateReader
from sepjax.registry import Registry

FAMILIES = Registry("family of state dicts")


def from_state_dict(
    state: Mapping[str, Any], *, family: str, **options: Any
) -> tuple[Config, dict]:
    """A model of ours from the state dict of a public implementation.

    Sizes are read from the shapes of the arrays; what shapes cannot tell are options
    of the family, which the page ``docs/weights.md`` lists. ``model_of(config)``
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
