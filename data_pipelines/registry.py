"""The datasets by name: ``DATASETS[name](root, sources) -> Manifest``.

A dataset is one function; registering it makes its name usable in every config::

    @register("mydata")
    def build_manifest(root, sources):
        ...
"""

from collections.abc import Callable, Sequence

from data_pipelines.manifest import Manifest, check
from sepjax.config import nearest

Builder = Callable[[str, Sequence[str]], Manifest]
DATASETS: dict[str, Builder] = {}


def register(name: str) -> Callable[[Builder], Builder]:
    """Decorator that adds a dataset under a new name."""

    def add(builder: Builder) -> Builder:
        if name in DATASETS:
            raise ValueError(f"dataset '{name}' is registered already")
        DATASETS[name] = builder
        return builder

    return add


def build_manifest(name: str, root: str, sources: Sequence[str]) -> Manifest:
    """The checked manifest of a registered dataset.

    Raises:
        ValueError: the name is not known; the nearest are suggested.
        DataError: the data cannot be used; all problems are listed.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown dataset '{name}': {nearest(name, DATASETS)}")
    return check(DATASETS[name](root, tuple(sources)))


# The readers are imported on use, so that one dataset's needs burden no other.


@register("demo")
def _demo(root: str, sources: Sequence[str]) -> Manifest:
    from data_pipelines import demo

    return demo.build_manifest(root, sources)


@register("folder")
def _folder(root: str, sources: Sequence[str]) -> Manifest:
    from data_pipelines import folder

    return folder.build_manifest(root, sources)
