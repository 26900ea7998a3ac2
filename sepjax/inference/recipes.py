"""What is written of estimates: some, sums of them, what they leave, an exact sum."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sepjax.registry import name_problems, nearest

RESIDUAL = "residual"
METHODS = ("add", "minus", "none")


class Recipe(NamedTuple):
    """Stems, each a sum of a model's estimates and of the mixture."""

    names: tuple[str, ...]
    matrix: np.ndarray
    """``(stems, sources + 1)``: how much of each estimate, last of the mixture."""


def make_recipe(
    sources: Sequence[str],
    *,
    stems: str | Iterable[str] = (),
    two_stems: str = "",
    other_method: str = "add",
    aggregate: Mapping[str, str | Iterable[str]] | None = None,
    residual: bool = False,
) -> Recipe:
    """Make the recipe of the stems that are wanted; by default, each source is one.

    Args:
        sources: of the model.
        stems: these only: names of sources, of sums, or "residual".
        two_stems: this stem and what is not in it.
        other_method: what that is: "add", the sum of all other sources, ``no_<stem>``;
            "minus", the mixture without the stem, ``minus_<stem>``; "none", nothing.
        aggregate: name of a sum -> its parts, which are no stems of their own then,
            unless ``stems`` names them. A part may be an earlier sum. A source of that
            name is the sum where none of the parts is there.
        residual: one more stem: the mixture without all sources.

    Raises:
        ValueError: there is no such source, a name is taken, or stems are chosen twice.

    Example:
        >>> recipe = make_recipe(["drums", "bass", "vocals"], two_stems="vocals")
        >>> recipe.names, recipe.matrix.tolist()
        (('vocals', 'no_vocals'), [[0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])

    Reference:
        The names of the two stems and the three methods are those of demucs 4.1.
    """
    stems, units = listed(stems), np.eye(len(sources) + 1)
    rows = dict(zip(sources, units))
    chosen = _combine(rows, aggregate or {})
    if two_stems:
        if stems:
            raise ValueError("two_stems chooses stems already: do not name others")
        chosen = _pair(rows, two_stems, other_method, units)
    if residual or RESIDUAL in stems:
        if RESIDUAL in rows:
            raise ValueError(f"there is a stem {RESIDUAL!r} already: rename it")
        rows[RESIDUAL] = units[-1] - units[:-1].sum(0)
        chosen, stems = [*chosen, RESIDUAL], stems and [*stems, RESIDUAL]
    names = tuple(dict.fromkeys(stems or chosen))
    return Recipe(names, np.stack([_find(name, rows) for name in names]))


def listed(names: str | Iterable[str]) -> list[str]:
    """Return names as a list; a text is one name."""
    return [names] if isinstance(names, str) else list(names)


def _combine(
    rows: dict[str, np.ndarray], aggregate: Mapping[str, str | Iterable[str]]
) -> list[str]:
    """Add sums to the rows; return the names of those that are no part of another."""
    chosen, sources = list(rows), set(rows)
    for problem in name_problems(dict.fromkeys([*rows, *aggregate])):
        raise ValueError(f"sums and stems: {problem}")
    for name, parts in aggregate.items():
        parts = dict.fromkeys(listed(parts))
        if name in sources and parts.keys() & rows.keys():
            raise ValueError(f"there is a stem {name!r} already: rename the sum")
        if name not in sources:
            row = np.sum([_find(part, rows) for part in parts], axis=0)
            if not parts or row.max() > 1:
                raise ValueError(f"the sum {name!r} needs parts, each of them once")
            rows[name] = row
            chosen = [*(each for each in chosen if each not in parts), name]
    return chosen


def _pair(
    rows: dict[str, np.ndarray], stem: str, method: str, units: np.ndarray
) -> list[str]:
    """Add what is not in a stem to the rows; return the names of both."""
    row = _find(stem, rows)
    rests: dict[str, dict[str, np.ndarray]] = {"none": {}}
    rests["add"] = {f"no_{stem}": units[:-1].sum(0) - row}
    rests["minus"] = {f"minus_{stem}": units[-1] - row}
    if method not in rests:
        raise ValueError(f"unknown other_method {method!r}: {nearest(method, METHODS)}")
    rows |= rests[method]
    return [stem, *rests[method]]


def _find(name: str, rows: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in rows:
        raise ValueError(f"unknown stem {name!r}: {nearest(name, rows)}")
    return rows[name]


def check_whole(recipe: Recipe) -> None:
    """Check that stems are the whole mixture, and nothing of it twice.

    Raises:
        ValueError: a source is in none of them, or in several.

    Example:
        >>> check_whole(make_recipe(["bass", "vocals"], stems=["vocals"]))
        Traceback (most recent call last):
        ValueError: vocals: not the whole mixture, or a part of it twice: these stems
        cannot sum to it exactly; name others, or add the residual
    """
    total = recipe.matrix.sum(0)
    if not (total[:-1] == 1 - total[-1]).all():
        raise ValueError(
            f"{', '.join(recipe.names)}: not the whole mixture, or a part of it twice: "
            "these stems cannot sum to it exactly; name others, or add the residual"
        )


def sum_exactly(
    stems: np.ndarray, mixture: np.ndarray, shares: np.ndarray, depth: int = 32
) -> np.ndarray:
    r"""Return stems that sum to the mixture: each takes its share of the error.

    .. math:: s_j + p_j \big(x - \textstyle\sum_k s_k\big), \quad \sum_j p_j = 1

    What rounding leaves goes into the stem with the largest share. With shares in
    proportion to positive :math:`v_j` these are, of all stems with this sum, nearest to
    the estimates in :math:`\sum_j |\cdot|^2 / v_j`: true sources have the sum, too, so
    that the error against them does not grow in that norm.

    Args:
        stems: ``(time, stems, channels)``; so are those returned, float32.
        mixture: ``(time, channels)``.
        shares: ``(stems, channels)``, which sum to one over stems.
        depth: bits of a sample, on whose grid stems are; 32 for floats.

    Example:
        >>> stems, mixture = np.float32([[[0.5], [0.1]]]), np.float32([[0.7]])
        >>> sum_exactly(stems, mixture, np.array([[0.75], [0.25]])).ravel().round(3)
        array([0.575, 0.125], dtype=float32)
    """
    mixture = mixture.astype(np.float64, order="F")
    error = mixture - stems.sum(1, dtype=np.float64)
    stems = _on_grid(stems + error[:, None] * shares, depth)
    last = int(shares.sum(-1).argmax())
    rest = stems.sum(1, dtype=np.float64) - stems[:, last]
    stems[:, last] = _on_grid(mixture - rest, depth)
    return stems


def _on_grid(wave: np.ndarray, depth: int) -> np.ndarray:
    """Samples as floats that a file of the depth stores as they are."""
    if depth >= 32:
        return wave.astype(np.float32)
    full = 2.0 ** (depth - 1)
    return (np.rint(wave * full) / full).astype(np.float32)
