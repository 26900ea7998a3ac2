"""A whole collection: what is left to do, by several workers, then the splits."""

import contextlib
import dataclasses
import errno
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.collections.collection import (
    Collection,
    Recording,
    song_names,
    to_tree,
)
from data_pipelines.collections.rules import check_collection
from data_pipelines.manifest import SPLITS, DataError
from data_pipelines.prepare.choice import chosen
from data_pipelines.prepare.recording import blank_records, prepare_recording
from data_pipelines.prepare.selection import FAILED, excluded, order, select
from data_pipelines.prepare.state import State, recording_key
from data_pipelines.prepare.tracks import bytes_needed
from data_pipelines.songs.prepared import PREPARED
from data_pipelines.workers import end_with_parent, reason, run_jobs
from sepjax.storage import move, write_atomically

FULL = (errno.ENOSPC, errno.EDQUOT)


class Prepared(NamedTuple):
    """The songs made from a collection."""

    folder: Path
    header: dict[str, Any]
    songs: list[dict[str, Any]]  # as in prepared.jsonl
    done: int  # recordings that were read now
    kept: int = 0  # recordings that had been before, and have not changed since
    removed: int = 0  # songs that had been, and are no more in the collection

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The songs that could not be made, each with its reason."""
        return [song for song in self.songs if song["split"] == FAILED]


def prepare(
    collection: Collection,
    folder: str | Path,
    *,
    jobs: int = 1,
    progress: bool = False,
) -> Prepared:
    """Make the songs of a collection: ``folder/<split>/<song>/<class>.wav``.

    The same collection gives the same bytes, whatever the number of workers and
    however often it was interrupted: finished songs are not redone. A recording with
    a broken file is left out, with a reason, and tried again the next time.

    Args:
        collection: as :func:`data_pipelines.collections.file.read_collection` reads it.
        folder: new, or of the same classes, mixing and format. Recordings that are new
            or have changed are read, the others kept; songs that were made there of
            recordings that the collection lacks are deleted.
        jobs: processes.
        progress: show a bar with the expected time on stderr.

    Raises:
        DataError: the collection contradicts itself, the folder belongs to something
            else, or the disk is too small.
    """
    collection, state = chosen(check_collection(collection)), State(Path(folder))
    with state.claimed(collection) as gone:
        records: dict[str, list] = {}
        failed: dict[str, str] = {}
        todo, read = [], set()
        for recording in sorted(collection.recordings, key=lambda one: one.id):
            if not excluded(collection, recording):
                songs = state.load(recording_key(collection, recording), recording)
                if songs is None:
                    todo.append(recording)
                else:
                    records[recording.id] = songs
        while True:
            read |= {recording.id for recording in todo}
            failed |= _work(collection, state, todo, records, jobs, progress)
            songs = _finish(collection, state, records, failed)
            # Dropped earlier and deleted, wanted now that others have failed or come.
            if not (todo := _lost(collection, state, songs)):
                break
        counts = len(read), len(records.keys() - read), len(gone)
        header = _write(collection, state, songs)
    return Prepared(Path(folder), header, songs, *counts)


def _lost(
    collection: Collection, state: State, songs: Sequence[dict[str, Any]]
) -> list[Recording]:
    kept = (song for song in songs if song["split"] in SPLITS)
    missing = {song["recording"] for song in kept if state.find(song) is None}
    return [one for one in collection.recordings if one.id in missing]


def _work(
    collection: Collection,
    state: State,
    todo: Sequence[Recording],
    records: dict[str, list],
    jobs: int,
    progress: bool,
) -> dict[str, str]:
    """Prepare recordings; their records are added, the errors of others returned."""
    from tqdm import tqdm

    _check_space(collection, todo, state.folder)
    bare = dataclasses.replace(collection, recordings=())
    work = [(bare, state, recording) for recording in todo]
    failed: dict[str, str] = {}
    outcomes = run_jobs(
        *(_one, work, "preparing"),
        workers=jobs,
        unit="recording",
        expected=(),
        progress=progress,
        start=end_with_parent,
    )
    try:
        for index, (songs, error), _ in outcomes:
            if not error:
                records[todo[index].id] = songs
                continue
            failed[todo[index].id] = error
            if progress:
                tqdm.write(f"sepjax: {error}", file=sys.stderr)
    except BrokenProcessPool as error:
        raise DataError(
            f"{state.folder}: a worker died: out of memory, or started by a script "
            "without `if __name__ == '__main__':`. What is done is kept: give the same "
            "command again, perhaps with fewer jobs"
        ) from error
    return failed


def _check_space(
    collection: Collection, todo: Sequence[Recording], folder: Path
) -> None:
    """Look at all headers before anything is decoded: is the disk large enough?"""
    sizes: dict[str, int] = {}
    for recording in todo:
        # What is wrong with it is told when its turn comes.
        with contextlib.suppress(DataError, ValueError):
            sizes[recording.id] = bytes_needed(collection, recording)
    free = shutil.disk_usage(folder).free
    if (total := sum(sizes.values())) > free:
        most = max(sizes, key=sizes.__getitem__)
        raise DataError(
            f"{folder}: the songs take up to {total / 1e9:.2f} GB, only "
            f"{free / 1e9:.2f} GB are free: free some space or name another disk "
            f"('{most}' alone takes {sizes[most] / 1e9:.2f} GB)"
        )


def _one(
    collection: Collection, state: State, recording: Recording
) -> tuple[list[dict[str, Any]], str]:
    """Prepare a recording and remember that it is done; its songs, or its error."""
    try:
        key = recording_key(collection, recording)
        for name in song_names(recording):
            state.remove(name)
        songs = prepare_recording(collection, recording, state.songs)
        state.save(key, recording, songs)
    except Exception as error:  # of one recording; the others can be made
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in FULL:
            raise DataError(
                f"{state.folder}: the disk is full; what is done is kept: free some "
                "space and give the same command again"
            ) from error
        text = reason(error)
        if not isinstance(error, DataError):
            text = f"recording '{recording.id}': {type(error).__name__}: {text}"
        return [], text
    return songs, ""


def _finish(
    collection: Collection,
    state: State,
    records: dict[str, list],
    failed: dict[str, str],
) -> list[dict[str, Any]]:
    """Choose splits and move every song to where it belongs."""
    known = []
    for recording in sorted(collection.recordings, key=lambda one: one.id):
        if text := excluded(collection, recording) or failed.get(recording.id):
            rest = {"files": {}, "reason": text, "failed": recording.id in failed}
            known += [song | rest for song in blank_records(recording)]
        else:
            known += records[recording.id]
    songs = select(collection, known)
    for song in songs:
        place = state.find(song) if song["split"] in SPLITS else None
        state.remove(song["song"], but=place)
        target = state.folder / song["split"] / song["song"]
        if place is not None and place != target:
            move(place, target)
    return sorted(songs, key=order)


def _write(
    collection: Collection, state: State, songs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """``prepared.jsonl``: what was made of what, and where it is."""
    header = {
        "kind": "collection",
        "name": collection.name,
        "version": collection.version,
        "classes": list(collection.classes),
        "rate": collection.output.rate,
        "subtype": collection.output.subtype,
        "mix": vars(collection.mix),
        "filters": to_tree(collection.filters),
        "splits": to_tree(collection.splits),
        "collection_sha256": collection.digest(),
        "counts": dict(Counter(song["split"] for song in songs)),
    }
    lines = [header, *({"kind": "song"} | song for song in songs)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_atomically(state.folder / PREPARED, text)
    return header
