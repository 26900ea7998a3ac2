"""What happens to runs: a named error or the same parameters, and nothing is lost."""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile

from data_pipelines.manifest import DataError
from data_pipelines.pipeline import open_data
from sepjax.report.run_folder import read_run
from sepjax.train import checkpoint, loop
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.log import MetricLog, read_log
from sepjax.train.mesh import make_mesh
from sepjax.train.start import spelled_out
from tests.support.toy import (
    latest,
    log,
    one_device,
    run,
    shared_program,
    stop,
    toy_config,
)
from tests.tiny_run import ROOT, environment, finish, flags, start

RATE = 8000
SLOW = pytest.mark.slow


def at(step, action):
    return lambda now: action() if now == step else None


def killed(folder, step):
    """Train until a kill, on which nothing is saved."""

    def die():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, toy_config(), before=at(step, die))


def parameters(folder):
    return checkpoint.describe(folder)["params_sha256"]


described = functools.cache(checkpoint.describe)  # of a run that nothing changes


def same(folder, straight):
    """Parameters, best evaluation and log, to the last bit."""
    assert checkpoint.describe(folder) == described(straight)
    assert log(folder) == log(straight)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of twelve steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run(folder, toy_config())
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A killed run with its best checkpoint, of step 4, and the latest, of step 6."""
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    killed(folder, 7)
    assert sorted(os.listdir(folder / "checkpoints")) == ["4", "6"]
    return folder


@pytest.fixture
def begun(stopped, tmp_path):
    return Path(shutil.copytree(stopped, tmp_path / "run"))


# Checkpoints that are not there.


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], "resuming from step 6 of 12\n"),
        ([6], "resuming from step 4 of 12; steps 5 to 6 are made again\n"),
        ([4], "lacks its best checkpoint, of step 4"),
        ([4, 6], "no checkpoint is there: resuming from step 0 of 12; steps 1 to 6"),
    ],
)
def test_deleted_checkpoints(begun, straight, steps, words, capsys):
    for step in steps:
        shutil.rmtree(begun / "checkpoints" / str(step))
    assert run(begun, toy_config())
    assert words in "".join(capsys.readouterr())
    same(begun, straight)


def test_a_run_that_begins_says_nothing_of_going_on(tmp_path, capsys):
    assert run(tmp_path, toy_config(train__steps=2))
    assert "resuming" not in capsys.readouterr().out


@SLOW  # as test_deleted_checkpoints without any
def test_no_folder_of_checkpoints_is_a_new_beginning(begun, straight):
    shutil.rmtree(begun / "checkpoints")
    assert run(begun, toy_config())
    same(begun, straight)


# A power cut: orbax renames a finished folder, but its files may not be on the disk.


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def half_zeros(path):
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(len(content) - middle))


def empty(path):
    path.write_bytes(b"")


TEARS = [zeros, half, half_zeros, empty, Path.unlink]
PARTS = ["state", "meta", "metrics", "_CHECKPOINT_METADATA"]
FAST = [("state", zeros), ("state", half_zeros), ("state", Path.unlink), ("meta", half)]
REST = [case for case in itertools.product(PARTS, TEARS) if case not in FAST]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("part", "tear"), FAST + [pytest.param(*c, marks=pytest.mark.slow) for c in REST]
)
def test_a_torn_checkpoint_is_named_and_the_one_before_is_used(
    begun, straight, part, tear
):
    step = begun / "checkpoints" / "6"
    (step / "meta" / "files.json").unlink(missing_ok=True)  # written last
    paths = [step / part, *(step / part).rglob("*")]
    files = [path for path in paths if path.is_file() and path.stat().st_size]
    draw = random.Random(f"{part}{tear.__name__}")
    chosen = files if (part, tear) in FAST else draw.sample(files, -(-len(files) // 2))
    for path in chosen:
        tear(path)
    problem = ""
    try:
        run(begun, toy_config())
    except CheckpointError as error:
        problem = str(error)
    if problem or (part, tear) in FAST:
        assert re.search(r"checkpoints/6 is damaged .* step 4 is used", problem)
        shutil.move(step, begun / "torn")
        assert run(begun, toy_config())
    same(begun, straight)


def test_the_only_checkpoint_may_be_torn(tmp_path, straight):
    """The one before waits until the next is on the disk."""
    folder = Path(shutil.copytree(straight, tmp_path / "run")) / "checkpoints"
    assert os.listdir(folder) == ["12"]
    (folder / "deleted").mkdir()
    shutil.copytree(folder / "12", folder / "deleted" / "9")
    zeros(folder / "12" / "meta" / "metadata")
    where = re.escape(f"move deleted/9 to {folder}, and the checkpoint of step 9 is")
    with pytest.raises(
        CheckpointError, match=f"12 is damaged .*: move it away, {where}"
    ):
        run(tmp_path / "run", toy_config())
    assert (folder / "deleted" / "9").exists()


def test_a_checkpoint_is_on_the_disk_before_the_one_before_is_deleted(
    tmp_path, monkeypatch
):
    events, sync, delete = [], os.fsync, shutil.rmtree

    def note_sync(file):
        events.append(os.readlink(f"/proc/self/fd/{file}"))
        sync(file)

    def note_deletion(path, **how):
        events.append(f"without {sorted(os.listdir(path)) if path.exists() else []}")
        delete(path, **how)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(shutil, "rmtree", note_deletion)
    assert run(tmp_path, toy_config(train__steps=3, train__checkpoint_every=1))
    first = events.index("without ['1']")
    step = tmp_path / "checkpoints" / "2"
    for name in ("", "meta/metadata", "metrics/metrics", "state/_METADATA"):
        assert str(step / name) in events[:first]
    assert str(step.parent) in events[:first]


TORN = {
    "line": b'{"kind": "train", "st',
    "character": '{"kind": "é'.encode()[:-1],
    "zeros": bytes(100),
    "no record": b"[1]\n{}\n3\nnull\n",
    "half a record": b'{"kind": "train", "step": "9", "seconds": 1}\n',
    "no time": b'{"kind": "train", "step": 9, "seconds": []}',
    "exchanged": b'{"kind": 9, "step": "train", "seconds": 1}\n',
    "no number": b'{"kind": "train", "step": NaN, "seconds": 1}\n',
    "depth": b"[" * 100_000,
    "a large number": b'{"kind": "train", "step": ' + b"9" * 5000 + b"}\n",
}


@pytest.mark.parametrize("end", TORN.values(), ids=list(TORN))
def test_a_torn_log_is_left_out(begun, end):
    path = begun / "metrics.jsonl"
    before = read_log(path)
    path.write_bytes(path.read_bytes() + end)
    assert read_log(path) == before
    run_facts = read_run(begun)  # for the report
    assert len(run_facts.train) + len(run_facts.valid) in (len(before), len(before) + 1)


@pytest.mark.parametrize(
    "end",
    [
        end if name in ("line", "no record") else pytest.param(end, marks=SLOW)
        for name, end in TORN.items()
    ],
    ids=list(TORN),
)
def test_a_run_goes_on_from_a_torn_log(begun, straight, end, capsys):
    path = begun / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + end)
    assert run(begun, toy_config())
    assert re.search(r"left out \d damaged lines of .*jsonl", capsys.readouterr().err)
    same(begun, straight)


# Clocks.


@pytest.fixture
def backwards(monkeypatch):
    """A clock that goes an hour back each time it is read."""
    hours, now = itertools.count(), time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(hours))


def test_a_clock_that_goes_backwards(tmp_path, straight, backwards):
    killed(tmp_path, 5)
    assert run(tmp_path, toy_config())
    same(tmp_path, straight)
    seconds = [r["seconds"] for r in read_log(tmp_path / "metrics.jsonl")]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("day", [-1, pytest.param(1, marks=SLOW)])
def test_files_of_another_time(begun, straight, day):
    moment = time.time() + day * 86400
    for path in begun.rglob("*"):
        os.utime(path, (moment, moment))
    assert run(begun, toy_config())
    same(begun, straight)


def test_a_clock_set_back_replaces_no_events(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1.7e9)
    for step in (0, 3, 3):
        with MetricLog(tmp_path, start=step, total=9) as lines:
            lines.write("train", step + 1, {"loss": 1.0, "SI-SDR/lead vocals": 2.0})
    files = sorted((tmp_path / "events").iterdir(), key=lambda path: path.suffix)
    sizes = [path.stat().st_size for path in files]
    assert sizes[0] < sizes[1] == sizes[2]  # which hide the steps that are made again


# Disks.


@contextlib.contextmanager
def full_disk(bytes_left=0):
    """Context in which no file grows beyond this: Linux says so with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "room", [500, 10_000, *(pytest.param(room, marks=SLOW) for room in (0, 2000))]
)
def test_a_disk_that_fills_up_ends_in_an_error_and_loses_nothing(
    tmp_path, straight, room
):
    with contextlib.ExitStack() as stack:
        fill = at(5, lambda: stack.enter_context(full_disk(room)))
        with pytest.raises((CheckpointError, OSError), match=r"too large|a checkpoint"):
            run(tmp_path, toy_config(), before=fill)
    if (tmp_path / "checkpoints").exists():
        assert checkpoint.describe(tmp_path)["step"] in (3, 4)
    assert run(tmp_path, toy_config())
    same(tmp_path, straight)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="of Linux")
