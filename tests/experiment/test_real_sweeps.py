"""Sweeps of real runs: tiny, on virtual devices."""

import json
import os
import signal
import sys
import threading
import time

import pytest

from sepjax.configs.sweeps import Member
from sepjax.experiment.sweep import Sweep, start_process
from sepjax.train import checkpoint
from sepjax.train.log import read_log
from tests.experiment.toy_program import cpus
from tests.support import short_songs
from tests.support.forks import Fork
from tests.tiny_run import ROOT, TINY, environment, finish, start

PROGRAM = (sys.executable, str(ROOT / "run_experiment.py"))


@pytest.fixture
def two_devices(monkeypatch):
    monkeypatch.chdir(ROOT)
    for name, value in environment(2).items():
        monkeypatch.setenv(name, value)
    return cpus(2)


def tiny(file="configs/demo.py", **fields):
    named = {name.replace("__", "."): value for name, value in fields.items()}
    return Member(file, TINY | named)


def events(output):
    """(started or not, run) of every line that says so, in order."""
    lines = [line.split() for line in output.splitlines()]
    return [(w[3] == "started", w[2]) for w in lines if len(w) > 3 and "/" in w[1]]


def fork(name, command, variables, log):
    """Start a run that has imported what takes seconds."""
    return Fork(command[1:], environment(2) | variables, log)


def test_two_runs_train_at_once(tmp_path, two_devices, capsys):
    # A batch of 3 would be refused where a run sees both devices.
    short = dict(train__steps=2, train__batch_size=3, model__encoding="simple")
    short |= short_songs.short(short_songs.write_songs(tmp_path / "songs"))
    file = short_songs.CONFIG
    members = {"a": tiny(file, **short), "b": tiny(file, **short, optim__lr=0.01)}
    arguments = (members, tmp_path, "train", [], PROGRAM, two_devices)
    outcomes = Sweep(*arguments, start=fork).run()
    logs = [(tmp_path / name / "log.txt").read_text() for name in members]
    assert [o.status for o in outcomes] == ["done", "done"], logs
    assert events(capsys.readouterr().out)[:2] == [(True, "a"), (True, "b")]
    configs = [json.loads((tmp_path / n / "config.json").read_text()) for n in members]
    assert {c["provenance"]["device"] for c in configs} == {"1 x cpu (cpu)"}
    losses = [read_log(tmp_path / name / "metrics.jsonl")[-1] for name in members]
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_a_member_that_was_stopped_ends_as_one_that_was_not(tmp_path, two_devices):
    longer = dict(train__steps=60, train__eval_every=20, train__checkpoint_every=7)
    members = {"stopped": tiny(**longer), "same": tiny(**longer)}
    pids = []

    def watched(name, command, variables, log):
        process = start_process(name, command, variables, log)
        pids.append(process.pid)
        return process

    def stop():
        path, deadline = tmp_path / "stopped" / "metrics.jsonl", time.monotonic() + 200
        while time.monotonic() < deadline:
            records = read_log(path) if path.exists() else []
            if records and records[-1]["step"] >= 16:
                return os.kill(pids[0], signal.SIGTERM)
            time.sleep(0.01)

    threading.Thread(target=stop, daemon=True).start()
    arguments = (members, tmp_path, "run", [], PROGRAM, two_devices)
    outcomes = Sweep(*arguments, start=watched).run()
    assert [o.status for o in outcomes] == ["stopped", "done"]
    outcomes = Sweep(*arguments).run()
    assert [o.status for o in outcomes] == ["done", "finished before"]
    ours, theirs = (checkpoint.describe(tmp_path / name) for name in members)
    assert ours["params_sha256"] == theirs["params_sha256"]
    assert ours["best"] == theirs["best"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["processes", "submitit_local"])
def test_four_rows_run_four_at_a_time_on_four_devices(tmp_path, launcher):
    fields = [
        f"--config.{name}={value}"
        for name, value in TINY.items()
        if name != "train.batch_size"  # as printed: 7
    ]
    flags = ["--sweep=gammatone_ratio_large", f"--workdir={tmp_path}", "--mode=train"]
    flags += [f"--launcher={launcher}", *fields]
    (output,) = finish(start(*flags, devices=4))
    assert [started for started, _ in events(output)] == [True] * 4 + [False] * 4
    assert "4 of 4 members are done" in output
    for folder in tmp_path.glob("large_*"):
        config = json.loads((folder / "config.json").read_text())
        assert config["provenance"]["device"] == "1 x cpu (cpu)"
        assert config["train"]["batch_size"] == 7
