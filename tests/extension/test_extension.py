"""A user's file outside of the package brings every kind of part, and all of it works.

By configuration alone: it trains, is killed and goes on, separates, is scored and
reported.
"""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepjax.train.log import read_log
from tests.support.forks import Fork
from tests.tiny_run import ROOT, environment, forks

HERE = Path(__file__).parent
RATE, CLASSES = 8000, ("low", "high")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("songs"), np.random.default_rng(0)
    for song in ("train-one", "train-two", "valid-three", "test-four"):
        for name, hertz in {"low": 150, "high": 1500}.items():
            phase = np.cumsum(rng.normal(hertz, hertz / 4, 2 * RATE)) / RATE
            wave = rng.uniform(0.1, 0.4) * np.sin(2 * np.pi * phase)
            soundfile.write(folder / f"{song}-{name}.wav", wave, RATE, "PCM_16")
    mixture = sum(
        soundfile.read(folder / f"test-four-{n}.wav")[0] for n in ("low", "high")
    )
    soundfile.write(folder / "mixture.wav", mixture, RATE)
    return folder


def variables_of(songs):
    """The user's folder is on the path."""
    path = os.pathsep.join([str(HERE), str(ROOT)])
    return {"PYTHONPATH": path, "SEPJAX_CACHE": str(songs.parent / "cache")}


def start(songs, *arguments):
    """Begin a command."""
    return Fork([*arguments], environment(1) | variables_of(songs))


def run(songs, *arguments, code=0):
    process = start(songs, *arguments)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == code, output[-3000:]
    return output


def experiment(name, songs, workdir, *more):
    config = f"--config={HERE / 'my_experiment.py'}:{name}"
    root = f"--config.data.root={songs}"
    return ["run_experiment.py", config, root, f"--workdir={workdir}", *more]


def losses(folder, kind="train"):
    return {
        r["step"]: r["loss"]
        for r in read_log(folder / "metrics.jsonl")
        if r["kind"] == kind
    }


@pytest.fixture(scope="module")
def whole(songs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(songs, *experiment("smoother", songs, folder))


def test_a_run_trains_and_is_scored_by_the_users_parts(whole):
    folder, _ = whole
    config = json.loads((folder / "config.json").read_text())
    assert config["model"] == {
        **{"name": "smoother", "width": 8, "dropout": 0.3},
        **{"audio_channels": 1, "compute_dtype": "float32"},
    }
    assert config["extensions"] == ["my_parts"]
    first, *_, last = losses(folder, "train").values()
    assert last < first
    lines = [r for r in read_log(folder / "metrics.jsonl") if r["kind"] == "train"]
    assert {"peak_error/low", "l1/high", "si_sdr/low"} <= set(lines[0])
    results = json.loads((folder / "results.json").read_text())
    text = json.dumps(results)
    assert "peak_ratio" in text
    assert "20 log10(max|e| / max|s|) dB" in text
    assert "peak ratio" in (folder / "report.html").read_text()


def test_killed_it_goes_on_as_if_it_had_not_been(whole, songs, tmp_path):
    process = start(songs, *experiment("smoother", songs, tmp_path, "--mode=train"))
    limit = time.monotonic() + 120
    while not (tmp_path / "checkpoints" / "4").exists() and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run(songs, *experiment("smoother", songs, tmp_path, "--mode=train"))
    # Dropout included: the random stream goes on where it was.
    assert losses(tmp_path) == losses(whole[0])


def test_it_separates_and_is_evaluated_by_the_command(whole, songs, tmp_path):
    folder, _ = whole
    lines = [
        ["separate", songs / "mixture.wav", "-n", folder, "-o", tmp_path],
        ["evaluate", folder, "--split", "valid"],
        ["report", "--table", "--metric", "peak_ratio", folder],
    ]
    done = forks([["-m", "sepjax", *line] for line in lines], **variables_of(songs))
    assert [status for status, _ in done] == [0, 0, 0], done
    stems = [
        soundfile.read(tmp_path / songs.name / f"{n}.wav")[0] for n in ("low", "high")
    ]
    assert all(stem.shape == (2 * RATE,) for stem in stems)
    assert any(stem.any() for stem in stems)
    assert "peak ratio" in done[1][1]
    assert f"| {folder.name} |" in done[2][1]


def test_an_encoder_of_ones_own_has_a_field_that_is_a_flag(songs, tmp_path):
    lines = [
        experiment("cosine", songs, tmp_path, *flags)
        for flags in (
            ("--mode=train", "--config.model.highest=2000"),
            ("--config.model.hihgest=1",),
        )
    ]
    trained, refused = forks(lines, **variables_of(songs))
    assert trained[0] == 0, trained[1]
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model"]["name"], config["model"]["highest"]) == (
        "cosine_tasnet",
        2000,
    )
    assert refused[0] == 1
    assert "unknown field 'model.hihgest': did you mean 'highest'" in refused[1]


def test_all_problems_are_told_at_once_before_data_is_opened(songs, tmp_path):
    fields = ("loss.name=peak_eror", "data.dataset=flat_song", "model.dropout=2")
    fields += ("eval.metrics=peak_ration", "optim.optimizer=adm")
    flags = [f"--config.{field}" for field in fields]
    output = run(
        songs, *experiment("smoother", songs / "none", tmp_path, *flags), code=1
    )
    for hint in ("peak_error", "flat_songs", "peak_ratio", "adam"):
        assert f"did you mean '{hint}'" in output, hint
    assert "model.dropout=2.0 must be in [0, 1)" in output


def test_without_the_users_file_a_run_says_what_it_needs(whole, songs):
    lines = [
        ["inspect", whole[0]],  # it can still be read
        ["separate", songs / "mixture.wav", "-n", whole[0]],
    ]
    inspected, separated = forks(
        [["-m", "sepjax", *line] for line in lines], PYTHONPATH=str(ROOT)
    )
    assert inspected[0] == 0, inspected[1]
    assert separated[0] == 1
    assert "there is no module 'my_parts'" in separated[1]
