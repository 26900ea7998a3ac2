"""The index of a dataset: which file, from which frame, is which stem of which track.

Feeders and evaluation read nothing else about a dataset.
"""

import dataclasses
import functools
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sepjax.storage import finite, sha256, text_sha256

SPLITS = ("train", "valid", "test")


class DataError(ValueError):
    """A dataset cannot be used; the message lists every problem."""

    @classmethod
    def of(cls, what: str, problems: Iterable[str], limit: int = 30) -> "DataError":
        """Make one error of many problems; the message lists the first ``limit``."""
        problems = list(problems)
        more = len(problems) - limit
        lines = problems[:limit] + ([f"... and {more} more"] if more > 0 else [])
        count = f"{len(problems)} problem" + "s" * (len(problems) != 1)
        return cls(f"{what}: {count}\n  " + "\n  ".join(lines))


@dataclass(frozen=True)
class AudioFile:
    """A file of audio, ``frames`` samples per channel."""

    path: str  # relative to Manifest.root, or absolute
    frames: int
    channels: int
    sample_rate: int  # Hz
    data_offset: int = -1  # byte of the first frame of a 16-bit PCM WAV; -1: decode it
    digest: str = ""  # SHA-256 of the file's bytes; empty: hashed when needed


@dataclass(frozen=True)
class Stem:
    """A track's excerpt of a file, ``gains[channel]`` times its samples."""

    file: int  # index into Manifest.files
    start: int = 0  # frame of the file where the track's frame 0 lies
    loop: bool = False  # the file repeats endlessly
    gains: tuple[float, ...] = (1.0,)  # one per channel of the track; (1.0,) broadcasts


@dataclass(frozen=True)
class Track:
    """A song: its stems, cut at ``frames``; beyond the end of a file is silence."""

    name: str
    split: str  # train | valid | test
    group: str  # what must not be shared by two splits: artist, album, session
    frames: int
    stems: Mapping[str, Stem]  # an absent class is silence
    mixture: Stem | None = None  # the distributed mixture, where there is one
    mixture_error: float = -math.inf  # dB: energy of mixture - sum over mixture


class LoadedTrack(NamedTuple):
    """A whole song in memory; ``references`` follow ``classes``."""

    name: str
    sample_rate: int
    classes: tuple[str, ...]
    mixture: np.ndarray  # (time, channels) float32
    references: np.ndarray  # (sources, time, channels) float32
    clean: np.ndarray | None = None  # of live music: what was played, as references


