"""Folders as Music-Source-Separation-Training (MSST) reads them: docs/datasets.md.

Types 1 and 4 give the same collection: a chunk is a song, and stems of a song stay
together unless ``data.mix=random``. With types 2 and 3 every file becomes a song of its
own with one class: only ``data.mix=random`` makes music of them.

Reference:
    github.com/ZFTurbo/Music-Source-Separation-Training, docs/dataset_types.md.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.audio.files import audio_files, subfolders
from data_pipelines.collections.collection import Collection, MixRules, Part, Recording
from data_pipelines.manifest import DataError
from data_pipelines.readers import checks
from data_pipelines.readers.labels import instruments, normalize
from data_pipelines.readers.tables import read_table
from data_pipelines.songs.layouts import name_key
from sepjax.registry import nearest

NAME = "msst"
TYPES = (1, 2, 3, 4)
EXTENSIONS = (".wav", ".flac")
COLUMNS = ("instrum", "path")
MIXTURE = "mixture"
MOST_CLASSES = 32  # more are songs that were taken for classes


def read_msst(
    root: str, *, type: int = 0, valid: str = "", classes: Sequence[str] = ()
) -> Collection:
    """Read songs or files for training in one of four layouts, and validation songs.

    Args:
        root: the folder; of type 3 the CSV file, whose paths count from its folder.
        type: 1 (``<song>/<stem>.wav``), 2 (``<stem>/<file>.wav``), 3 (a table) or 4
            (chunks, as 1); 0 tells 1, 2 and 3 apart by names of known instruments.
        valid: folder of songs that validate, each with its mixture; without one all
            songs are for training.
        classes: stems to read; all that are found by default, sorted by name.

    Raises:
        DataError: every file that is missing, named twice or not understood.
    """
    if type not in (0, *TYPES):
        raise DataError(f"type={type} must be one of {', '.join(map(str, TYPES))}")
    kind, problems = type or infer_type(root), []
    if kind == 3:
        path = Path(root).expanduser().absolute()
        if problem := checks.file_problem(path):
            raise DataError(problem)
        base, songs = path.parent, _table(path, problems)
    else:
        base = checks.open_root(root, NAME)
        songs = (_files if kind == 2 else _songs)(base, problems)
    if valid:
        songs += _validation(checks.open_root(valid, NAME), base, problems)
    known = sorted({part.label for song in songs for part in song.tracks})
    chosen = tuple(map(name_key, checks.several(classes))) or tuple(known)
    problems += [
        f"classes: no stem '{name}': {nearest(name, known)}"
        for name in chosen
        if name not in known
    ]
    if len(chosen) > MOST_CLASSES:
        text = f"{len(chosen)} stems by name ({chosen[0]}, {chosen[1]}, ...)"
        problems.append(f"{text}: is type={kind} right? Or choose some with classes=")
    kept = [_choose(song, chosen) for song in songs]
    collection = Collection(
        chosen,
        tuple(song for song in kept if song.tracks),
        name=NAME,
        root=str(base),
        mix=MixRules(mode="summing"),  # stems stay as they are
    )
    bare = [song.id for song in kept if not song.tracks]
    remarks = checks.remark("songs without any of the classes", bare)
    return checks.conclude(collection, problems, remarks)


def infer_type(root: str) -> int:
    """Infer the layout from the names of stems: 1 (or 4, which looks like 1), 2 or 3.

    Raises:
        DataError: both or neither of folders and files are called as instruments.
    """
    if root.lower().endswith(".csv"):
        return 3
    folders = subfolders(checks.open_root(root, NAME))
    files = [one for each in folders for one in audio_files(each, EXTENSIONS)]
    by_folder = bool(folders) and all(_is_stem(one.name) for one in folders)
    by_file = bool(files) and all(_is_stem(one.stem) for one in files)
    if by_folder == by_file:
        raise DataError(
            f"{root}: say type=1 (<song>/<stem>.wav), 2 (<stem>/<file>.wav) or 4"
            " (chunks as 1): names of folders and files do not tell which it is"
        )
    return 1 if by_file else 2


def _is_stem(name: str) -> bool:
    return name_key(name) == MIXTURE or normalize(name) in instruments()


def _songs(
    base: Path, problems: list[str], root: Path | None = None
) -> list[Recording]:
    """Types 1 and 4; paths count from ``root``, by default the base."""
    songs = []
    for folder in subfolders(base):
        files = audio_files(folder, EXTENSIONS)
        stems = [path for path in files if name_key(path.stem) != MIXTURE]
        counts = Counter(name_key(path.stem) for path in stems)
        problems += [
            f"{folder}: two files of stem '{name}'; keep one"
            for name in sorted(counts)
            if counts[name] > 1
        ]
        if not stems:
            problems.append(f"{folder}: no WAV or FLAC files of stems")
        problems += filter(None, map(checks.file_problem, files))
        parts = [
            Part(checks.relative(one, root or base), name_key(one.stem))
            for one in stems
        ]
        songs.append(Recording(folder.name, tuple(parts), split="train"))
    if not songs:
        problems.append(f"{base}: no songs; expected <song>/<stem>.wav")
    return songs


def _validation(base: Path, root: Path, problems: list[str]) -> list[Recording]:
    """Songs as of type 1, which need their mixture."""
    songs = []
    for song in _songs(base, problems, root):
        files = audio_files(base / song.id, EXTENSIONS)
        named = (one for one in files if name_key(one.stem) == MIXTURE)
        path = next(named, base / song.id / f"{MIXTURE}.wav")
        whole = checks.part(path, root, "", problems)
        songs.append(dataclasses.replace(song, split="valid", mixture=whole))
    return songs


def _files(base: Path, problems: list[str]) -> list[Recording]:
    """Type 2."""
    pairs = [
        (name_key(folder.name), path)
        for folder in subfolders(base)
        for path in audio_files(folder, EXTENSIONS)
    ]
    if not pairs:
        problems.append(f"{base}: no files; expected <stem>/<file>.wav")
    return _single(pairs, base, problems)


def _table(path: Path, problems: list[str]) -> list[Recording]:
    """Type 3."""
    pairs = [
        (name_key(row["instrum"]), Path(os.path.normpath(path.parent / row["path"])))
        for row in read_table(path, COLUMNS, problems)
    ]
    if not pairs and not problems:
        problems.append(f"{path}: no files are listed")
    return _single(pairs, path.parent, problems)


def _single(
    pairs: Sequence[tuple[str, Path]], base: Path, problems: list[str]
) -> list[Recording]:
    """A recording for each file, called by stem and file, by folders too if need be."""
    songs = []
    for stem in dict.fromkeys(stem for stem, _ in pairs):
        paths = [path for name, path in pairs if name == stem]
        above = os.path.commonpath([path.parent for path in paths])
        for path in paths:
            inner = path.relative_to(above).with_suffix("")
            part = checks.part(path, base, stem, problems)
            name = " - ".join([stem, *inner.parts])
            songs.append(Recording(name, (part,), split="train"))
    return songs


def _choose(song: Recording, classes: Sequence[str]) -> Recording:
    """The song without stems that are not read, and without its mixture then."""
    parts = tuple(part for part in song.tracks if part.label in classes)
    mixture = song.mixture if parts == song.tracks else None
    return dataclasses.replace(song, tracks=parts, mixture=mixture)
