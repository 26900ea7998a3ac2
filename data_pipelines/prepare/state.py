"""The state of a prepared folder: which recordings are done, and from which files."""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_pipelines.collections.collection import (
    Collection,
    Filters,
    Recording,
    SplitRules,
    to_tree,
)
from data_pipelines.manifest import SPLITS, DataError
from sepjax.storage import text_sha256, write_atomically, write_json

VERSION = 1  # of what is written; another one is prepared anew


class State:
    """The hidden half of a prepared folder, ``.prepare/``.

    It holds the digest of the collection, the record of every recording that is done
    and has not changed since, and songs that have no split yet.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.hidden = folder / ".prepare"
        self.songs = self.hidden / "songs"  # without a split yet
        self.records = self.hidden / "records"

    @contextlib.contextmanager
    def claimed(self, collection: Collection) -> Iterator[None]:
        """Open the folder for one collection and one process.

        Raises:
            DataError: it belongs to another collection, or is being written.
        """
        self._refuse_others(collection)
        try:
            for each in (self.songs, self.records):
                each.mkdir(parents=True, exist_ok=True)
            lock = open(self.hidden / "lock", "w")
        except OSError as error:
            raise DataError(
                f"cannot write to {self.folder} ({error.strerror}): name another folder"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"{self.folder} is being prepared by another process"
                ) from error
            except OSError:
                pass  # a file system without locks
            write_atomically(self.hidden / "collection", owner(collection))
            yield

    def _refuse_others(self, collection: Collection) -> None:
        file = self.hidden / "collection"
        there = [split for split in SPLITS if (self.folder / split).exists()]
        if there and not file.exists():
            raise DataError(
                f"{self.folder} holds {', '.join(there)} of something else: name "
                "another folder"
            )
        if file.exists() and file.read_text() != owner(collection):
            raise DataError(
                f"{self.folder} was made of other recordings, classes, mixing "
                "or format: name another folder, or delete this one first"
            )

    def load(self, key: str, recording: Recording) -> list[dict[str, Any]] | None:
        """Load the songs of a recording, if it is done and has not changed since."""
        try:
            record = json.loads(self._record(recording).read_text())
            return record["songs"] if record["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, key: str, recording: Recording, songs: list[dict[str, Any]]) -> None:
        """Record that a recording is done; its songs have been written."""
        write_json(self._record(recording), {"key": key, "songs": songs}, indent=None)

    def _record(self, recording: Recording) -> Path:
        # Whatever an id consists of, its hash is the name of a file.
        return self.records / f"{text_sha256(recording.id)[:32]}.json"

    def places(self, name: str) -> list[Path]:
        """Return the folders in which a song of this name may lie."""
        return [self.songs / name, *(self.folder / split / name for split in SPLITS)]

    def find(self, song: dict[str, Any]) -> Path | None:
        """Find the folder of a song, if its audio is complete."""
        sizes = {name: file["bytes"] for name, file in song["files"].items()}
        for place in self.places(song["song"]) if sizes else ():
            if all(_size(place / f"{name}.wav") == n for name, n in sizes.items()):
                return place
        return None

    def remove(self, name: str, but: Path | None = None) -> None:
        """Delete a song in all places but one, so that no old copy stays."""
        for place in self.places(name):
            if place != but:
                shutil.rmtree(place, ignore_errors=True)


def owner(collection: Collection) -> str:
    """Hash the owner of a folder: filters and splits may change, songs stay."""
    marks = Filters(active_dbfs=collection.filters.active_dbfs)
    return dataclasses.replace(collection, splits=SplitRules(), filters=marks).digest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def recording_key(collection: Collection, recording: Recording) -> str:
    """Hash everything that a recording's songs depend on."""
    labels = [collection.class_of(part.label) for part in recording.tracks]
    mix, output = to_tree(collection.mix), to_tree(collection.output)
    level = collection.filters.active_dbfs
    facts = to_tree(recording), labels
    rules = [VERSION, mix, output, collection.classes, level, *facts]
    files = []
    for part in (*recording.tracks, *filter(None, [recording.mixture])):
        with contextlib.suppress(OSError):
            status = os.stat(collection.path(part))
            files.append((status.st_size, status.st_mtime_ns))
    return text_sha256(json.dumps([rules, files], sort_keys=True))
