"""Your own music: one folder per song, one WAV or FLAC file per stem.

::

    root/[train|valid|test/]song/{vocals,drums,bass,other}.wav|flac
    root/[train|valid|test/]song/mixture.wav|flac      (may be left out)

All files are read once, so that everything wrong with a dataset is reported together;
the result is remembered until a file's size or time changes.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.audio.canonical import cache_folder
from data_pipelines.audio.files import audio_files, probe, read_blocks, subfolders
from data_pipelines.manifest import (
    AudioFile,
    DataError,
    Manifest,
    Stem,
    Track,
    hash_file,
)
from data_pipelines.workers import in_order
from sepjax.storage import text_sha256, write_atomically

VERSION = 1  # of the reader; part of the remembered manifests' names
EXTENSIONS = (".wav", ".flac")
SPLIT_FOLDERS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("valid", "validation", "val"), "valid"
)


class SongFolder(NamedTuple):
    """A song on disk; ``split`` is empty where no folder says it."""

    name: str
    split: str
    folder: Path
    paths: dict[str, list[Path]]  # stem or "mixture" to its files


class Measured(NamedTuple):
    """A song after reading: files that are not silent, the error of their sum."""

    song: SongFolder
    frames: int
    files: dict[str, AudioFile]
    mixture_error: float  # dB


def build_manifest(root: str, sources: Sequence[str]) -> Manifest:
    """Index a folder of songs.

    Without split folders the songs are ordered by the number of classes that sound in
    them (most first), then by name; the last fifth is the test split, the fifth before
    it validation, each at least one song. So a class of few songs is in the
    training split. With split folders but none for validation, the last fifth of the
    training songs, in the same order, validates.

    Raises:
        DataError: all problems of all songs.
    """
    songs = _find_songs(root, sources)
    listing = [
        (str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns)
        for song in songs
        for paths in song.paths.values()
        for path in paths
    ]
    key = json.dumps([VERSION, root, list(sources), listing])
    memory = cache_folder() / "manifests" / f"{text_sha256(key)}.json"
    with contextlib.suppress(OSError):
        return Manifest.from_json(memory.read_text())
    manifest = _manifest(root, sources, _measure_all(root, songs, sources))
    # A cache that cannot be written costs time only; where it is needed it will say so.
    with contextlib.suppress(OSError):
        write_atomically(memory, manifest.to_json())
    return manifest


def _find_songs(root: str, sources: Sequence[str]) -> list[SongFolder]:
    if not root:
        raise DataError(
            "dataset 'folder' needs a folder of songs: set config.data.root"
        )
    base = Path(root)
    if not base.is_dir():
        state = "is not a folder" if base.exists() else "does not exist"
        raise DataError(f"data.root {base.absolute()} {state}")
    children = subfolders(base)
    split_of = {one: SPLIT_FOLDERS.get(one.name.lower(), "") for one in children}
    songs = [
        _song(folder, split)
        for child, split in split_of.items()
        if split
        for folder in subfolders(child)
    ]
    if not any(split_of.values()):
        songs = [_song(folder, "") for folder in children]
    if not songs:
        stems = ", ".join([f"{name}.wav" for name in sources])
        here = _song(base, "").paths
        hint = "; it looks like a song itself: name the folder above it" if here else ""
        raise DataError(
            f"data.root {base.absolute()} holds no songs{hint}. Expected:"
            f" <song>/{{{stems}}} or <train|valid|test>/<song>/..."
        )
    return songs


def _song(folder: Path, split: str) -> SongFolder:
    paths: dict[str, list[Path]] = {}
    for path in audio_files(folder, EXTENSIONS):
        paths.setdefault(path.stem, []).append(path)
    return SongFolder(folder.name, split, folder, paths)


def _measure_all(
    root: str, songs: list[SongFolder], sources: Sequence[str]
) -> list[Measured]:
    jobs = [(song, sources) for song in songs]
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


def _measure(song: SongFolder, sources: Sequence[str]) -> Measured | list[str]:
    """Read a whole song; a list of problems if there is any."""
    files, problems = _probe_song(song, sources)
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


def _unequal(song: SongFolder, files: dict[str, AudioFile]) -> Iterator[str]:
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
            yield f"{song.folder}: files of unequal {what}: {listed}; export them alike"


def _probe_song(
    song: SongFolder, sources: Sequence[str]
) -> tuple[dict[str, AudioFile], list[str]]:
    files, problems = {}, []
    for name in (*sources, "mixture"):
        paths = song.paths.get(name, [])
        if len(paths) > 1:
            listed = " and ".join(path.name for path in paths)
            problems.append(f"{song.folder}: both {listed}; keep one")
        elif paths:
            try:
                files[name] = probe(str(paths[0]))
            except DataError as error:
                problems.append(str(error))
        elif name != "mixture":
            listed = [path.name for paths in song.paths.values() for path in paths]
            problems.append(
                f"{song.folder}: missing stem '{name}'; WAV and FLAC files there:"
                f" {', '.join(listed) or 'none'}. A class that is silent in this song"
                " needs a file of silence; or leave it out of data.sources"
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
    split = {m.song.folder: m.song.split for m in songs}
    if not all(split.values()):
        fifth = max(1, round(len(songs) / 5))
        names = ["train"] * (len(songs) - 2 * fifth) + ["valid"] * fifth
        split = dict(zip(split, names + ["test"] * fifth))
    elif "valid" not in split.values():
        train = [folder for folder, name in split.items() if name == "train"]
        held = max(1, round(len(train) / 5)) if len(train) > 1 else 0
        split |= dict.fromkeys(train[len(train) - held :], "valid")
    return [(m, split[m.song.folder]) for m in songs]
