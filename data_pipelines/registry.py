"""The datasets by name: ``DATASETS[name](root, sources) -> Manifest``.

A dataset is one function; registering it makes its name usable in every config::

    @register("mydata")
    def build_manifest(root, sources):
        ...
"""

from collections.abc import Sequence

from data_pipelines.manifest import Manifest, check
from sepjax.registry import Registry

DATASETS = Registry("dataset")
register = DATASETS.register


def build_manifest(name: str, root: str, sources: Sequence[str]) -> Manifest:
    """The checked manifest of a registered dataset.

    Raises:
        ValueError: the name is not known; the nearest are suggested.
        DataError: the data cannot be used; all problems are listed.
    """
    return check(DATASETS.build(name, root, tuple(sources)))


# The readers are imported on use, so that one dataset's needs burden no other.


@register("demo")
def _demo(root: str, sources: Sequence[str]) -> Manifest:
    from data_pipelines.songs import demo

    return demo.build_manifest(root, sources)


@register("folder")
def _folder(root: str, sources: Sequence[str]) -> Manifest:
    from data_pipelines.songs import folder

    return folder.build_manifest(root, sources)


@register("prepared")
def _prepared(root: str, sources: Sequence[str]) -> Manifest:
    from data_pipelines.songs import prepared

    return prepared.build_manifest(root, sources)
