"""What a folder knows about its own preparation: what is done, and from what.

``.prepare/`` in the folder holds the digest of the collection, the record of every
recording that is done, and songs that have no split yet. A record counts as long as
nothing of its recording has changed.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_pipelines.canonical import atomic_file
from data_pipelines.collection import Collection, Recording, to_tree
from data_pipelines.manifest import SPLITS, DataError

VERSION = 1  # of what is written; another one is prepared anew


class State:
    """The hidden half of a prepared folder."""

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
            except OSError as error:
                raise DataError(
                    f"{self.folder} is being prepared by another process"
                ) from error
            self._own(collection)
            yield

    def _own(self, collection: Collection) -> None:
        file, mine = self.hidden / "collection", collection.digest()
        there = [split for split in SPLITS if (self.folder / split).exists()]
        if file.exists():
            if file.read_text() != mine:
                raise DataError(
                    f"{self.folder} was prepared from another collection, or by other "
                    "rules: name another folder, or delete this one first"
                )
        elif there:
            raise DataError(
                f"{self.folder} holds {', '.join(there)} of something else: name "
                "another folder"
            )
        with atomic_file(file) as new:
            new.write(mine.encode())

    def load(self, key: str, recording: Recording) -> list[dict[str, Any]] | None:
        """The songs of a recording, if it is done and has not changed since."""
        try:
            found = json.loads(self._record(recording).read_text())
        except (OSError, json.JSONDecodeError):
            return None
        return found["songs"] if found["key"] == key else None

    def save(self, key: str, recording: Recording, songs: list[dict[str, Any]]) -> None:
        """Say that a recording is done; its songs have been written."""
        text = json.dumps({"key": key, "songs": songs}, ensure_ascii=False)
        with atomic_file(self._record(recording)) as file:
            file.write(text.encode())

    def _record(self, recording: Recording) -> Path:
        # Whatever an id consists of, its hash is the name of a file.
        name = hashlib.sha256(recording.id.encode()).hexdigest()[:32]
        return self.records / f"{name}.json"

    def find(self, song: dict[str, Any]) -> Path | None:
        """Where the audio of a song lies, complete."""
        places = [self.songs, *(self.folder / split for split in SPLITS)]
        for place in (place / song["song"] for place in places):
            sizes = {name: file["bytes"] for name, file in song["files"].items()}
            if all(_size(place / f"{name}.wav") == n for name, n in sizes.items()):
                return place
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def recording_key(collection: Collection, recording: Recording) -> str:
    """Changes when anything does that a recording's songs depend on."""
    rules = [
        *(VERSION, to_tree(collection.mix), to_tree(collection.output)),
        *(collection.classes, collection.filters.active_dbfs, to_tree(recording)),
        [collection.class_of(part.label) for part in recording.tracks],
    ]
    files = []
    for part in (*recording.tracks, *filter(None, [recording.mixture])):
        with contextlib.suppress(OSError):
            status = os.stat(collection.path(part))
            files.append((status.st_size, status.st_mtime_ns))
    text = json.dumps([rules, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