@dataclass(frozen=True)
class Manifest:
    """A dataset: files, and the tracks cut from them.

    Frames of a track and of its stems count at the rate of the track's files;
    ``sample_rate`` is the rate of all files once they are canonical
    (:mod:`data_pipelines.audio.canonical`), and their highest before.
    """

    name: str
    root: str
    sample_rate: int
    channels: int  # of a track: every file and every gains tuple has this many, or 1
    classes: tuple[str, ...]
    files: tuple[AudioFile, ...]
    tracks: tuple[Track, ...]

    def path(self, file: AudioFile) -> str:
        """Return the path of a file on this machine."""
        return os.path.join(self.root, file.path)

    def file_digest(self, file: AudioFile) -> str:
        """Return the SHA-256 of the file's bytes."""
        return file.digest or hash_file(self.path(file))

    @property
    def file_channels(self) -> int:
        """Channels of a chunk: those of the widest file; mono files broadcast."""
        return max((file.channels for file in self.files), default=1)

    def split(self, name: str) -> tuple[Track, ...]:
        """Return the tracks of a split, in order.

        Raises:
            DataError: the split is empty.
        """
        tracks = tuple(track for track in self.tracks if track.split == name)
        if not tracks:
            counts = Counter(track.split for track in self.tracks)
            held = ", ".join(f"{split} {counts[split]}" for split in SPLITS)
            raise DataError(
                f"dataset '{self.name}' ({self.root or 'embedded'}) has no track in"
                f" split '{name}'; tracks there: {held}"
            )
        return tracks

    def with_songs(self, count: int) -> "Manifest":
        """Keep only the first ``count`` tracks of the training split."""
        kept = {track.name for track in self.split("train")[:count]}
        tracks = (t for t in self.tracks if t.split != "train" or t.name in kept)
        return dataclasses.replace(self, tracks=tuple(tracks))

    def with_whole_songs(self) -> "Manifest":
        """Keep only tracks that have all classes; those of the test split all stay.

        Raises:
            DataError: none is left to train on.
        """
        whole = {t.name for t in self.tracks if len(t.stems) == len(self.classes)}
        kept = [t for t in self.tracks if t.split == "test" or t.name in whole]
        if "train" in {t.split for t in self.tracks} - {t.split for t in kept}:
            raise DataError(
                f"data.missing=skip: no song of train in dataset '{self.name}' has all "
                f"of {', '.join(self.classes)}: silence takes them all, or choose fewer"
            )
        return dataclasses.replace(self, tracks=tuple(kept))

    def digest(self) -> str:
        """SHA-256 of tracks, stems and the bytes of every file, wherever it lies."""
        files = [
            (file.frames, file.channels, file.sample_rate, self.file_digest(file))
            for file in self.files
        ]
        tree = _to_tree(self) | {"root": "", "files": files}
        return text_sha256(json.dumps(tree, sort_keys=True))

    def to_json(self) -> str:
        """Write the text that :meth:`from_json` reads."""
        return json.dumps(_to_tree(self))

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read a manifest.

        Example:
            >>> empty = Manifest("none", "", 8000, 1, ("vocals",), (), ())
            >>> Manifest.from_json(empty.to_json()) == empty
            True
        """
        tree = json.loads(text)
        tree["classes"] = tuple(tree["classes"])
        tree["files"] = tuple(AudioFile(*values) for values in tree["files"])
        tree["tracks"] = tuple(_track(values) for values in tree["tracks"])
        return cls(**tree)


def _to_tree(manifest: Manifest) -> dict[str, Any]:
    def row(entry: AudioFile | Stem) -> list[Any]:
        return list(vars(entry).values())

    tracks = [
        vars(track)
        | {
            "stems": {name: row(stem) for name, stem in track.stems.items()},
            "mixture": track.mixture and row(track.mixture),
            "mixture_error": finite(track.mixture_error),  # null: an exact sum
        }
        for track in manifest.tracks
    ]
    return vars(manifest) | {"files": list(map(row, manifest.files)), "tracks": tracks}


def _track(tree: dict[str, Any]) -> Track:
    def stem(file: int, start: int, loop: bool, gains: list[float]) -> Stem:
        return Stem(file, start, loop, tuple(gains))

    tree["stems"] = {name: stem(*values) for name, values in tree["stems"].items()}
    tree["mixture"] = tree["mixture"] and stem(*tree["mixture"])
    if tree["mixture_error"] is None:
        tree["mixture_error"] = -math.inf
    return Track(**tree)


def check(manifest: Manifest) -> Manifest:
    """Return the manifest itself, if it is sound.

    Raises:
        DataError: everything that contradicts itself, or a missing file.
    """
    if problems := list(_problems(manifest)):
        raise DataError.of(f"dataset '{manifest.name}'", problems)
    return manifest


def _problems(manifest: Manifest) -> Iterator[str]:
    for file in manifest.files:
        path = manifest.path(file)
        if not Path(path).is_file():
            yield f"{path}: no such file"
        if file.channels not in (1, manifest.channels):
            yield (
                f"{path}: {file.channels} channels in a dataset of"
                f" {manifest.channels}; only mono files may be mixed with others"
            )
    for name, count in Counter(track.name for track in manifest.tracks).items():
        if count > 1:
            yield f"more than one track is called '{name}'"
    for track in manifest.tracks:
        for problem in _track_problems(manifest, track):
            yield f"track '{track.name}': {problem}"


def _track_problems(manifest: Manifest, track: Track) -> Iterator[str]:
    if track.split not in SPLITS:
        yield f"split '{track.split}' must be one of {', '.join(SPLITS)}"
    if track.frames <= 0:
        yield f"{track.frames} frames"
    for name, stem in [*track.stems.items(), ("mixture", track.mixture)]:
        if stem is None:
            continue
        if name != "mixture" and name not in manifest.classes:
            yield f"class '{name}' is not one of {', '.join(manifest.classes)}"
        if not 0 <= stem.file < len(manifest.files):
            yield f"stem '{name}' points to file {stem.file} of {len(manifest.files)}"
        if stem.start < 0:
            yield f"stem '{name}' starts at frame {stem.start}"
        if len(stem.gains) not in (1, manifest.channels):
            yield f"stem '{name}' has {len(stem.gains)} gains, not {manifest.channels}"


def file_version(path: str | Path) -> tuple[int, int, int]:
    """Return size and times of a file, which stay the same while nobody writes to it.

    Among them the time of the last change of any kind, which no program can set: a copy
    that keeps the date, or a clock that was set back, does not hide another content.
    The file behind a link counts, unless the link leads nowhere.
    """
    status = os.stat(path) if os.path.exists(path) else os.lstat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def hash_file(path: str) -> str:
    """Hash a file's bytes (SHA-256), once for each :func:`file_version`."""
    return _hash_file(path, *file_version(path))


@functools.lru_cache(maxsize=65536)
def _hash_file(path: str, *version: int) -> str:
    return sha256(path)
