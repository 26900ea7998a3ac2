"""``results.json`` as it is read: the schema of stored scores, and checks of trees.

A schema is a :class:`Kind` of value, ``[schema]`` of a list, or a dictionary of the
fields of an object: a field whose name ends in ``!`` has to be there, any other may be
missing, ``*_x`` stands for all with this end, ``...`` for all that are not named.
Fields without a schema are whatever they like.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sepjax.storage import read_json

LARGE = 1e39  # beyond float32, whose squares float64 still holds


class Kind(NamedTuple):
    """A kind of value: its name in messages, and what is of it."""

    name: str
    fits: Callable[[Any], bool]


def between(low: float, high: float) -> Callable[[Any], bool]:
    """Return whether something is a number, no truth value, in a range."""
    return lambda value: type(value) in (int, float) and low <= value <= high


def maybe(kind: Kind) -> Kind:
    """Return a kind that may also be null."""
    return Kind(f"{kind.name} or null", lambda v: v is None or kind.fits(v))


TEXT = Kind("a text", lambda value: isinstance(value, str))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
NUMBER = Kind("a number", between(-LARGE, LARGE))
COUNT = Kind("a count", lambda v: type(v) is int and 0 <= v < 1 << 53)
RATE = Kind("a sample rate in Hz", between(1, 1e6))
SECONDS = Kind("a length in seconds", between(0, 1e9))
SCORE = Kind(
    "a score (a number, null, Infinity or -Infinity)",
    lambda v: v in (None, "Infinity", "-Infinity") or NUMBER.fits(v),
)
RATES = Kind(
    "a sample rate in Hz, or several",
    lambda v: RATE.fits(v) or (isinstance(v, list) and all(map(RATE.fits, v))),
)
COUNTS = {"tracks": COUNT, "windows": COUNT, "windows_scored": COUNT}
TABLE = {...: {**COUNTS, "*_tracks": COUNT, ...: SCORE}}  # class -> metric
COLUMNS = {"model": TABLE, "mixture": TABLE, "oracle": TABLE}
TRACK = {
    **COLUMNS,
    **{f"clean/{column}": TABLE for column in ("model", "mixture", "recorded")},
    **{"name": TEXT, "subset": TEXT, "seen": FLAG, "seen_because": TEXT},
    **{"notes": [TEXT], "sample_rate": RATE, "seconds": SECONDS},
}
DEFINITION = {
    "aggregation": Kind("a text, or a text of each metric", lambda v: not _told(v)),
    **{"labels": {...: TEXT}, "units": {...: TEXT}},
    **{"silence": TEXT, "split": TEXT, "dataset": maybe(TEXT)},
    **{"data_sha256": maybe(TEXT)},
    **{"window_seconds": SECONDS, "sample_rate": RATES},
}
RESULTS = {
    "definition": DEFINITION,
    "model!": TABLE,
    **{"mixture": TABLE, "oracle": TABLE, "improvement": TABLE},
    "mean!": {"model!": {...: SCORE}, ...: {...: SCORE}},
    "clean": {
        "mean!": {...: {...: SCORE}},
        **{column: TABLE for column in ("model", "mixture", "recorded")},
    },
    "tracks": [TRACK],
    "failed": [{"name!": TEXT, "error!": TEXT}],
    "remarks": [TEXT],
    "seen_unknown": TEXT,
    "provenance": {"recorded_rate": maybe(RATE)},
}


def read_results(path: Path) -> dict[str, Any]:
    """Read a ``results.json``, checked to the depth in which pages and tables use it.

    Raises:
        OSError: it is missing, or cannot be read.
        ValueError: it is damaged, or holds no scores; names the file and the field.
    """
    results = read_json(path, dict)
    require(results, RESULTS, path)
    return results


def require(tree: Any, schema: Any, path: Path) -> None:
    """Check a tree of a file against a schema.

    Raises:
        ValueError: it does not fit; names the file and the first such field.

    Example:
        >>> require([{"name": 3}], [{"name!": TEXT}], Path("index.json"))
        Traceback (most recent call last):
        ValueError: index.json: [0].name: a text is wanted, not 3: restore the file ...
    """
    for place, text in problems(tree, schema):
        raise ValueError(
            f"{path}: {place.lstrip('.') or 'content'}: {text}: restore the file from "
            "a copy, or run the step that writes it again"
        )


def problems(tree: Any, schema: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the places of a tree that do not fit a schema, and why."""
    kind = schema if isinstance(schema, Kind) else None
    kinds = {dict: "an object", list: "a list"}
    if kind and kind.fits(tree):
        return
    if kind or not isinstance(tree, type(schema)):
        name = kind.name if kind else kinds[type(schema)]
        yield place, f"{name} is wanted, not {repr(tree)[:60]}"
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from problems(value, schema[0], f"{place}[{index}]")
    else:
        needed = [key[:-1] for key in schema if key is not ... and key[-1:] == "!"]
        yield from (
            (f"{place}.{key}", "is missing") for key in needed if key not in tree
        )
        for key, value in tree.items():
            names = f"{key}!", key, f"*{key[key.rfind('_') :]}", ...
            inner = next((schema[name] for name in names if name in schema), None)
            if inner is not None:
                yield from problems(value, inner, f"{place}.{key[:60]}")


def _told(value: Any) -> list:
    return list(problems(value, {...: TEXT})) if not isinstance(value, str) else []
