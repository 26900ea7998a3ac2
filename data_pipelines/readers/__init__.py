"""Readers by name: ``READERS[name](root, **options) -> Collection``.

A reader looks at a data set as it is distributed, or at a folder with a table that
somebody wrote, and says which recordings are there and how songs are made of them. It
opens no audio. ``docs/datasets.md`` lists them all.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from data_pipelines.collections.collection import Collection
from data_pipelines.collections.rules import check_collection
from sepjax.registry import Registry, nearest

READERS = Registry("reader")
register = READERS.register


def read_dataset(name: str, root: str, **options: Any) -> Collection:
    """Read a data set and return its checked collection.

    Args:
        name: of a registered reader.
        root: its folder.
        options: of this reader.

    Raises:
        ValueError: the reader or an option is not known; the nearest are suggested.
        DataError: the data cannot be used; all problems are listed.
    """
    return check_collection(READERS.build(name, root, **options), f"{name} in {root}")


def call(
    reader: Callable[..., Collection], root: str, options: Mapping[str, Any]
) -> Collection:
    """Call a reader if it has all given options.

    Options named as the fields of :class:`~data_pipelines.readers.checks.Draw` are
    those of its parameter ``draw``.

    Raises:
        ValueError: an option is not known.
    """
    parameters = inspect.signature(reader).parameters
    draw = parameters["draw"].default if "draw" in parameters else ()
    drawn = draw._fields if draw else ()
    known = [*list(parameters)[1:], *drawn]
    for name in options:
        if name not in known:
            module = reader.__module__.rpartition(".")[2]
            raise ValueError(f"{module} has no option '{name}': {nearest(name, known)}")
    own = {name: value for name, value in options.items() if name not in drawn}
    if draw:
        shares = {name: options[name] for name in drawn if name in options}
        own["draw"] = draw._replace(**shares)
    return reader(root, **own)


MODULES = {
    "musdb18": "musdb",
    "musdb18_7s": "musdb",
    "musdb18hq": "musdb",
    "moisesdb": "moisesdb",
    "medleydb": "medleydb",
    "slakh2100": "slakh",
    "msst": "msst",
    "karaoke": "karaoke",
    "montreux": "montreux",
}
"""Reader -> the module here whose function ``read_<reader>`` it is."""


def _read(name: str, root: str, **options: Any) -> Collection:
    # Imported on use, so that one data set's needs burden no other.
    module = importlib.import_module(f"data_pipelines.readers.{MODULES[name]}")
    return call(getattr(module, f"read_{name}"), root, options)


for _name in MODULES:
    register(_name)(functools.partial(_read, _name))
