"""Importer of Open-Unmix: a folder as its own scripts write it, of any targets.

A model is a folder with one file for each target, ``<target>.pth``, or
``<target>-<how its SHA-256 begins>.pth`` as PyTorch's hub names what it publishes.
``separator.json`` beside them tells the transform, and ``<target>.json`` what training
was told.
"""

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sepjax.config import Config
from sepjax.foreign.torch_file import read_torch_file
from sepjax.models.checkpoints import UNKNOWN
from sepjax.models.importers import IMPORTERS, Imported, make_facts, state_of
from sepjax.models.open_unmix.weights import join_targets
from sepjax.models.state_dicts import from_state_dict
from sepjax.registry import nearest
from sepjax.storage import sha256

SOURCE = "https://github.com/sigsep/open-unmix-pytorch"
SEPARATOR = "separator.json"
ORDER = ("vocals", "drums", "bass", "other")
EXCERPTS = 600
"""Frames separated at once: two excerpts of the Wiener filter."""


class Transform(NamedTuple):
    """What the files of a model do not tell, or not alone."""

    sample_rate: int = 44100
    n_fft: int = 4096
    hop: int = 1024
    channels: int = 2


NAMES = dict(zip(("sample_rate", "nfft", "nhop", "nb_channels"), Transform._fields))
"""As Open-Unmix calls them."""


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
    """A model that Open-Unmix' own scripts have trained.

    Args:
        paths: its folder, or the files in it.
        sources: the targets to take, in this order; all by default.
        sample_rate: Hz, where there is no ``separator.json``.
        hop: samples between frames, where there is none; 0: a quarter of the window.
        iterations: of the Wiener filter; -1: one, or none of a single source.
        softmask: start it from a ratio mask.
        residual: one more source, what the others leave.
        verify: whether a file that is not what its name says is refused, or only told.

    Raises:
        FileNotFoundError: there are no files.
        ValueError: a file is damaged, or not what its name says; ``separator.json`` or
            ``<target>.json`` say something else than the arrays.
        KeyError: an array is missing.
    """
    files = _by_target(paths, sources)
    check_names(files.values(), verify)
    told = read_separator_file(folder_of(paths))
    if not (told or sample_rate):
        raise ValueError(
            f"there is no {SEPARATOR}: give --sample-rate, and --option hop=... where "
            "it is no quarter of the window"
        )
    for name, given in (("sample_rate", sample_rate), ("hop", hop)):
        if told and given not in (0, getattr(told, name)):
            right = getattr(told, name)
            raise ValueError(f"{name} = {given}, but {SEPARATOR} says {right}")
    options = dict(iterations=iterations, softmask=softmask, residual=residual)
    options["sample_rate"] = told.sample_rate if told else sample_rate
    options["hop"] = told.hop if told else hop
    config, params = read_targets(files, **options)
    if told:
        compare(SEPARATOR, told._asdict(), config)
    for target, path in files.items():
        _compare_arguments(path.with_name(f"{target}.json"), config)
    more = dict(source=SOURCE, licence=UNKNOWN + "MIT", options=options)
    return Imported(config, params, facts_of("open_unmix", files, config, **more))


def read_separator_file(folder: Path) -> Transform | None:
    """What ``separator.json`` in a folder tells; None if there is none.

    Raises:
        ValueError: it is damaged, or a number is missing.
    """
    path = folder / SEPARATOR
    if not path.is_file():
        return None
    told = _read_json(path)
    numbers = [told.get(name) for name in NAMES]
    for name, number in zip(NAMES, numbers):
        if not isinstance(number, int | float) or number < 1 or number % 1:
            raise ValueError(f"{path}: {name} = {number!r} must be a whole number")
    return Transform(*map(int, numbers))


def _by_target(paths: Sequence[Path], sources: tuple[str, ...]) -> dict[str, Path]:
    """Target -> file, in the order that is wanted or else in the usual one."""
    found = {name_parts(path)[0] for path in _listing(paths)}
    if not found:
        raise FileNotFoundError(f"{folder_of(paths)} has no files <target>.pth")
    rank = {target: number for number, target in enumerate(ORDER)}
    usual = sorted(found, key=lambda target: (rank.get(target, len(rank)), target))
    for target in sources:
        if target not in found:
            raise ValueError(f"there is no '{target}.pth': {nearest(target, usual)}")
    return {
        target: only(target, candidates(paths, target)) for target in sources or usual
    }


