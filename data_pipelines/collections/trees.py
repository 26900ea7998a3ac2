"""YAML and JSON that somebody wrote, in UTF-8."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from data_pipelines.manifest import DataError
from sepjax.storage import DEEPEST, parse_json


def read_text(path: Path) -> str:
    """Read a text.

    Raises:
        DataError: the file is missing, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        place = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}: line {place} is not UTF-8: save the file in UTF-8, as by "
            "`iconv -f latin1 -t utf-8`"
        ) from error


def read_tree(path: Path) -> Any:
    """Read a file of JSON (``.json``) or else YAML.

    Raises:
        DataError: it cannot be read; it is nested too deeply, or multiplied by aliases.
    """
    text = read_text(path)
    try:
        if path.suffix == ".json":
            return parse_json(text, object, f"{path}: not readable as JSON")
        return parse_yaml(text, str(path))
    except ValueError as error:
        raise DataError(str(error)) from error


def parse_yaml(text: str, place: str) -> Any:
    """Parse YAML that comes from outside; an alias counts as all that it stands for.

    Raises:
        ValueError: it is damaged, too deep, holds itself, or is a small file that says
            much by aliases of aliases; ``place`` begins the message.

    Example:
        >>> parse_yaml("{a: &x [1], b: *x}", "songs.yaml")
        {'a': [1], 'b': [1]}
        >>> parse_yaml("a: &x [*x]", "songs.yaml")
        Traceback (most recent call last):
        ValueError: songs.yaml: not readable as YAML: *x holds itself
    """
    # The parser in C, where there is one, is ten times as fast. JSON, too, is YAML.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    errors = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
    try:
        _require_bounded(yaml.parse(text, loader))
        return yaml.load(text, loader)
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
