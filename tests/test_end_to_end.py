"""run_experiment.py as a person runs it: the whole road, interruptions, mistakes."""

import dataclasses
import json
import signal
import time

import numpy as np
import pytest
import soundfile

from data_pipelines.collections.collection import (
    Collection,
    Output,
    Part,
    Recording,
    SplitRules,
)
from data_pipelines.prepare import prepare
from sepjax.configs import chapter4
from sepjax.train import checkpoint
from sepjax.train.log import read_log
from tests.support.short_songs import CONFIG, short, write_songs
from tests.support.toy import log
from tests.tiny_run import finish, finish_forks, flags, start

# Evaluations and checkpoints take longer than steps.
LONGER = dict(train__steps=60, train__eval_every=30, train__checkpoint_every=12)
LONGER |= dict(model__encoding="simple")  # compiles quickest


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """Flags of a run in this folder; its songs are short, as scoring takes longest."""
    songs = short(write_songs(tmp_path_factory.mktemp("longer"), valid=2))
    return lambda folder, **fields: flags(folder, CONFIG, **LONGER | songs | fields)


def interrupt(line, workdir, number, step):
    """Start a run and send it a signal once its log has reached a step."""
    process = start(*line, "--mode=train")
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        records = read_log(workdir / "metrics.jsonl")
        if records and records[-1]["step"] >= step:
            process.send_signal(number)
            break
        time.sleep(0.01)
    output = process.communicate(timeout=100)[0]
    return process.returncode, output


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, longer):
    """Folders and outputs of runs that nothing interrupted."""
    place = tmp_path_factory.mktemp("runs")
    seeds = dict(train__seeds=2, train__steps=3, model__ideal_mask=True)
    seeds |= dict(train__eval_every=3, train__checkpoint_every=2)
    lines = {
        "whole": longer(place / "whole"),
        "seeds": longer(place / "seeds", **seeds),
        "check": [*longer(place / "check"), "--mode=check"],
    }
    texts = finish_forks([*lines.values()], devices=1, code=0)
    return {name: (place / name, text) for name, text in zip(lines, texts)}


@pytest.fixture(scope="module")
def whole(outputs):
    """A run that was trained, scored and reported."""
    return outputs["whole"]


def test_one_command_trains_scores_and_reports(whole):
    folder, output = whole
    assert "step 60/60" in output
    assert f"report: {folder / 'report.html'}" in output
    config = json.loads((folder / "config.json").read_text())
    assert config["model"]["N"] == 16
    assert config["provenance"]["data_sha256"]
    results = json.loads((folder / "results.json").read_text())
    classes = ["vocals", "drums", "bass", "other"]
    for who in ("model", "mixture", "oracle", "improvement"):
        assert sorted(results[who]) == sorted(classes)
    # Ideal masks beat sixty steps of a toy: sources and estimates are not mixed up.
    scores = {
        who: [results[who][name]["si_sdr"] for name in classes]
        for who in ("model", "oracle")
    }
    assert all(o > m for m, o in zip(scores["model"], scores["oracle"]))
    page = (folder / "report.html").read_text()
    assert all(name in page for name in classes)
    assert page.count("<audio") >= 3
    assert {r["kind"] for r in log(folder)} == {"train", "valid"}


def test_several_seeds_are_several_runs_and_a_band(outputs):
    folder, output = outputs["seeds"]
    assert "± " in output
    assert "over 2 seeds" in output
    band = json.loads((folder / "band.json").read_text())
    assert band["seeds"] == [42, 43]
    for seed in band["seeds"]:
        one = folder / f"seed_{seed}"
        assert (one / "report.html").exists()
        results = json.loads((one / "results.json").read_text())
        assert results["definition"]["seed"] == seed
        score = results["model"]["vocals"]["si_sdr"]
        assert score in band["model"]["vocals"]["values"]


def test_interrupted_runs_end_as_the_whole_one(whole, longer, tmp_path):
    whole, _ = whole
    line = longer(tmp_path)
    code, output = interrupt(line, tmp_path, signal.SIGKILL, 16)
    assert code == -signal.SIGKILL
    code, output = interrupt(line, tmp_path, signal.SIGINT, 26)
    assert code == 1
    assert "saving, then stopping" in output
    assert f"stopped; the same command goes on from {tmp_path}" in output
    assert "Traceback" not in output
    finish(start(*line, "--mode=train"))
    ours, theirs = checkpoint.describe(tmp_path), checkpoint.describe(whole)
    assert ours["params_sha256"] == theirs["params_sha256"]
    assert ours["step"] == 60
    assert ours["best"] == theirs["best"]
    valid = [r for r in log(tmp_path) if r["kind"] == "valid"]
    assert valid == [r for r in log(whole) if r["kind"] == "valid"]


def test_check_tells_what_a_run_would_be(outputs):
    workdir, output = outputs["check"]
    for what in (
        "parameters",
        "receptive field",
        "memory per device",
        "time of a step",
    ):
        assert what in output
    # 1 + (3 - 1) * (2**2 - 1) frames of 32 samples.
    assert "7 frames, 0.03 s" in output
    assert "125 frames of 32 samples" in output
    assert not workdir.exists()


