"""The datasets by name: ``@register("mine")`` on ``(root, sources) -> Manifest``."""

import inspect
from collections.abc import Sequence

from data_pipelines.manifest import Manifest, check
from sepjax.registry import Registry

# Imported on use, so that one dataset's needs burden no other.
HOMES = {
    name: f"data_pipelines.songs.{name}" for name in ("demo", "folder", "prepared")
}
DATASETS = Registry("dataset", HOMES)
register = DATASETS.register


def build_manifest(
    name: str, root: str, sources: Sequence[str], missing: str = "error"
) -> Manifest:
    """Build and check the manifest of a registered dataset.

    ``missing`` goes to datasets that take it, such as the folder, where a song without
    a file of a class is an "error" or "silence" (or left out later, "skip"). Others
    know which classes are absent.

    Raises:
        ValueError: the name is not known; the nearest are suggested.
        DataError: the data cannot be used; all problems are listed.
    """
    builder = DATASETS.find(name)
    takes = "missing" in inspect.signature(builder).parameters
    missing = "silence" if missing == "skip" else missing
    options = {"missing": missing} if takes else {}
    return check(builder(root, tuple(sources), **options))
