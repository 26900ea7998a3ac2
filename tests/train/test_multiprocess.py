"""Two processes on this machine train and score together, as on a cluster."""

import json
import os
import shutil
import signal
import socket
import time

import jax
import numpy as np
import pytest

from sepjax.commands import cli
from sepjax.config import Config
from sepjax.train import checkpoint
from sepjax.train.log import read_log
from sepjax.train.workdir import held
from tests.support.short_songs import CONFIG, short, write_songs
from tests.tiny_run import DEMO, finish, flags, start

# Processes that share two cores take long to agree: few and large batches.
FEW = dict(train__batch_size=16, train__eval_every=100)
BARE = dict(model__encoding="simple", model__ideal_mask=True)  # compiles quickest
FEW |= BARE


# Checkpoints alone make reports: whoever agrees every log_every steps never does.
LONG = dict(
    **BARE,
    train__steps=10**6,
    train__eval_every=10**6,
    train__log_every=10**6,
    train__checkpoint_every=10,
)


def start_two(workdirs, file=DEMO, **fields):
    """Both processes of a run, each with a ``--workdir`` of its own."""
    address = f"--distributed=127.0.0.1:{free_port()}"
    return [
        start(
            *flags(workdir, file, **fields),
            *("--mode=train", address, "--processes=2", f"--process={index}"),
        )
        for index, workdir in enumerate(workdirs)
    ]


def wait_for_step(folder, step, processes):
    deadline = time.monotonic() + 120
    while all(process.poll() is None for process in processes):
        assert time.monotonic() < deadline
        if any(r["step"] >= step for r in read_log(folder / "metrics.jsonl")):
            return
        time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run by two processes of two devices, and by one of four."""
    folder = tmp_path_factory.mktemp("runs")
    songs = short(write_songs(folder / "songs"))
    one, two = (flags(folder / name, CONFIG, **FEW, **songs) for name in ("one", "two"))
    address = f"--distributed=127.0.0.1:{free_port()}"
    first, second = finish(
        start(*two, address, "--processes=2", "--process=0", devices=2),
        start(*two, address, "--processes=2", "--process=1", devices=2),
    )
    finish(start(*one, "--mode=train", devices=4))
    return folder / "two", folder / "one", first, second


def test_two_processes_train_what_one_does(runs):
    two, one, *_ = runs
    ours, theirs = checkpoint.describe(two), checkpoint.describe(one)
    assert ours["step"] == theirs["step"] == 5
    assert ours["best"]["step"] == theirs["best"]["step"]
    params = [
        np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(variables)])
        for _, variables, _ in map(checkpoint.load, (two, one))
    ]
    # Sums over processes come in another order than over devices, and Adam's first
    # steps have the length of the rate (2e-3) even where a gradient is all but zero.
    assert np.mean(np.isclose(*params, rtol=0, atol=2e-5)) > 0.97
    for record, other in zip(*(read_log(run / "metrics.jsonl") for run in (two, one))):
        assert (record["kind"], record["step"]) == (other["kind"], other["step"])
        assert record["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_only_the_first_process_speaks_and_writes(runs):
    two, _, first, second = runs
    kinds = [(r["kind"], r["step"]) for r in read_log(two / "metrics.jsonl")]
    assert kinds == [("train", 2), ("train", 4), ("train", 5), ("valid", 5)]
    assert len(list((two / "events").iterdir())) == 1
    assert "step 5/5" in first
    assert "step" not in second
    assert "train:" not in second
    assert "SI-SDR" in first
    assert "report:" in first
    assert not any(word in second for word in ("SI-SDR", "report:", "evaluate:"))


def test_one_folder_with_everything(runs):
    two, *_ = runs
    assert json.loads((two / "config.json").read_text())["train"]["steps"] == 5
    # Made by the first process alone, from a checkpoint that both have written.
    with np.load(two / "filters.npz") as taps:
        assert "final/encoder/filters" in taps


def test_two_processes_score_what_one_does(runs, tmp_path, monkeypatch):
    two, *_ = runs
    one = shutil.copytree(two, tmp_path / "one")
    for path in ("results.json", "report.html"):
        (one / path).unlink()
    shutil.rmtree(one / "audio")
    assert cli.main(["evaluate", str(one)]) == 0
    assert contents(one) == contents(two)


def contents(run):
    """Everything that an evaluation writes, and every name in the run folder."""
    audio = {p.relative_to(run): p for p in (run / "audio").rglob("*") if p.is_file()}
    files = audio | {name: run / name for name in ("results.json", "report.html")}
    return {name: path.read_bytes() for name, path in files.items()} | {
        "names": sorted(path.name for path in run.iterdir())
    }


@pytest.mark.parametrize(
    ("number", "index"),
    [(signal.SIGTERM, 1), pytest.param(signal.SIGINT, 0, marks=pytest.mark.slow)],
)
def test_a_signal_to_one_process_stops_both(tmp_path, number, index):
    songs, folder = short(write_songs(tmp_path / "songs", valid=2)), tmp_path / "run"
    processes = start_two([folder] * 2, CONFIG, **LONG, **songs)
    wait_for_step(folder, 10, processes)
    processes[index].send_signal(number)
    began = time.monotonic()
    outputs = finish(*processes, code=1)
    # A second until jax sees the signal; the rest is saving, and busy cores. The whole
    # run would take hours.
    assert time.monotonic() - began < 30
    for output in outputs:
        assert "asked to stop: saving" in output
        assert "Traceback" not in output
    assert checkpoint.describe(folder)["step"] > 10


def test_a_folder_that_is_not_shared_is_told_at_the_start(tmp_path):
    folders = tmp_path / "one", tmp_path / "two"
    for output in finish(*start_two(folders), code=1):
        assert (
            f"--workdir={folders[1]} of process 1 on {socket.gethostname()}" in output
        )
        assert "give all processes one folder that all hosts share" in output
        assert "Traceback" not in output
        assert "train:" not in output  # the data was not opened
    assert [path.name for path in folders[0].iterdir()] == [".lock"]


@pytest.mark.slow
def test_both_processes_are_told_who_works_there(tmp_path):
    with held(lambda: tmp_path, Config()):
        for output in finish(*start_two([tmp_path] * 2), code=1):
            assert f"error: {tmp_path} is in use by process {os.getpid()} on" in output
            assert "Traceback" not in output
