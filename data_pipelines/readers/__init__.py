"""Readers by name: ``READERS[name](root, **options) -> Collection``.

A reader looks at a data set as it is distributed, or at a folder with a table that
somebody wrote, and says which recordings are there and how songs are made of them. It
opens no audio. ``docs/datasets.md`` lists them all.
"""

import functools
import importlib
import inspect
from typing import Any

from data_pipelines.collections.collection import Collection
from data_pipelines.collections.rules import check_collection
from sepjax.registry import Registry, nearest

READERS = Registry("reader")
register = READERS.register


def read_dataset(name: str, root: str, **options: Any) -> Collection:
    """Read a folder with a registered reader and return the checked collection.

    Raises:
        ValueError: the reader or an option is not known; the nearest are suggested.
        DataError: the data cannot be used; all problems are listed.
    """
    return check_collection(READERS.build(name, root, **options), f"{name} in {root}")


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
    """Call a reader; options named as fields of a ``Draw`` are those of its draw."""
    # Imported on use, so that one data set's needs burden no other.
    module = importlib.import_module(f"data_pipelines.readers.{MODULES[name]}")
    reader = getattr(module, f"read_{name}")
    parameters = inspect.signature(reader).parameters
    draw = parameters["draw"].default if "draw" in parameters else None
    known = [*list(parameters)[1:], *(draw._fields if draw else ())]
    for option in options:
        if option not in known:
            hint = nearest(option, known)
            raise ValueError(f"{MODULES[name]} has no option '{option}': {hint}")
    if draw:
        shares = {one: options.pop(one) for one in draw._fields if one in options}
        options["draw"] = draw._replace(**shares)
    return reader(root, **options)


for _name in MODULES:
    register(_name)(functools.partial(_read, _name))
