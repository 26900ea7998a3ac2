"""Readers by name: ``READERS[name](root, **options) -> Collection``.

A reader looks at a data set as it is distributed, or at a folder with a table that
somebody wrote, and says which recordings are there and how songs are made of them. It
opens no audio. ``docs/datasets.md`` lists them all.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from data_pipelines.collection import Collection
from data_pipelines.collection_rules import check_collection
from sepjax.registry import Registry, nearest

READERS = Registry("reader")
register = READERS.register


def read_dataset(name: str, root: str, **options: Any) -> Collection:
    """The checked collection of a data set.

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
    """Call a reader once all options are known to be its own.

    Raises:
        ValueError: an option is not known.
    """
    known = list(inspect.signature(reader).parameters)[1:]
    for name in options:
        if name not in known:
            told = reader.__module__.rpartition(".")[2]
            raise ValueError(f"{told} has no option '{name}': {nearest(name, known)}")
    return reader(root, **options)


# The readers are imported on use, so that one data set's needs burden no other.


@register("musdb18")
def _musdb18(root: str, **options: Any) -> Collection:
    from data_pipelines.readers import musdb

    return call(musdb.read_musdb18, root, options)


@register("musdb18_7s")
def _musdb18_7s(root: str, **options: Any) -> Collection:
    from data_pipelines.readers import musdb

    return call(musdb.read_musdb18_7s, root, options)


@register("musdb18hq")
def _musdb18hq(root: str, **options: Any) -> Collection:
    from data_pipelines.readers import musdb

    return call(musdb.read_musdb18hq, root, options)


@register("moisesdb")
def _moisesdb(root: str, **options: Any) -> Collection:
    from data_pipelines.readers import moisesdb

    return call(moisesdb.read_moisesdb, root, options)


@register("medleydb")
def _medleydb(root: str, **options: Any) -> Collection:
    from data_pipelines.readers import medleydb

    return call(medleydb.read_medleydb, root, options)


@register("slakh2100")
def _slakh2100(root: str, **options: Any) -> Collection:
    from data_pipelines.readers import slakh

    return call(slakh.read_slakh2100, root, options)


@register("msst")
def _msst(root: str, **options: Any) -> Collection:
    from data_pipelines.readers import msst

    return call(msst.read_msst, root, options)


@register("karaoke")
def _karaoke(root: str, **options: Any) -> Collection:
    from data_pipelines.readers import karaoke

    return call(karaoke.read_karaoke, root, options)


@register("montreux")
def _montreux(root: str, **options: Any) -> Collection:
    from data_pipelines.readers import montreux

    return call(montreux.read_montreux, root, options)
