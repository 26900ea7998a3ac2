"""Preparation that is interrupted, fails in part, or is done again."""

import dataclasses
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_pipelines.collections.collection import (
    Filters,
    MixRules,
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
