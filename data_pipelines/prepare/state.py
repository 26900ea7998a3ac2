"""The state of a prepared folder: which recordings are done, and from which files."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.collections.collection import (
    Collection,
    Recording,
    song_names,
    to_tree,
)
from data_pipelines.collections.rules import UNFIT
from data_pipelines.manifest import SPLITS, DataError
from data_pipelines.prepare.recording import blank_records
from data_pipelines.songs.layouts import name_key
from sepjax.storage import locked, read_json, text_sha256, write_json

VERSION = 2  # of what is written; another one is prepared anew


class State:
    """The hidden half of a prepared folder, ``.prepare/``.

    It holds the rules that all songs were made by and the songs' names, the record of
    every recording that is done and has not changed since, and songs that have no
    split yet.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.hidden = folder / ".prepare"
        self.songs = self.hidden / "songs"  # without a split yet
        self.records = self.hidden / "records"
        self.owner = self.hidden / "collection"

    @contextlib.contextmanager
    def claimed(self, collection: Collection) -> Iterator[list[str]]:
        """Open the folder for one collection and one process.

        Yields:
            Names of songs that are there, and that the collection lacks; they are
            deleted at the end, if nothing failed.

        Raises:
            DataError: it belongs to another collection, or is being written.
        """
        before, current = self._songs_before(collection), _all_names(collection)
        known = set(map(name_key, current))
        gone = [name for name in before if name_key(name) not in known]
        if 2 * len(gone) > len(before):
            few = f"{len(gone)} of its {len(before)} songs are gone: {_some(gone)}"
            raise self._foreign(few)
        rules = rules_of(collection)
        with contextlib.ExitStack() as stack:
            try:
                lock = locked(self.hidden, f"process {os.getpid()}", "wait for its end")
                stack.enter_context(lock)
                for each in (self.songs, self.records):
                    each.mkdir(parents=True, exist_ok=True)
                # Until old songs are deleted, their names are known.
                write_json(self.owner, {"rules": rules, "songs": [*current, *gone]})
            except BlockingIOError as error:
                raise DataError(str(error)) from error
            except OSError as error:
                text = f"cannot write to {self.folder} ({error.strerror})"
                raise DataError(f"{text}: name another folder") from error
            yield [name for name in gone if any(map(Path.exists, self.places(name)))]
            for name in gone:
                self.remove(name)
            write_json(self.owner, {"rules": rules, "songs": current})

    def _songs_before(self, collection: Collection) -> list[str]:
        """Names of all songs that were made by the same rules before."""
        there = [split for split in SPLITS if (self.folder / split).exists()]
        if there and not self.owner.exists():
            raise DataError(
                f"{self.folder} holds {', '.join(there)} of something else: name "
                "another folder"
            )
        if not self.owner.exists():
            return []
        try:
            tree = read_json(self.owner, dict)
            rules, names = dict(tree["rules"]), list(map(str, tree["songs"]))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise self._foreign(f"{self.owner} does not tell") from error
        changes = [
            f"{name}: {rules.get(name)}, now {value}"
            for name, value in rules_of(collection).items()
            if rules.get(name) != value
        ]
        if changes:
            raise self._foreign("; ".join(changes))
        return [name for name in names if not UNFIT.search(name)]

    def _foreign(self, what: str) -> DataError:
        return DataError(
            f"{self.folder} was made of other recordings, classes, mixing or format, "
            f"or by an older sepjax ({what}): name another folder, or delete this one "
            "first"
        )

    def load(self, key: str, recording: Recording) -> list[dict[str, Any]] | None:
        """Load the songs of a recording, if it is done and has not changed since.

        Group, split and tags are those of today.
        """
        try:
            record = read_json(self._record(recording), dict)
            songs, blanks = record["songs"], blank_records(recording)
            names, same = [song["song"] for song in songs], record["key"] == key
        except (OSError, ValueError, LookupError, TypeError):
            return None
        if not same or names != [blank["song"] for blank in blanks]:
            return None
        return [song | blank for song, blank in zip(songs, blanks)]

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


def rules_of(collection: Collection) -> dict[str, Any]:
    """Return what all songs of a folder share; recordings and filters may change."""
    mix, output = vars(collection.mix), vars(collection.output)
    rules = {f"mix.{name}": value for name, value in mix.items()}
    rules |= {f"output.{name}": value for name, value in output.items()}
    return {"classes": list(collection.classes)} | rules


def _all_names(collection: Collection) -> list[str]:
    return [name for one in collection.recordings for name in song_names(one)]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def recording_key(collection: Collection, recording: Recording) -> str:
    """Hash everything that a recording's songs depend on."""
    labels = [collection.class_of(part.label) for part in recording.tracks]
    facts = [recording.tracks, recording.mixture, recording.intervals]
    level, rate = collection.filters.active_dbfs, recording.sample_rate
    rules = [VERSION, rules_of(collection), level, rate, labels, to_tree(facts)]
    files = []
    for part in (*recording.tracks, *filter(None, [recording.mixture])):
        with contextlib.suppress(OSError):
            status = os.stat(collection.path(part))
            files.append((status.st_size, status.st_mtime_ns))
    return text_sha256(json.dumps([rules, files], sort_keys=True))
