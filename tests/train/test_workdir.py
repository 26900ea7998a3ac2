"""One trainer at a time works in a run folder."""

import os
import signal
import subprocess
import sys

import pytest

from sepjax import storage
from sepjax.config import Config
from sepjax.storage import LOCK
from sepjax.train.workdir import held
from tests.tiny_run import ROOT, finish, flags, start

HOLD = """
import sys, time
from pathlib import Path
from sepjax.config import Config
from sepjax.train.workdir import held
with held(lambda: Path(sys.argv[1]), Config()):
    print("held", flush=True)
    time.sleep(1000)
"""


def seeds(count, first=42):
    config = Config(seed=first)
    config.train.seeds = count
    return config


def test_the_second_is_told_who_works_there_and_leaves_no_trace(tmp_path):
    with held(lambda: tmp_path, Config()):
        owner = (tmp_path / LOCK).read_text()
        outputs = finish(
            *(start(*flags(tmp_path), f"--mode={m}") for m in ("train", "evaluate")),
            code=1,
        )
        assert (tmp_path / LOCK).read_text() == owner
    for output in outputs:
        assert f"error: {tmp_path} is in use by {owner}: wait until it ends" in output
        assert "train:" not in output  # the data was not opened
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_one_seed_and_all_seeds_exclude_each_other(tmp_path):
    one = tmp_path / "seed_43"
    with held(lambda: tmp_path, seeds(2)):
        with pytest.raises(OSError, match="seed_43 is in use by process"):
            with held(lambda: one, seeds(1, 43)):
                pass
    with held(lambda: one, seeds(1, 43)):
        with pytest.raises(OSError, match="seed_43 is in use"):
            with held(lambda: tmp_path, seeds(2)):
                pass
        # What was locked before the complaint is free again.
        with held(lambda: tmp_path / "seed_42", seeds(1, 42)):
            pass
        with held(lambda: tmp_path, seeds(1)):
            pass


def test_a_killed_trainer_leaves_no_lock(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OSError, match=f"by process {holder.pid} on "):
        with held(lambda: tmp_path, Config()):
            pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with held(lambda: tmp_path, Config()):
        pass


def test_what_killed_processes_left_half_written_is_deleted(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    rest, folder = (
        tmp_path / f".{name}.{dead.pid}-7.part" for name in ("filters.npz", "audio")
    )
    kept = [
        tmp_path / name
        for name in (f".report.html.{os.getpid()}-7.part", ".mine.part", "x.9-9.part")
    ]
    folder.mkdir()
    for path in (rest, folder / "index.json", *kept):
        path.write_text("half")
    with held(lambda: tmp_path, Config()):
        assert not rest.exists()
        assert not folder.exists()
        assert all(path.exists() for path in kept)


def test_a_file_system_without_locks_is_noted(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(storage.fcntl, "flock", refuse)
    with held(lambda: tmp_path, Config()):
        assert (tmp_path / LOCK).read_text().startswith("process ")
    assert "cannot be locked (No locks available)" in capsys.readouterr().err
