"""YAML and JSON that somebody wrote: read in UTF-8, and no larger than they look."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from data_pipelines.manifest import DataError

# The parser in C, where there is one, is ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST = 100  # levels of lists and sections
TOO_DEEP = f"lists and sections lie more than {DEEPEST} deep, or in themselves"
MOST = 10  # values that aliases may make of one that is written


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
        DataError: it cannot be read; aliases multiply what is in it; or lists and
            sections lie in each other more than 100 deep.
    """
    text, kind = read_text(path), "JSON" if path.suffix == ".json" else "YAML"
    try:
        return parse_json(text) if kind == "JSON" else _parse_yaml(text)
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not readable as {kind}: {error}") from error


def parse_json(text: str) -> Any:
    """Parse JSON; ValueError if it is none, or too deep."""
    try:
        return _bounded(json.loads(text), text)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error


def _parse_yaml(text: str) -> Any:
    depth = 0
    for event in yaml.parse(text, LOADER):  # in a loop; what comes next, calls itself
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(TOO_DEEP)
    loader = LOADER(text)
    try:
        node = loader.get_single_node()
        return node and loader.construct_document(_bounded(node, text))
    finally:
        loader.dispose()


def _bounded(root: Any, text: str) -> Any:
    """Refuse what would become much larger, or endless, as plain lists and sections."""
    sizes: dict[int, int] = {}  # of every node with all that is in it

    def measure(node: Any, depth: int) -> int:
        if depth > DEEPEST:
            raise ValueError(TOO_DEEP)
        if id(node) not in sizes:
            sizes[id(node)] = 1 + sum(measure(one, depth + 1) for one in _inner(node))
        return sizes[id(node)]

    # A value takes a character at least.
    if measure(root, 0) > MOST * (len(text) + 1000):
        raise ValueError(
            f"aliases make more than {MOST} values of each that is written"
        )
    return root


def _inner(node: Any) -> Iterator[Any]:
    """What is in a node of YAML, or in a tree of JSON."""
    value = getattr(node, "value", node)
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