@pytest.mark.parametrize("what", ["lines", "events"])
def test_no_log_waits_for_a_full_disk(tmp_path, what):
    def write():
        with MetricLog(tmp_path, start=0, total=9) as lines:
            if what == "lines":
                lines._file = open("/dev/full", "w")
            else:
                full = open("/dev/full", "wb")
                lines._events._writer._py_recordio_writer._writer = full
            for step in range(1000):
                lines.write("train", step, {"loss": 1.0})

    with pytest.raises(OSError, match="No space left"):
        write()


# Devices.


def test_another_number_of_devices_between_stops(tmp_path, straight):
    """Sums of another order differ in the last bits; nothing else does."""
    meshes = [make_mesh(jax.devices()[:count]) for count in (1, 4, 1)]
    # A stop is logged, as nothing is lost by it: where a record is due anyway.
    for mesh, step in zip(meshes, (3, 7, None)):
        done = run(tmp_path, toy_config(), mesh=mesh, before=at(step, stop))
        assert done == (step is None)
    ends = [checkpoint.describe(folder) for folder in (tmp_path, straight)]
    assert ends[0]["step"] == ends[1]["step"]
    assert ends[0]["best"]["step"] == ends[1]["best"]["step"]
    for one, other in zip(log(tmp_path), log(straight), strict=True):
        assert one.pop("kind") == other.pop("kind")
        assert one == pytest.approx(other, rel=1e-2)
    for one, other in zip(*map(jax.tree.leaves, map(latest, (tmp_path, straight)))):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-4)


