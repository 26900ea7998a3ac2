"""Preparation that is interrupted, fails in part, or is done again."""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_pipelines.collections.collection import (
    Filters,
    Interval,
    MixRules,
    Recording,
)
from data_pipelines.collections.file import write_collection
from data_pipelines.manifest import DataError
from data_pipelines.prepare import prepare, recording, run
from tests.support.recordings import tree, write


def test_any_number_of_workers_writes_the_same_bytes(songs, tmp_path):
    prepare(songs, tmp_path / "one")
    prepare(songs, tmp_path / "two", jobs=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_an_interrupted_preparation_goes_on_and_ends_the_same(
    songs, tmp_path, monkeypatch
):
    prepare(songs, tmp_path / "whole")
    calls = []

    def stop_at_the_fourth(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return recording.prepare_recording(*arguments)

    monkeypatch.setattr(run, "prepare_recording", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        prepare(songs, tmp_path / "out")
    monkeypatch.undo()
    assert not (tmp_path / "out" / "prepared.jsonl").exists()
    assert prepare(songs, tmp_path / "out").done == 5
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert prepare(songs, tmp_path / "out").done == 0


def test_a_song_that_is_gone_is_made_again(songs, tmp_path):
    made = prepare(songs, tmp_path / "out")
    before = tree(tmp_path / "out")
    lost = made.songs[2]
    shutil.rmtree(tmp_path / "out" / lost["split"] / lost["song"])
    assert prepare(songs, tmp_path / "out").done == 1
    assert tree(tmp_path / "out") == before


def test_a_broken_file_costs_its_song_until_it_is_mended(songs, tmp_path):
    whole = prepare(songs, tmp_path / "whole")
    broken = songs.path(songs.recordings[5].tracks[1])
    kept = broken.read_bytes()
    broken.write_bytes(kept[:100])
    made = prepare(songs, tmp_path / "out", jobs=2)
    assert [song["song"] for song in made.failed] == ["song5"]
    assert broken.name in made.failed[0]["reason"]
    assert len(made.songs) == 8
    broken.write_bytes(kept)
    assert prepare(songs, tmp_path / "out").done == 1
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert not whole.failed


def test_a_changed_file_is_read_again(songs, tmp_path, noise):
    made = prepare(songs, tmp_path / "out")
    write(tmp_path / "raw", "drum-a-3.wav", noise(99, 950))
    again = prepare(songs, tmp_path / "out")
    assert again.done == 1
    changed = [a != b for a, b in zip(made.songs, again.songs)]
    assert sum(changed) == 1


def test_a_folder_belongs_to_one_collection(songs, tmp_path):
    prepare(songs, tmp_path / "out")
    other = dataclasses.replace(songs, mix=MixRules("summing"))
    with pytest.raises(DataError, match="other recordings, classes, mixing"):
        prepare(other, tmp_path / "out")
    (tmp_path / "mine" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="something else"):
        prepare(songs, tmp_path / "mine")


def renamed(songs, number, **fields):
    """The collection with other fields of one recording."""
    recordings = list(songs.recordings)
    recordings[number] = dataclasses.replace(recordings[number], **fields)
    return dataclasses.replace(songs, recordings=tuple(recordings))


def figures(made):
    return made.done, made.kept, made.removed


def test_what_changed_is_taken_up_and_the_rest_kept(songs, tmp_path, noise):
    """A corrected path, a song more, one less, another name, other tags."""
    out, parts = tmp_path / "out", songs.recordings[3].tracks
    wrong = (*parts[:-1], dataclasses.replace(parts[-1], path="bass-x.wav"))
    made = prepare(renamed(songs, 3, tracks=wrong), out)
    assert (len(made.failed), figures(made)) == (1, (8, 0, 0))
    times = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*.wav")}
    assert figures(prepare(songs, out)) == (1, 7, 0)

    more = write(tmp_path / "raw", "drum-a-new.wav", noise(99, 950))
    longer = dataclasses.replace(
        songs, recordings=(*songs.recordings, Recording("new", (more,)))
    )
    assert figures(prepare(longer, out)) == (1, 8, 0)
    tagged = renamed(longer, 0, tags={"year": 2018}, group="band")
    made = prepare(tagged, out)
    assert figures(made) == (0, 9, 0)
    assert {s["song"]: s["group"] for s in made.songs}["song0"] == "band"
    other = renamed(tagged, 1, id="another")
    assert figures(prepare(other, out)) == (1, 8, 1)
    assert not places(out, "song1")
    shorter = dataclasses.replace(other, recordings=other.recordings[:-1])
    assert figures(prepare(shorter, out)) == (0, 8, 1)
    prepare(shorter, tmp_path / "anew")
    assert tree(out) == tree(tmp_path / "anew")
    kept = [path for path in times if path.exists()]
    assert kept
    assert all(path.stat().st_mtime_ns == times[path] for path in kept)


def test_a_song_of_another_name_within_a_recording(songs, tmp_path):
    first = renamed(songs, 0, intervals=(Interval("one"),))
    prepare(first, tmp_path / "out")
    second = renamed(songs, 0, intervals=(Interval("two"),))
    assert figures(prepare(second, tmp_path / "out")) == (1, 7, 1)
    assert not places(tmp_path / "out", "song0 - one")
    assert places(tmp_path / "out", "song0 - two")


def test_old_songs_are_deleted_after_an_interruption_too(songs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare(songs, out)
    other = renamed(songs, 0, id="another")
    monkeypatch.setattr(run, "_write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(other, out)
    monkeypatch.undo()
    assert places(out, "song0")
    prepare(other, out)
    assert not places(out, "song0")


def test_a_folder_of_other_songs_is_refused(songs, tmp_path):
    prepare(songs, tmp_path / "out")
    before = tree(tmp_path / "out")
    recordings = tuple(dataclasses.replace(r, id=f"x{r.id}") for r in songs.recordings)
    other = dataclasses.replace(songs, recordings=recordings)
    with pytest.raises(DataError, match="8 of its 8 songs are gone: song0, song1"):
        prepare(other, tmp_path / "out")
    with pytest.raises(DataError, match=r"mix\.mode: adaptive, now summing"):
        prepare(dataclasses.replace(songs, mix=MixRules("summing")), tmp_path / "out")
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("text", ["", "[]", "{}", "\0", '{"rules": 1, "songs": 2}'])
def test_a_state_that_is_damaged_is_told(songs, tmp_path, text):
    prepare(songs, tmp_path / "out")
    (tmp_path / "out" / ".prepare" / "collection").write_text(text)
    with pytest.raises(DataError, match=r"\.prepare/collection does not tell"):
        prepare(songs, tmp_path / "out")


def test_a_state_that_lies_deletes_nothing_elsewhere(songs, tmp_path):
    prepare(songs, tmp_path / "out")
    precious = tmp_path / "precious" / "file"
    precious.parent.mkdir()
    precious.touch()
    owner = tmp_path / "out" / ".prepare" / "collection"
    state = json.loads(owner.read_text())
    state["songs"] += ["../../precious", str(precious.parent), "..", ".", ""]
    owner.write_text(json.dumps(state))
    for record in (owner.parent / "records").iterdir():
        lie = json.loads(record.read_text())
        for song in lie["songs"]:
            song["song"] = "../../precious"
        record.write_text(json.dumps(lie))
    assert prepare(songs, tmp_path / "out").done == 8
    assert precious.exists()


def test_a_small_disk_is_told_before_anything_is_decoded(songs, tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 9)
    )
    with pytest.raises(DataError, match="GB are free"):
        prepare(songs, tmp_path / "out")
    assert not list((tmp_path / "out" / ".prepare" / "songs").iterdir())


def places(folder, name):
    return sorted(p.parent.name for p in folder.glob(f"*/{name}") if p.is_dir())


def test_a_song_that_fails_later_or_moves_leaves_no_old_copy(songs, tmp_path, noise):
    out = tmp_path / "out"
    prepare(songs, out)
    for index in (0, 4, 7):
        write(tmp_path / "raw", f"drum-a-{index}.wav", noise(90 + index, 950))
    broken = songs.path(songs.recordings[2].tracks[0])
    broken.write_bytes(b"none")
    made = prepare(songs, out)
    for song in made.songs:
        expected = [] if song["split"] == "failed" else [song["split"]]
        assert places(out, song["song"]) == expected
        for name, file in song["files"].items():
            path = out / song["split"] / song["song"] / f"{name}.wav"
            assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
    tighter = dataclasses.replace(songs, filters=Filters("all", 0.05))
    kept = prepare(tighter, out)
    assert kept.done == 1  # filters may change; only what failed is tried again
    dropped = [s["song"] for s in kept.songs if s["split"] == "dropped"]
    assert dropped
    assert not any(places(out, name) for name in dropped)


def test_mending_a_song_moves_no_other(songs, tmp_path):
    broken = songs.path(songs.recordings[5].tracks[1])
    kept = broken.read_bytes()
    broken.write_bytes(kept[:100])
    before = {s["song"]: s["split"] for s in prepare(songs, tmp_path / "out").songs}
    broken.write_bytes(kept)
    after = {s["song"]: s["split"] for s in prepare(songs, tmp_path / "out").songs}
    assert before.pop("song5") == "failed"
    assert after.pop("song5") in ("train", "valid", "test")
    assert before == after


def test_workers_end_with_the_command_and_the_rest_is_done_later(songs, tmp_path):
    whole = prepare(songs, tmp_path / "whole")
    file = write_collection(songs, tmp_path / "songs.yaml")
    command = [
        sys.executable,
        "-m",
        "sepjax.commands.cli",
        "prepare",
        str(file),
        "-j",
        "2",
    ]
    process = subprocess.Popen([*command, "-o", str(tmp_path / "out")])
    records = tmp_path / "out" / ".prepare" / "records"
    while process.poll() is None and not list(records.glob("*.json")):
        time.sleep(0.005)
    workers = children(process.pid)
    process.kill()
    process.wait()
    for _ in range(200):
        if not any(map(alive, workers)):
            break
        time.sleep(0.05)
    assert not any(map(alive, workers))
    assert prepare(songs, tmp_path / "out", jobs=2).songs == whole.songs
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def children(parent):
    """Processes that this one has started."""
    files = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for file in files for pid in file.read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_fault_of_one_recording_costs_no_other(songs, tmp_path, monkeypatch):
    def stumble(mine, one, folder):
        if one.id == "song1":
            raise RuntimeError("who would have thought")
        return recording.prepare_recording(mine, one, folder)

    monkeypatch.setattr(run, "prepare_recording", stumble)
    made = prepare(songs, tmp_path / "out")
    assert [s["reason"] for s in made.failed] == [
        "recording 'song1': RuntimeError: who would have thought"
    ]


def test_sums_on_a_disk_that_is_too_small_are_an_error(songs, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("data_pipelines.prepare.tracks.IN_MEMORY", 1000)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="disk is full"):
        prepare(songs, tmp_path / "out")
