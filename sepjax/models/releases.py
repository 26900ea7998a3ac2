"""Models that separate without training: released ones by name, and ready systems.

A family tells of its own in a module ``releases``, which needs no jax; the importer of
the same name (:data:`sepjax.models.importers.IMPORTERS`) fetches and converts them.
"""

import difflib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from sepjax.config import MODEL_CONFIGS
from sepjax.download import DownloadError, cache_folder, fetch
from sepjax.registry import Registry, aligned, nearest

RELEASES = Registry("released model", package="sepjax.models", module="releases*")
"""Name -> :class:`Release`."""
NOTHING: Mapping[str, Any] = MappingProxyType({})
SHIPPED = Path(__file__).parent.parent / "weights" / "shipped"
"""Folder of models that are part of the package."""


class Release(NamedTuple):
    """What is known about a model without having it."""

    sources: tuple[str, ...]
    sample_rate: int  # Hz; 0: any
    download_bytes: int
    licence: str  # of the weights
    trained_on: str
    latency_seconds: float  # of a song that must be there before its first stems are
    place: str = ""  # of its files
    files: Mapping[str, str] = NOTHING  # -> how their SHA-256 begin
    model: Mapping[str, Any] = NOTHING  # fields of config.model that files do not tell
    sums: tuple[str, ...] = ()  # as data.sums: sources that songs may have in parts
    scores: Mapping[str, float] = NOTHING  # source -> SDR in dB, as published
    scored: str = ""  # on what, how, and by whom
    preferred: bool = False  # it separates for those who name none
    shipped: bool = False  # it is part of the package


def released_place(name: str) -> Path:
    """Return the folder where a released model is, or will be: in the cache, most.

    Example:
        >>> released_place("pair:small").name
        'pair-small'
    """
    release, folder = RELEASES.get(name), re.sub(r"[^\w.-]", "-", name)
    if release and release.shipped:
        return SHIPPED / folder
    return cache_folder("weights") / folder


def default_separator() -> str:
    """Return the name of the model that separates where none is named."""
    return next(name for name in RELEASES if RELEASES[name].preferred)


def ready_models() -> dict[str, Release]:
    """Return all that separates without training: released models, then systems.

    Example:
        >>> ready_models()["hpss"].sources
        ('percussive', 'harmonic')
    """
    models = dict(RELEASES)
    for name in MODEL_CONFIGS:
        if config := MODEL_CONFIGS[name].ready():
            facts = (0, 0, "MIT", "nothing", config.eval.chunk_seconds)
            models[name] = Release(config.data.sources, *facts)
    return models


def ready_facts() -> list[dict[str, Any]]:
    """Return what ``sepjax models --json`` prints."""
    return [
        {"name": name, "fetched": _is_fetched(name, model)} | model._asdict()
        for name, model in ready_models().items()
    ]


def ready_table() -> str:
    """Format the list of models for people; notes on scores stand below it."""
    models = ready_models()
    notes = list(dict.fromkeys(model.scored for model in models.values()))
    notes.remove("")
    rows = ["name|classes|kHz|MB|fetched|licence|trained on|SDR|latency".split("|")]
    for name, model in models.items():
        scores = " ".join(f"{score:.2f}" for score in model.scores.values())
        rows.append(
            [
                name,
                ", ".join(model.sources),
                f"{model.sample_rate / 1000:g}" if model.sample_rate else "any",
                f"{model.download_bytes / 1e6:.0f}" if model.download_bytes else "",
                _fetched(name, model),
                re.split("[,;]", model.licence)[0],
                model.trained_on,
                scores and f"{scores} [{notes.index(model.scored) + 1}]",
                f"{model.latency_seconds:.2g} s",
            ]
        )
    lines = [f"[{n}] dB, in the order of classes: {x}" for n, x in enumerate(notes, 1)]
    lines.append(f"without -n: {default_separator()}")
    return "\n".join([aligned(rows, left=(0, 1, 5, 6, 7)), *lines])


def _fetched(name: str, model: Release) -> str:
    if model.shipped:
        return "in the box"
    return ("no", "yes")[_is_fetched(name, model)] if model.download_bytes else ""


def _is_fetched(name: str, model: Release) -> bool:
    return bool(model.download_bytes) and released_place(name).is_dir()


def unknown_model(name: str) -> str:
    """Return the message about a name that stands for no model at all.

    Example:
        >>> print(unknown_model("repett")[:75])
        repett is no folder, no released model and no system: did you mean 'repet'
    """
    parent = Path(name).parent
    folders = [str(path) for path in parent.glob("*/")]
    near = difflib.get_close_matches(name, folders)
    known = nearest(name, [*ready_models(), *near])
    return f"{name} is no folder, no released model and no system: {known}"


def fetch_files(
    files: Mapping[str, str], place: str, folder: Path, by_hand: str
) -> None:
    """Fetch files of one place into a folder.

    Args:
        files: name -> how its SHA-256 begins.
        place: address that the names are put behind.
        folder: where they will be.
        by_hand: end of the message for those who have to fetch them otherwise.

    Raises:
        DownloadError: one cannot be had.
    """
    for name, digest in files.items():
        how = dict(sha256_prefix=digest, progress=sys.stderr.isatty())
        try:
            fetch(f"{place}/{name}", folder / name, **how)
        except DownloadError as error:
            raise DownloadError(f"{error}\n{by_hand}") from error
