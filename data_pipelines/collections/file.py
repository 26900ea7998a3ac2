"""Collections as files: YAML, JSON, or JSON lines, the first of all but recordings."""

import dataclasses
import datetime
import inspect
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data_pipelines.collections.collection import Collection, to_tree
from data_pipelines.collections.rules import check_collection
from data_pipelines.collections.trees import read_text, read_tree
from data_pipelines.manifest import DataError
from sepjax.registry import nearest
from sepjax.storage import parse_json, write_atomically, write_json

LARGEST = 2**53  # up to which floats are exact for integers
JSON_LINES = (".jsonl", ".ndjson")


def read_collection(path: str | Path) -> Collection:
    """Read a collection from ``.yaml``, ``.json`` or ``.jsonl`` and check it.

    A relative ``root`` counts from the folder of the file.

    Raises:
        DataError: every problem that can be seen without opening audio.
    """
    path = Path(path)
    problems: list[str] = []
    collection = _build(Collection, _load(path), "", problems)
    if problems or collection is None:
        raise DataError.of(str(path), problems)
    root = path.absolute().parent / Path(collection.root).expanduser()
    return check_collection(dataclasses.replace(collection, root=str(root)), str(path))


def write_collection(collection: Collection, path: str | Path) -> Path:
    """Write a collection: ``.jsonl`` a recording a line, ``.json``, else YAML.

    Example:
        >>> import tempfile
        >>> from data_pipelines.collections.collection import Part, Recording
        >>> parts = (Part("a.wav", "vocals"),)
        >>> song = Recording("a", parts, split="train")
        >>> mine = Collection(("vocals",), (song,), root="/songs")
        >>> file = write_collection(mine, Path(tempfile.mkdtemp(), "mine.yaml"))
        >>> read_collection(file) == mine
        True
    """
    path = Path(path)
    tree = to_tree(collection)
    if path.suffix in JSON_LINES:
        recordings = tree.pop("recordings")
        lines = [json.dumps(each) for each in [tree, *recordings]]
        return write_atomically(path, "\n".join(lines) + "\n")
    if path.suffix == ".json":
        return write_json(path, tree)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
    return write_atomically(path, text)


def _load(path: Path) -> Any:
    if path.suffix not in JSON_LINES:
        return read_tree(path)
    trees = []
    # Not splitlines: titles may hold other ends of lines.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        try:
            place = f"{path}: line {number} is not JSON"
            trees += [parse_json(line, dict, place)] if line.strip() else []
        except ValueError as error:
            raise DataError(str(error)) from error
    if not trees:
        raise DataError(f"{path}: the first line holds classes and rules")
    return trees[0] | {"recordings": trees[1:]}


def _build(kind: Any, tree: Any, where: str, problems: list[str]) -> Any:
    """A value of a type from plain lists and dictionaries; tells what does not fit."""
    place = where or "the top"
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        chosen = next(one for one in arguments if one is not type(None))
        return None if tree is None else _build(chosen, tree, where, problems)
    if dataclasses.is_dataclass(kind):
        return _build_section(kind, tree, where, problems)
    if origin is tuple:
        if not isinstance(tree, list | tuple):
            problems.append(f"{place}: a list is wanted, not {_shown(tree)}")
            return ()
        names = (f"{where}[{_name(each, i)}]" for i, each in enumerate(tree))
        pairs = zip(tree, names)
        return tuple(_build(arguments[0], *pair, problems) for pair in pairs)
    if origin is Mapping:
        if not isinstance(tree, Mapping):
            problems.append(
                f"{place}: names with values are wanted, not {_shown(tree)}"
            )
            return {}
        value = arguments[1]
        return {
            str(k): _build(value, v, f"{where}.{k}", problems) for k, v in tree.items()
        }
    return _build_plain(kind, tree, place, problems)


def _build_plain(kind: Any, tree: Any, place: str, problems: list[str]) -> Any:
    if kind is Any:
        if isinstance(tree, datetime.date):  # YAML makes one of 2018-07-03
            return tree.isoformat()
        return tuple(tree) if isinstance(tree, list) else tree
    accepted = (int, float) if kind is float else (kind,)
    if isinstance(tree, bool) or not isinstance(tree, accepted):
        problems.append(f"{place}: {kind.__name__} is wanted, not {_shown(tree)}")
        return kind()
    if isinstance(tree, int | float) and not abs(tree) <= LARGEST:
        problems.append(f"{place}: a finite number is wanted, not {_shown(tree)}")
        return kind()
    return kind(tree)


def _shown(tree: Any) -> str:
    try:
        return f"{tree!r:.100}"
    except ValueError:  # Python spells no numbers of more than 4300 digits
        return "a number of so many digits"


def _name(tree: Any, index: int) -> str:
    """Name of a list's entry in a message."""
    named = tree if isinstance(tree, Mapping) else {}
    return str(named.get("id") or named.get("path") or named.get("name") or index)


def _build_section(kind: Any, tree: Any, where: str, problems: list[str]) -> Any:
    place = where or "the top"
    if not isinstance(tree, Mapping):
        problems.append(f"{place}: fields with values are wanted, not {_shown(tree)}")
        return None
    hints, values = typing.get_type_hints(kind), {}
    for name, each in tree.items():
        if name not in hints:
            problems.append(f"{place}: no field '{name}': {nearest(str(name), hints)}")
        elif each is not None:  # null: the default
            inner = f"{where}.{name}" if where else str(name)
            values[name] = _build(hints[name], each, inner, problems)
    parameters = inspect.signature(kind).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty]
    if missing := [name for name in needed if name not in values]:
        problems.append(f"{place}: missing {', '.join(missing)}")
        return None
    return kind(**values)
