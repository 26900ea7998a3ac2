"""YAML that comes from outside: nothing of it is run, and little stays little."""

from collections.abc import Iterable
from typing import Any

import yaml

from sepjax.storage import DEEPEST


# The parser in C, where there is one, is ten times as fast. JSON, too, is YAML.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain values alone."""


_Loader.add_constructor(
    "tag:yaml.org,2002:python/tuple",
    lambda loader, node: loader.construct_sequence(node, deep=True),
)


def parse_yaml(text: str, place: str) -> Any:
    """Parse YAML that comes from outside; an alias counts as all that it stands for.

    Tuples of Python are lists; no other tag of a programming language is known.

    Raises:
        ValueError: it is damaged, too deep, holds itself, or is a small file that says
            much by aliases of aliases; ``place`` begins the message.

    Example:
        >>> parse_yaml("{a: &x [1], b: *x}", "songs.yaml")
        {'a': [1], 'b': [1]}
        >>> parse_yaml("a: !!python/tuple [1, 2]", "model.yaml")
        {'a': [1, 2]}
        >>> parse_yaml("a: &x [*x]", "songs.yaml")
        Traceback (most recent call last):
        ValueError: songs.yaml: not readable as YAML: *x holds itself
    """
    errors = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
    try:
        _require_bounded(yaml.parse(text, _Loader))
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError, *errors) as error:
        raise ValueError(f"{place}: not readable as YAML: {error}") from error


def _require_bounded(events: Iterable[Any]) -> None:
    """Walk through YAML before anything is built of it, which may end the process."""
    sizes, names, anchors, count = [0], [None], {}, 0
    for count, event in enumerate(events, start=1):
        kind, anchor = type(event).__name__, getattr(event, "anchor", None)
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            if len(sizes) > DEEPEST:
                raise ValueError("nested too deeply")
            sizes.append(1)
            names.append(anchor)
            anchors[anchor] = 0
            continue
        if kind == "AliasEvent" and not anchors.get(anchor, 1):
            raise ValueError(f"*{anchor} holds itself")
        size = 1 if kind == "ScalarEvent" else 0
        if kind in ("MappingEndEvent", "SequenceEndEvent"):
            size, anchor = sizes.pop(), names.pop()
        elif kind == "AliasEvent":
            size = anchors.get(anchor, 1)
        anchors[anchor] = size
        sizes[-1] += size
        if sizes[-1] > 10 * count + 10_000:
            raise ValueError("its aliases multiply: write out what they stand for")
