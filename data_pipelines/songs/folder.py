"""Your own music: one folder per song, one file of audio per stem.

::

    root/[train|valid|test/]song/{vocals,drums,bass,other}.wav|flac
    root/[train|valid|test/]song/mixture.wav|flac      (may be left out)

or any other layout of :mod:`data_pipelines.songs.layouts`. All files are read once, so
that everything wrong with a dataset is reported together; the result is remembered
until a file's size or time changes.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.audio.canonical import cache_folder
from data_pipelines.audio.files import probe, read_blocks, subfolders
from data_pipelines.manifest import (
    AudioFile,
    DataError,
    Manifest,
    Stem,
    Track,
    file_version,
    hash_file,
)
from data_pipelines.registry import register
from data_pipelines.songs.layouts import (
    SPLIT_FOLDERS,
    Files,
    find_songs,
    name_key,
)
from data_pipelines.workers import in_order
from sepjax.registry import nearest
from sepjax.storage import text_sha256, write_atomically

VERSION = 2  # of the reader; part of the remembered manifests' names
DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
LISTED = 5  # names in a warning


class Song(NamedTuple):
    """A song on disk; ``split`` is empty where no folder says it."""

    name: str
    split: str
    place: str  # for messages
    paths: Files  # stem or "mixture", as in a layout, to its files


class Measured(NamedTuple):
    """A song after reading: files that are not silent, the error of their sum."""

    song: Song
    frames: int
    files: dict[str, AudioFile]
    mixture_error: float  # dB


@register("folder")
def build_manifest(
    root: str, sources: Sequence[str], missing: str = "error"
) -> Manifest:
    """Index a folder of songs.

    Without split folders the songs are ordered by the number of classes that sound in
    them (most first), then by name; the last fifth is the test split, the fifth before
    it validation, each at least one song. So a class of few songs is in the
    training split. With split folders but none for validation, the last fifth of the
    training songs, in the same order, validates. A name that comes in two splits gets
    the split's behind it: ``Intro (valid)``.

    Args:
        root: the folder.
        sources: the classes.
        missing: what a song is that has no file of a class: an "error", or "silence".
            Songs without a file of any class are left out then, with a warning.

    Raises:
        DataError: all problems of all songs; with "silence", a class of which there is
            no file at all.
    """
    songs = _find(root, sources)
    if missing == "silence":
        songs = _leave_out(root, songs, sources)
    listing = [
        (str(path.absolute()), *file_version(path))
        for song in songs
        for paths in song.paths.values()
        for path in paths
    ]
    key = json.dumps([VERSION, root, list(sources), missing, listing])
    memory = cache_folder() / "manifests" / f"{text_sha256(key)}.json"
    with contextlib.suppress(*DAMAGED):
        return Manifest.from_json(memory.read_text())
    measured = _measure_all(root, songs, sources, missing)
    manifest = _manifest(root, sources, measured)
    # A cache that cannot be written costs time only; where it is needed it will say so.
    with contextlib.suppress(OSError):
        write_atomically(memory, manifest.to_json())
    return manifest


def _find(root: str, sources: Sequence[str]) -> list[Song]:
    """The songs of a folder; of those of its split folders, if it has any."""
    if not root:
        raise DataError(
            "dataset 'folder' needs a folder of songs: set config.data.root"
        )
    base = Path(root).absolute()
    if not base.is_dir():
        state = "is not a folder" if base.exists() else "does not exist"
        raise DataError(f"data.root {base} {state}")
    try:
        layout = find_songs(base, sources)
    except DataError as error:
        raise DataError(f"data.root: {error}") from error
    places = {key: _places(files) for key, files in layout.items()}
    if list(places.values()) == [{base}]:
        raise DataError(
            f"data.root {base} looks like a song itself: name the folder above it"
        )
    if any(folder for folder, _ in layout):
        layout = {key: files for key, files in layout.items() if key[0]}
    _tell_unread(base, set().union(*map(places.__getitem__, layout)))
    counts = Counter(name for _, name in layout)
    songs = []
    for (folder, name), files in layout.items():
        split, place = SPLIT_FOLDERS.get(folder.lower(), ""), base / folder / name
        own = f"{name} ({split})" if counts[name] > 1 else name
        songs.append(Song(own, split, str(place), files))
    return songs


def _places(files: Files) -> set[Path]:
    return {path.parent for paths in files.values() for path in paths}


def _tell_unread(base: Path, used: set[Path]) -> None:
    """Warn of folders among the songs that are none: empty, or beside the splits."""
    folders = [
        folder
        for child in subfolders(base)
        for folder in (
            subfolders(child) if child.name.lower() in SPLIT_FOLDERS else [child]
        )
    ]
    unread = [str(one.relative_to(base)) for one in folders if one not in used]
    if unread:
        text = "without audio of their own, or beside the folders of the splits"
        _warn(f"{base}: {len(unread)} folders are not read, {text}", unread)


def _leave_out(root: str, songs: list[Song], sources: Sequence[str]) -> list[Song]:
    """Songs with a file of a class; every class needs one in some song."""
    known = {name for song in songs for name in song.paths}
    problems = [
        f"no song has a file of class '{name}', which data.sources names: "
        f"{nearest(name, known)}"
        for name in sources
        if name_key(name) not in known
    ]
    if problems:
        raise DataError.of(f"dataset 'folder' ({root})", problems)
    keys = {name_key(name) for name in sources}
    if bare := [song.name for song in songs if not keys & song.paths.keys()]:
        listed = ", ".join(sources)
        _warn(f"{root}: {len(bare)} songs have none of {listed} and are left out", bare)
    return [song for song in songs if keys & song.paths.keys()]


def _warn(text: str, names: Sequence[str]) -> None:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    warnings.warn(f"{text}: {', '.join(names[:LISTED])}{more}", stacklevel=2)


def _measure_all(
    root: str, songs: list[Song], sources: Sequence[str], missing: str
) -> list[Measured]:
    jobs = [(song, sources, missing) for song in songs]
    results = in_order(_measure, jobs, "reading songs")
    measured = [result for result in results if isinstance(result, Measured)]
    problems = [one for each in results if isinstance(each, list) for one in each]
    unsplit = sum(not song.split for song in songs)
    if 0 < unsplit < 3:
        problems.append(
            f"{unsplit} song(s) cannot fill the splits train, valid and test: add"
            " songs, or put them into folders of these names (one may be left out)"
        )
    if problems:
        raise DataError.of(f"dataset 'folder' ({root})", problems)
    return measured


def _measure(song: Song, sources: Sequence[str], missing: str) -> Measured | list[str]:
    """Read a whole song; a list of problems if there is any."""
    files, problems = _probe_song(song, sources, missing)
    problems += _unequal(song, files)
    if not problems:
        with contextlib.suppress(DataError):
            energy, error = _sum_song(files)
            sounding = {
                name: dataclasses.replace(file, digest=hash_file(file.path))
                for name, file in files.items()
                if energy[name] > 0 or name == "mixture"
            }
            return Measured(song, next(iter(files.values())).frames, sounding, error)
    # Samples are worth a look even so: one report should hold every problem.
    return problems + _sample_problems(files)


def _unequal(song: Song, files: dict[str, AudioFile]) -> Iterator[str]:
    facts = {
        "length (frames)": {name: file.frames for name, file in files.items()},
        "sample rate (Hz)": {name: file.sample_rate for name, file in files.items()},
        "channels": {  # a mono file goes with any other
            name: file.channels for name, file in files.items() if file.channels > 1
        },
    }
    for what, values in facts.items():
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{name} {value}" for name, value in values.items())
            yield f"{song.place}: files of unequal {what}: {listed}; export them alike"


def _probe_song(
    song: Song, sources: Sequence[str], missing: str
) -> tuple[dict[str, AudioFile], list[str]]:
    files, problems = {}, []
    for name in (*sources, "mixture"):
        paths = song.paths.get(name_key(name), [])
        if len(paths) > 1:
            listed = " and ".join(path.name for path in paths)
            problems.append(f"{song.place}: both {listed}; keep one")
        elif paths:
            try:
                files[name] = probe(str(paths[0]))
            except DataError as error:
                problems.append(str(error))
        elif name != "mixture" and missing == "error":
            listed = [path.name for paths in song.paths.values() for path in paths]
            problems.append(
                f"{song.place}: missing stem '{name}'; WAV and FLAC files there:"
                f" {', '.join(listed) or 'none'}. Where a class is silent add a file"
                " of silence; or set data.missing=silence, for all songs; or leave the"
                " class out of data.sources"
            )
    return files, problems


def _sample_problems(files: dict[str, AudioFile]) -> list[str]:
    problems = []
    for file in files.values():
        try:
            deque(read_blocks(file), maxlen=0)
        except DataError as error:
            problems.append(str(error))
    return problems


def _sum_song(files: dict[str, AudioFile]) -> tuple[dict[str, float], float]:
    """Energy of each file, and the mixture error in dB."""
    energy, error = dict.fromkeys(files, 0.0), 0.0
    for blocks in itertools.zip_longest(*map(read_blocks, files.values())):
        block = dict(zip(files, blocks))
        for name, samples in block.items():
            energy[name] += float(np.square(samples).sum(dtype=np.float64))
        if "mixture" in block:
            difference = block.pop("mixture") - sum(block.values())
            error += float(np.square(difference).sum(dtype=np.float64))
    if not error:
        return energy, -math.inf
    return energy, 10 * math.log10(error / max(energy["mixture"], 1e-9))


def _manifest(root: str, sources: Sequence[str], songs: list[Measured]) -> Manifest:
    files: list[AudioFile] = []

    def add(file: AudioFile) -> Stem:
        files.append(dataclasses.replace(file, path=os.path.relpath(file.path, root)))
        return Stem(len(files) - 1)

    tracks = []
    for measured, split in _deal(songs):
        stems = {name: add(file) for name, file in measured.files.items()}
        name = measured.song.name
        mixture, error = stems.pop("mixture", None), measured.mixture_error
        tracks.append(Track(name, split, name, measured.frames, stems, mixture, error))
    return Manifest(
        name="folder",
        root=root,
        sample_rate=max((file.sample_rate for file in files), default=0),
        channels=max((file.channels for file in files), default=1),
        classes=tuple(sources),
        files=tuple(files),
        tracks=tuple(tracks),
    )


def _deal(songs: list[Measured]) -> list[tuple[Measured, str]]:
    """Give every song its split; see :func:`build_manifest` for the rule."""

    def order(measured: Measured) -> tuple[int, str]:
        return -len(measured.files.keys() - {"mixture"}), measured.song.name

    songs = sorted(songs, key=order)
    split = {id(m): m.song.split for m in songs}
    if not all(split.values()):
        fifth = max(1, round(len(songs) / 5))
        names = ["train"] * (len(songs) - 2 * fifth) + ["valid"] * fifth
        split = dict(zip(split, names + ["test"] * fifth))
    elif "valid" not in split.values():
        train = [each for each, name in split.items() if name == "train"]
        held = max(1, round(len(train) / 5)) if len(train) > 1 else 0
        split |= dict.fromkeys(train[len(train) - held :], "valid")
    return [(m, split[id(m)]) for m in songs]