def candidates(paths: Sequence[Path], target: str, public: str = "") -> list[Path]:
    """Files of a target; only the published one if it is among them."""
    files = [path for path in _listing(paths) if name_parts(path)[0] == target]
    return [path for path in files if path.name == public] or files


def only(target: str, files: list[Path]) -> Path:
    """The only file of a target.

    Raises:
        ValueError: there are several.
    """
    if len(files) > 1:
        names = " and ".join(path.name for path in files)
        raise ValueError(f"{names} are both of '{target}': give one of them")
    return files[0]


def _listing(paths: Sequence[Path]) -> list[Path]:
    if len(paths) == 1 and not paths[0].is_file():
        return sorted(paths[0].glob("*.pth"))
    return list(paths)


def folder_of(paths: Sequence[Path]) -> Path:
    """Where the files of a model are.

    Raises:
        ValueError: no path is given.
    """
    if not paths:
        raise ValueError("name the folder of the files")
    return paths[0].parent if paths[0].is_file() else paths[0]


def name_parts(path: Path) -> tuple[str, str]:
    """Target, and the beginning of the SHA-256 or nothing, as a name tells them.

    Example:
        >>> name_parts(Path("vocals-b62c91ce.pth")), name_parts(Path("lead_voice.pth"))
        (('vocals', 'b62c91ce'), ('lead_voice', ''))
    """
    match = re.fullmatch(r"(.+)[-_]([0-9a-f]{8})", path.stem)
    return (match[1], match[2]) if match else (path.stem, "")


def check_names(files: Iterable[Path], verify: bool) -> None:
    """Compare files with the hashes in their names."""
    for path in files:
        prefix, found = name_parts(path)[1], sha256(path)
        if found.startswith(prefix):
            continue
        text = (
            f"{path} is damaged or another file: its SHA-256 should begin with "
            f"{prefix}, and begins with {found[:8]}"
        )
        if verify:
            raise ValueError(f"{text}. Fetch it again (--option verify=false takes it)")
        warnings.warn(text, stacklevel=2)


def read_targets(files: Mapping[str, Path], **options: Any) -> tuple[Config, dict]:
    """Configuration and parameters from the state dicts of targets.

    Args:
        files: target -> its file.
        options: of :func:`sepjax.models.open_unmix.weights.open_unmix`.

    Raises:
        ValueError: a file is damaged, or no state dict of Open-Unmix.
        KeyError: an array is missing.
    """
    states = {}
    for target, path in files.items():
        content = read_torch_file(path)
        try:
            states[target] = state_of(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return from_state_dict(
        join_targets(states), family="open_unmix", sources=tuple(files), **options
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(told, dict):
        raise ValueError(f"{path} is damaged: it holds a {type(told).__name__}")
    return told


def _compare_arguments(path: Path, config: Config) -> None:
    """Compare a model with what its training was told, if that was kept."""
    told = _read_json(path).get("args") if path.is_file() else None
    if not isinstance(told, dict):
        return
    names = NAMES | {"hidden_size": "hidden"}
    names.pop("sample_rate")  # of the data, which may have been resampled
    compare(path.name, {f: told[n] for n, f in names.items() if n in told}, config)


def compare(place: str, told: Mapping[str, Any], config: Config) -> None:
    """Refuse a model that is not what a place says of it.

    Raises:
        ValueError: the first number that differs is named.
    """
    found = {
        "sample_rate": config.data.sample_rate,
        "n_fft": config.model.n_fft,
        "hop": config.model.hop,
        "channels": config.model.audio_channels,
        "hidden": config.model.hidden,
    }
    for name, value in told.items():
        if found[name] != value:
            raise ValueError(
                f"{place} says {name} = {value}, but the files have {found[name]}: are "
                "they of another model?"
            )


def facts_of(
    name: str, files: Mapping[str, Path], config: Config, **more: Any
) -> dict[str, Any]:
    """Facts for ``weights.json``, of the files of all targets."""
    # A chunk of whole excerpts: the last one of a few frames would fit anything.
    chunk = round((EXCERPTS - 1) * config.model.hop / config.data.sample_rate, 6)
    habits = {"chunk": chunk, "normalize": False, "rescale": False}
    return make_facts(name, list(files.values()), separate=habits, **more)
