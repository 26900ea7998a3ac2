"""The datasets by name: ``@register("mine")`` on ``(root, sources) -> Manifest``."""

import functools
import importlib
from collections.abc import Sequence

from data_pipelines.manifest import Manifest, check
from sepjax.registry import Registry

DATASETS = Registry("dataset")
register = DATASETS.register


def build_manifest(name: str, root: str, sources: Sequence[str]) -> Manifest:
    """Build and check the manifest of a registered dataset.

    Raises:
        ValueError: the name is not known; the nearest are suggested.
        DataError: the data cannot be used; all problems are listed.
    """
    return check(DATASETS.build(name, root, tuple(sources)))


def _build(name: str, root: str, sources: Sequence[str]) -> Manifest:
    # Imported on use, so that one dataset's needs burden no other.
    module = importlib.import_module(f"data_pipelines.songs.{name}")
    return module.build_manifest(root, sources)


for _name in ("demo", "folder", "prepared"):
    register(_name)(functools.partial(_build, _name))
