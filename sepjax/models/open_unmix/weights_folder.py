"""Importer of Open-Unmix: a folder as its own scripts write it, of any targets.

A model is a folder with one file for each target, ``<target>.pth``, or
``<target>-<how its SHA-256 begins>.pth`` as PyTorch's hub names what it publishes.
``separator.json`` beside them tells the transform, and ``<target>.json`` the arguments
of training.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sepjax.foreign.state_dict import state_of
from sepjax.foreign.torch_file import read_torch_file
from sepjax.models.importers import (
    IMPORTERS,
    UNKNOWN,
    Imported,
    compare,
    from_state_dict,
    make_facts,
    pick,
)
from sepjax.models.open_unmix.releases import SOURCES
from sepjax.models.open_unmix.weights import join_targets, open_unmix
from sepjax.registry import nearest
from sepjax.storage import parse_json, sha256

SOURCE = "https://github.com/sigsep/open-unmix-pytorch"
SEPARATOR = "separator.json"
EXCERPTS = 600
"""Frames separated at once: two excerpts of the Wiener filter."""


class Transform(NamedTuple):
    """Parameters of the transform that the files of arrays do not settle alone."""

    sample_rate: int = 44100
    n_fft: int = 4096
    hop: int = 1024
    audio_channels: int = 2


NAMES = dict(n_fft="nfft", hop="nhop", audio_channels="nb_channels")
"""Ours -> those of Open-Unmix."""


@IMPORTERS.register("open_unmix")
def import_folder(
    paths: Sequence[Path],
    *,
    sources: tuple[str, ...] = (),
    sample_rate: int = 0,
    hop: int = 0,
    iterations: int = -1,
    softmask: bool = False,
    residual: bool = False,
    verify: bool = True,
) -> Imported:
    """Import a model that Open-Unmix' own scripts have trained.

    Args:
        paths: its folder, or the files in it.
        sources: the targets to take, in this order; all by default.
        sample_rate: Hz, where there is no ``separator.json``.
        hop: samples between frames, where there is none; 0: a quarter of the window.
        iterations: of the Wiener filter; -1: one, or none of a single source.
        softmask: start it from a ratio mask.
        residual: one more source, what the others leave.
        verify: refuse a file that is not what its name says; otherwise warn of it.

    Raises:
        FileNotFoundError: there are no files.
        ValueError: a file is damaged, or not what its name says; ``separator.json`` or
            ``<target>.json`` say something else than the arrays.
        KeyError: an array is missing.
    """
    files = _by_target(paths, sources)
    check_names(files.values(), verify)
    transform = read_separator_file(folder_of(paths))
    if not (transform or sample_rate):
        raise ValueError(
            f"there is no {SEPARATOR}: give --sample-rate, and --option hop=... where "
            "it is no quarter of the window"
        )
    options = {"sample_rate": sample_rate, "hop": hop}
    for name, value in options.items() if transform else ():
        options[name] = getattr(transform, name)
        if value not in (0, options[name]):
            raise ValueError(f"{name} = {value}, but {SEPARATOR} says {options[name]}")
    options |= dict(iterations=iterations, softmask=softmask, residual=residual)
    sizes = {SEPARATOR: transform._asdict() if transform else {}}
    for target, path in files.items():
        path = path.with_name(f"{target}.json")
        arguments = _read_json(path).get("args") if path.is_file() else None
        if isinstance(arguments, dict):
            # The rate is of the data, which may have been resampled.
            sizes[path.name] = pick(arguments, **NAMES, hidden="hidden_size")
    facts = dict(licence=UNKNOWN + "MIT", options=options)
    return import_targets("open_unmix", files, options, sizes, facts)


import_folder.convert = open_unmix


def read_separator_file(folder: Path) -> Transform | None:
    """Read ``separator.json`` in a folder; None if there is no such file."""
    path = folder / SEPARATOR
    if not path.is_file():
        return None
    content, numbers = _read_json(path), {}
    for name in Transform._fields:
        theirs = NAMES.get(name, name)
        number = content.get(theirs)
        if not isinstance(number, int | float) or number < 1 or number % 1:
            raise ValueError(f"{path}: {theirs} = {number!r} must be a whole number")
        numbers[name] = int(number)
    return Transform(**numbers)


def _by_target(paths: Sequence[Path], sources: tuple[str, ...]) -> dict[str, Path]:
    """Target -> file, in the order of the sources or else in the usual one."""
    names = sorted({name_parts(path)[0] for path in _listing(paths)})
    if not names:
        raise FileNotFoundError(f"{folder_of(paths)} has no files <target>.pth")
    for target in sources:
        if target not in names:
            raise ValueError(f"there is no '{target}.pth': {nearest(target, names)}")
    usual = [name for name in SOURCES if name in names]
    usual += sorted(set(names) - set(SOURCES))
    return {target: file_of(paths, target) for target in sources or usual}


def file_of(paths: Sequence[Path], target: str, public: str = "") -> Path | None:
    """Return the one file of a target, if it exists; the published file goes first."""
    files = [path for path in _listing(paths) if name_parts(path)[0] == target]
    files = [path for path in files if path.name == public] or files
    if len(files) > 1:
        names = " and ".join(path.name for path in files)
        raise ValueError(f"{names} are both of '{target}': give one of them")
    return files[0] if files else None


def _listing(paths: Sequence[Path]) -> list[Path]:
    if len(paths) == 1 and not paths[0].is_file():
        return sorted(paths[0].glob("*.pth"))
    return list(paths)


def folder_of(paths: Sequence[Path]) -> Path:
    """Return the folder with the files of a model."""
    if not paths:
        raise ValueError("name the folder of the files")
    return paths[0].parent if paths[0].is_file() else paths[0]


def name_parts(path: Path) -> tuple[str, str]:
    """Split a file's name into the target and the beginning of the SHA-256, or "".

    Example:
        >>> name_parts(Path("vocals-b62c91ce.pth")), name_parts(Path("lead_voice.pth"))
        (('vocals', 'b62c91ce'), ('lead_voice', ''))
    """
    match = re.fullmatch(r"(.+)[-_]([0-9a-f]{8})", path.stem)
    return (match[1], match[2]) if match else (path.stem, "")


def check_names(files: Iterable[Path], verify: bool) -> None:
    """Refuse files that are not what their names say, or else warn of them."""
    for path in files:
        prefix, digest = name_parts(path)[1], sha256(path)
        if not digest.startswith(prefix):
            text = (
                f"{path} is damaged or another file: its SHA-256 should begin with "
                f"{prefix}, and begins with {digest[:8]}"
            )
            if verify:
                hint = "Fetch it again (--option verify=false takes it)"
                raise ValueError(f"{text}. {hint}")
            warnings.warn(text, stacklevel=2)


def import_targets(
    family: str,
    files: Mapping[str, Path],
    options: Mapping[str, Any],
    sizes: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Any],
) -> Imported:
    """Import the file of each target with options of the family ``open_unmix``.

    ``sizes``, by the place that tells them, are compared with those of the arrays;
    ``facts`` are as for :func:`sepjax.models.importers.make_facts`.
    """
    states = {}
    for target, path in files.items():
        content = read_torch_file(path)
        try:
            states[target] = state_of(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    config, params = from_state_dict(
        join_targets(states), family="open_unmix", sources=tuple(files), **options
    )
    for place, numbers in sizes.items():
        compare(numbers, config, place, "the files")
    # A chunk of whole excerpts: the last one of a few frames would fit anything.
    chunk = round((EXCERPTS - 1) * config.model.hop / config.data.sample_rate, 6)
    habits = {"chunk": chunk, "normalize": False, "rescale": False}
    more = dict(source=SOURCE, separate=habits) | facts
    return Imported(config, params, make_facts(family, list(files.values()), **more))


def _read_json(path: Path) -> dict[str, Any]:
    return parse_json(path.read_bytes(), dict, f"{path} is damaged", nan=True)