def test_another_configuration_does_not_touch_the_run(whole, longer):
    folder, _ = whole
    before = checkpoint.describe(folder), (folder / "config.json").read_text()
    (output,) = finish(start(*longer(folder, optim__lr=0.5)), code=1)
    assert "trained with another configuration" in output
    assert "optim.lr: 0.002 -> 0.5" in output
    assert "--allow_config_change" in output
    assert "Traceback" not in output
    assert before == (checkpoint.describe(folder), (folder / "config.json").read_text())


DEMO = "--config=configs/demo.py"
MISTAKES = {
    "name": (["--config=configs/demo.py:musik"], "did you mean 'music'?"),
    "file": (["--config=configs/none.py"], "--mode=list"),
    "file_and_field": (
        ["--config=configs/none.py", "--config.model.N=8"],
        "No such file or directory: 'configs/none.py'",
    ),
    "field": ([DEMO, "--config.model.layer=3"], "did you mean 'layers'"),
    "section": ([DEMO, "--config.modle.N=3"], "did you mean 'model'?"),
    "type": ([DEMO, "--config.model.N=many"], "--config.model.N=many"),
    "flag": ([DEMO, "--wrkdir=x"], "Did you mean: workdir"),
    "mode": ([DEMO, "--mode=chek"], "run|check|train|evaluate|list"),
    "values": (
        [DEMO, "--config.model.N=0", "--config.data.feeder=stream"],
        "did you mean 'streaming'?",
    ),
    "dataset": ([DEMO, "--config.data.dataset=demmo"], "did you mean 'demo'?"),
    "workdir": ([DEMO, "--workdir={file}/run"], "cannot write to --workdir="),
    "no_workdir": ([DEMO, "--workdir="], "--workdir is missing"),
    "no_root": (
        ["--config=configs/demo.py:remixed", "--config.data.root={file}/none"],
        "{file}/none",
    ),
    "no_run": ([DEMO, "--mode=evaluate"], "holds no checkpoints"),
    "devices": (
        [DEMO, "--config.train.batch_size=6"],
        "choose 4 or 8, or run on 3 devices",
    ),
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """Outputs of all mistakes."""
    folder = tmp_path_factory.mktemp("mistakes")
    file = folder / "file"
    file.touch()
    calls = [
        [f"--workdir={folder / name}", *(flag.format(file=file) for flag in flags)]
        for name, (flags, _) in MISTAKES.items()
    ]
    return file, dict(zip(MISTAKES, finish_forks(calls, devices=4, code=1)))


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_end_in_one_clear_message(complaints, name):
    file, outputs = complaints
    output = outputs[name]
    assert "Traceback" not in output
    assert "error: " in output
    assert MISTAKES[name][1].format(file=file) in output
    if name == "values":  # all problems at once
        assert "model.N=0 must be positive" in output


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["folder", "prepared"])
def test_the_thesis_songs_that_lack_classes(tmp_path, dataset):
    """A first stage of six classes trains, is scored and reported on such songs."""
    root, recordings = tmp_path / "songs", []
    rng = np.random.default_rng(0)
    for number in range(6):
        stems = [n for k, n in enumerate(chapter4.CLASSES) if (number + k) % 3]
        (root / f"song{number}").mkdir(parents=True)
        for name in stems:
            wave = rng.normal(0, 0.1, 12000)
            soundfile.write(root / f"song{number}" / f"{name}.wav", wave, 8000)
        parts = tuple(Part(f"song{number}/{name}.wav", name) for name in stems)
        recordings.append(Recording(f"song{number}", parts))
    if dataset == "prepared":
        rules = SplitRules(counts={"train": 4, "valid": 1, "test": 1})
        mine = Collection(chapter4.CLASSES, tuple(recordings), root=str(root))
        root = tmp_path / "prepared"
        prepare(dataclasses.replace(mine, splits=rules, output=Output(rate=8000)), root)
    fields = {"data__root": root, "data__dataset": dataset, "eval__split": "test"}
    fields |= {"train__steps": 2, "train__eval_every": 2, "train__batch_size": 2}
    fields |= {"train__statistics_excerpts": 4, "model__L": 20, "model__W": 20}
    file = "configs/chapter4.py:all_data"
    (output,) = finish(start(*flags(tmp_path / "run", file, **fields)))
    assert "step 2/2" in output
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (track,) = results["tracks"]
    number = int(track["name"].removeprefix("song"))
    for k, name in enumerate(chapter4.CLASSES):
        is_silent = (number + k) % 3 == 0
        assert (track["model"][name]["si_sdr"] is None) == is_silent
        assert results["model"][name]["tracks"] == (not is_silent)
    assert results["failed"] == []
    assert "electric_guitar" in (tmp_path / "run" / "report.html").read_text()
