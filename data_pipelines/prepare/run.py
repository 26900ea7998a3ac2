"""A whole collection: what is left to do, by several workers, then the splits."""

import errno
import json
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.canonical import atomic_file
from data_pipelines.collection import Collection, Recording, to_tree
from data_pipelines.collection_rules import check_collection
from data_pipelines.manifest import SPLITS, DataError
from data_pipelines.prepare.recording import (
    prepare_recording,
    sample_bytes,
    song_names,
)
from data_pipelines.prepare.selection import (
    FAILED,
    excluded,
    order,
    select,
    unread,
)
from data_pipelines.prepare.state import State, recording_key
from data_pipelines.prepare.tracks import expected_frames, read_headers, song_channels
from data_pipelines.prepared import PREPARED

FULL = (errno.ENOSPC, errno.EDQUOT)


class Prepared(NamedTuple):
    """What became of a collection."""

    folder: Path
    header: dict[str, Any]
    songs: list[dict[str, Any]]  # as in prepared.jsonl
    done: int  # recordings that were read now; the others had been before

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The songs that could not be made, each with its reason."""
        return [song for song in self.songs if song["split"] == FAILED]


class _Result(NamedTuple):
    recording: Recording
    songs: list[dict[str, Any]]
    error: str


def prepare(
    collection: Collection,
    folder: str | Path,
    *,
    jobs: int = 1,
    progress: bool = False,
) -> Prepared:
    """Make the songs of a collection: ``folder/<split>/<song>/<class>.wav``.

    The same collection gives the same bytes, whatever the number of workers and
    however often it was interrupted: what is done is not done again. A recording with
    a broken file is left out, with a reason, and tried again the next time.

    Args:
        collection: as :func:`data_pipelines.collection_file.read_collection` reads it.
        folder: new, or of the same collection.
        jobs: processes.
        progress: show a bar with the expected time on stderr.

    Raises:
        DataError: the collection contradicts itself, the folder belongs to something
            else, or the disk is too small.
    """
    collection, state = check_collection(collection), State(Path(folder))
    _check_names(collection)
    with state.claimed(collection):
        wanted = _wanted(collection)
        records, todo = _look(collection, state, wanted)
        done = len(todo)
        failed = _work(collection, state, todo, records, jobs, progress)
        songs = _finish(collection, state, records, failed)
        if lost := _lost(collection, state, songs):
            # Dropped earlier and deleted, wanted now that others have failed or come.
            done += len(lost)
            failed |= _work(collection, state, lost, records, jobs, progress)
            songs = _finish(collection, state, records, failed)
        return Prepared(Path(folder), _write(collection, state, songs), songs, done)


def _check_names(collection: Collection) -> None:
    seen: dict[str, str] = {}
    problems = []
    for recording in collection.recordings:
        for name in song_names(recording):
            if (
                first := seen.setdefault(name.casefold(), recording.id)
            ) != recording.id:
                problems.append(f"'{recording.id}' and '{first}' both become '{name}'")
    if problems:
        raise DataError.of(f"collection '{collection.name}'", problems)


def _wanted(collection: Collection) -> list[Recording]:
    recordings = sorted(collection.recordings, key=lambda one: one.id)
    return [one for one in recordings if not excluded(collection, one)]


def _look(
    collection: Collection, state: State, wanted: Sequence[Recording]
) -> tuple[dict[str, list], list[Recording]]:
    """Records of what is done, and what is not."""
    records, todo = {}, []
    for recording in wanted:
        found = state.load(recording_key(collection, recording), recording)
        if found is None:
            todo.append(recording)
        else:
            records[recording.id] = found
    return records, todo


def _lost(
    collection: Collection, state: State, songs: Sequence[dict[str, Any]]
) -> list[Recording]:
    missing = {
        song["recording"]
        for song in songs
        if song["split"] in SPLITS and state.find(song) is None
    }
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

    failed: dict[str, str] = {}
    _check_space(collection, todo, state.folder)
    results = _results(collection, state, todo, jobs)
    bar = tqdm(results, "preparing", len(todo), unit="recording", disable=not progress)
    for result in bar:
        if result.error:
            failed[result.recording.id] = result.error
            if progress:
                bar.write(f"sepjax: {result.error}", file=sys.stderr)
        else:
            records[result.recording.id] = result.songs
    return failed


def _check_space(
    collection: Collection, todo: Sequence[Recording], folder: Path
) -> None:
    """Look at all headers before anything is decoded.

    Raises:
        DataError: the disk is too small for what is to be written.
    """
    size = 0
    for recording in todo:
        try:
            headers = read_headers(collection, recording)
        except DataError:
            continue  # told when its turn comes
        frames = expected_frames(headers, collection.output.rate)
        labels = {collection.class_of(part.label) for part in recording.tracks}
        samples = frames * song_channels(collection, headers) * (len(labels) + 1)
        size += samples * sample_bytes(collection)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"{folder}: the songs take up to {size / 1e9:.2f} GB, only "
            f"{free / 1e9:.2f} GB are free: free some space or name another disk"
        )


def _results(
    collection: Collection, state: State, todo: Sequence[Recording], jobs: int
) -> Iterator[_Result]:
    if jobs <= 1 or len(todo) <= 1:
        yield from (_one(collection, state, recording) for recording in todo)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_quiet)
    bare = collection.__class__(**{**vars(collection), "recordings": ()})
    try:
        futures = [pool.submit(_one, bare, state, recording) for recording in todo]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            f"{state.folder}: a worker died (out of memory?); what is done is kept: "
            "give the same command again, perhaps with fewer jobs"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _quiet() -> None:
    # Ctrl-C ends the command, which lets each worker finish what it has begun.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _one(collection: Collection, state: State, recording: Recording) -> _Result:
    """Prepare a recording and remember that it is done."""
    key = recording_key(collection, recording)
    try:
        songs = prepare_recording(collection, recording, state.songs)
    except OSError as error:
        if error.errno in FULL:
            raise DataError(
                f"{state.folder}: the disk is full; what is done is kept: free some "
                "space and give the same command again"
            ) from error
        return _Result(recording, [], f"{recording.id}: {error}")
    except (DataError, ValueError, MemoryError) as error:
        text = str(error) or type(error).__name__
        return _Result(recording, [], text)
    state.save(key, recording, songs)
    return _Result(recording, songs, "")


def _finish(
    collection: Collection,
    state: State,
    records: dict[str, list],
    failed: dict[str, str],
) -> list[dict[str, Any]]:
    """Choose splits and move every song to where it belongs."""
    known, broken = [], []
    for recording in sorted(collection.recordings, key=lambda one: one.id):
        if reason := excluded(collection, recording):
            known += unread(recording, reason)
        elif recording.id in failed:
            broken += unread(recording, failed[recording.id])
        else:
            known += records[recording.id]
    songs = select(collection, known) + [song | {"split": FAILED} for song in broken]
    for song in songs:
        place = state.find(song) if song["files"] else None
        if place is None:
            continue
        if song["split"] not in SPLITS:
            shutil.rmtree(place)
        elif place.parent.name != song["split"] or place.parent == state.songs:
            target = state.folder / song["split"] / song["song"]
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            place.rename(target)
    return sorted(songs, key=order)


def _write(
    collection: Collection, state: State, songs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """``prepared.jsonl``: what was made of what, and where it is."""
    out = collection.output
    splits = [song["split"] for song in songs]
    header = {
        "kind": "collection",
        "name": collection.name,
        "version": collection.version,
        "classes": list(collection.classes),
        "rate": out.rate,
        "subtype": out.subtype,
        "mix": vars(collection.mix),
        "filters": to_tree(collection.filters),
        "splits": to_tree(collection.splits),
        "collection_sha256": collection.digest(),
        "counts": {name: splits.count(name) for name in dict.fromkeys(splits)},
    }
    lines = [header, *({"kind": "song"} | song for song in songs)]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    with atomic_file(state.folder / PREPARED) as file:
        file.write(f"{text}\n".encode())
    return header