# Data.


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """A data set of one song for each split, of 16 bits."""
    monkeypatch.setenv("SEPJAX_CACHE", str(tmp_path / "cache"))
    rng, splits = np.random.default_rng(0), ("train", "valid", "test")
    for split, name in itertools.product(splits, ("bass", "vocals")):
        folder = tmp_path / "songs" / split / f"song of {split}"
        folder.mkdir(parents=True, exist_ok=True)
        wave = 0.1 * rng.normal(size=RATE)
        soundfile.write(folder / f"{name}.wav", wave, RATE, subtype="PCM_16")
    return tmp_path / "songs"


def opened(songs, **fields):
    """The data of a run on these songs."""
    fields = {"data__dataset": "folder", "data__root": str(songs)} | fields
    config = toy_config(data__feeder="streaming", **fields)
    return open_data(config)


def train_on(songs, folder, steps=6):
    """Train as a command does; returns whether to the end."""
    data, mesh = opened(songs, train__steps=steps), one_device()
    folder.mkdir(exist_ok=True)
    program = shared_program(spelled_out(data.config, folder), mesh)
    facts = {"provenance": {"data_sha256": data.digest}, "program": program}
    return loop.train(data.config, folder, data, mesh, **facts)


def alter(path, subtype="PCM_16", rate=RATE, value=0.5):
    wave = soundfile.read(path)[0]
    wave[RATE // 2] = value
    soundfile.write(path, wave, rate, subtype=subtype)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_songs_that_change_between_stops(songs, split):
    folder, path = songs.parent / "run", songs / split / f"song of {split}" / "bass.wav"
    sound = path.read_bytes()
    status = path.stat()
    assert train_on(songs, folder, steps=3)
    alter(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if untouched
    with pytest.raises(CheckpointError, match=r"content of the data: \w+ -> \w+"):
        train_on(songs, folder)
    path.unlink()
    with pytest.raises(DataError, match=r"song of .*bass"):
        train_on(songs, folder)
    path.write_bytes(sound)
    os.utime(path, (2e9, 2e9))  # another time is no other song
    assert train_on(songs, folder)
    assert train_on(songs, songs.parent / "whole")
    assert parameters(folder) == parameters(songs.parent / "whole")


def test_songs_behind_links_that_change_are_noticed(songs):
    path = songs / "train" / "song of train" / "bass.wav"
    target = path.rename(songs.parent / "elsewhere.wav")
    path.symlink_to(target)
    before = opened(songs).digest
    assert opened(songs).digest == before
    alter(target)
    assert opened(songs).digest != before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_named(songs, value):
    path = songs / "train" / "song of train" / "vocals.wav"
    alter(path, "FLOAT", value=value)
    with pytest.raises(DataError, match=r"train/vocals\.wav: NaN or .* at 0\.5\d* s"):
        opened(songs)


@pytest.mark.parametrize("feeder", ["streaming", "resident"])
def test_songs_that_shrink_while_they_are_read_are_named(songs, feeder):
    data = opened(songs)
    data = dataclasses.replace(data, config=toy_config(data__feeder=feeder))
    for path in songs.rglob("bass.wav"):
        half(path)
    readers = (
        lambda: next(data.train_batches(0, 1)),
        lambda: next(data.valid_batches(4)),
        lambda: next(data.tracks("test")),
    )
    for reader, split in zip(readers, ("train", "valid", "test")):
        with pytest.raises(DataError, match=rf"song of {split}/bass\.wav: shorter"):
            reader()


@pytest.mark.parametrize("tear", [half, empty, Path.unlink])
def test_torn_files_of_the_cache_are_made_anew(songs, tear):
    for path in songs.rglob("*.wav"):
        alter(path, rate=2 * RATE)
    data = opened(songs)
    sound = next(data.train_batches(0, 1))["chunks"]
    files = [path for path in (songs.parent / "cache").rglob("*.*") if path.is_file()]
    assert len(files) == 7  # one remembers what the songs are
    for path in files:
        tear(path)
    again = opened(songs)
    assert again.digest == data.digest
    np.testing.assert_array_equal(next(again.train_batches(0, 1))["chunks"], sound)


# Commands.


@pytest.mark.slow
def test_two_commands_on_one_folder_at_once(tmp_path):
    line = (*flags(tmp_path / "shared"), "--mode=train")
    processes = [start(*line) for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 1]
    assert "shared is in use by process" in outputs[codes.index(1)]
    finish(start(*flags(tmp_path / "alone"), "--mode=train"))
    assert parameters(tmp_path / "shared") == parameters(tmp_path / "alone")


@pytest.mark.slow
def test_commands_on_one_four_and_two_devices(tmp_path):
    for steps, devices in ((2, 1), (4, 4), (6, 2)):
        fields = flags(tmp_path / "run", train__steps=steps)
        (text,) = finish(start(*fields, "--mode=train", devices=devices))
        assert (f"resuming from step {steps - 2} of {steps}\n" in text) == (steps > 2)
    (text,) = finish(start(*fields, "--mode=train", devices=3), code=1)
    assert "train.batch_size=4" in text
    assert "3 devices" in text
    assert checkpoint.describe(tmp_path / "run")["step"] == 6


@pytest.mark.slow
def test_a_log_file_is_what_a_person_reads(tmp_path):
    (text,) = finish(start(*flags(tmp_path)))
    assert "\r" not in text
    lines = text.splitlines()
    order = [
        r"train: tracks \d+.*",
        r"compiling \(first step\) \.\.\.",
        r"compiling \(first step\): \d+\.\d s",
        r"step 2/5  loss .*",
        r"step 3: validation SI-SDR .*",
        r"step 5/5  loss .* steps/s .* s left",
        r"report: .*report\.html",
    ]
    places = [[re.fullmatch(p, line) is not None for line in lines] for p in order]
    first = [row.index(True) for row in places]
    assert first == sorted(first)


@pytest.mark.slow
def test_a_full_disk_while_reports_are_written(tmp_path):
    line = flags(tmp_path / "run")
    finish(start(*line, "--mode=train"))
    code = "import resource, sys, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, "
    code += "(20_000,) * 2); sys.argv[0] = 'run_experiment.py'; "
    code += "runpy.run_path('run_experiment.py', run_name='__main__')"
    command = [sys.executable, "-c", code, *line, "--mode=evaluate"]
    facts = dict(cwd=ROOT, env=os.environ | environment(1), text=True)
    done = subprocess.run(command, capture_output=True, **facts)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    told = f"error: no space left on the disk of {tmp_path / 'run'} (File too large)"
    assert told in done.stderr
    assert not [*(tmp_path / "run").rglob("*.part")]
    finish(start(*line, "--mode=evaluate"))
    finish(start(*flags(tmp_path / "other")))
    names = [
        {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
        for folder in (tmp_path / "run", tmp_path / "other")
    ]
    assert {n for n in names[0] if "events" not in n and "checkpoints" not in n} == {
        n for n in names[1] if "events" not in n and "checkpoints" not in n
    }


@pytest.mark.slow
def test_killed_at_any_age(tmp_path):
    line = [sys.executable, "tools/kill_test.py", "--kills=8", "--seed=1"]
    facts = dict(cwd=ROOT, env=os.environ | environment(1), text=True)
    done = subprocess.run(line, capture_output=True, **facts)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert (result["kills"], result["divergences"]) == (8, 0)
