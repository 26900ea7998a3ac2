"""Scores of folders: values, failures, processes, files, and the command."""

import csv
import json
import math
import shutil

import numpy as np
import pytest
import soundfile

from sepjax.commands import cli
from sepjax.evaluation.folders.evaluate import evaluate_folders
from sepjax.evaluation.metrics import METRICS, leakage
from sepjax.evaluation.protocol import make_protocol
from sepjax.evaluation.score_files import write_scores
from sepjax.evaluation.tables import summary, title
from sepjax.evaluation.whole_track import si_sdr, usdr
from sepjax.report.figures.boxes import drawn_metrics, write_plots
from sepjax.report.pages.folders import page, write_score_page

RATE = 2000
CLASSES = ("bass", "drums", "vocals")
# Windows of a second of few samples, and short filters: seconds rather than minutes.
QUICK = {"filters": 8}


def evaluate(references, estimates, preset="mdx", **options):
    changes = {key: options.pop(key) for key in [*options] if key in SETTINGS}
    protocol = make_protocol(preset, **QUICK, **changes)
    options = {"jobs": 1, "progress": False} | options
    return evaluate_folders(references, estimates, protocol, **options)


SETTINGS = ("metrics", "channels", "zero_mean", "silence")


def write(path, wave):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE, "FLOAT")


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Three songs of 4.5 s; every estimate has the others in it, 20 dB down."""
    root = tmp_path_factory.mktemp("music")
    for number, song in enumerate(("c", "a", "b")):
        rng = np.random.default_rng(number)
        truth = rng.uniform(-0.3, 0.3, (len(CLASSES), 9000, 2)).astype(np.float32)
        for name, wave in zip(CLASSES, truth):
            write(root / f"true/test/{song}/{name}.wav", wave)
            leaked = wave + 0.1 * (truth.sum(0) - wave)
            write(root / f"guess/test/{song}/{name}.wav", leaked)
    return root


@pytest.fixture
def copy(music, tmp_path):
    return shutil.copytree(music, tmp_path / "music")


def read(*path):
    return soundfile.read(path[0].joinpath(*path[1:]), always_2d=True)[0]


def test_values_are_those_of_the_single_functions(music):
    results = evaluate(music / "true", music / "guess", "museval")
    assert [title(track) for track in results["tracks"]] == [
        *("test/a", "test/b", "test/c")
    ]
    for track in results["tracks"]:
        truth, guess = (
            read(music, side, "test", track["name"], "bass.wav")
            for side in ("true", "guess")
        )
        scores = track["model"]["bass"]
        # Files hold float32: the same samples, the same numbers.
        assert scores["si_sdr"] == pytest.approx(float(si_sdr(truth, guess)), abs=1e-6)
        assert scores["usdr"] == pytest.approx(float(usdr(truth, guess)), abs=1e-6)
        windows = np.sum(
            np.square(np.stack([truth, truth - guess])[:, :8000]).reshape(
                2, 4, RATE, 2
            ),
            (2, 3),
        )
        sdr = np.median(10 * np.log10(windows[0] / windows[1]))
        assert scores["sdr"] == pytest.approx(sdr, abs=1e-6)
        assert (scores["windows"], scores["windows_scored"]) == (4, 4)
    row = results["model"]["bass"]
    each = [track["model"]["bass"] for track in results["tracks"]]
    assert row["sdr"] == pytest.approx(np.median([score["sdr"] for score in each]))
    assert row["usdr"] == pytest.approx(np.mean([score["usdr"] for score in each]))
    # Two leaks 20 dB down are one 17 dB down; noise of finite length scatters a little.
    assert row["sir"] == pytest.approx(17, abs=1)
    assert row["sar"] > 60
    assert row["windows"] == 12


def test_many_processes_give_the_numbers_of_one(music):
    one, many = (
        evaluate(music / "true", music / "guess", metrics=("sdr", "si_sdr"), jobs=jobs)
        for jobs in (1, 2)
    )
    for left, right in zip(one["tracks"], many["tracks"], strict=True):
        assert title(left) == title(right)
        for name in CLASSES:
            # Tests compile without optimization, processes with it: last digits.
            assert left["model"][name] == pytest.approx(
                right["model"][name], rel=1e-9, nan_ok=True
            )
    assert one["definition"] == many["definition"]


def test_perfect_estimates_are_infinitely_good(music, tmp_path):
    results = evaluate(music / "true", music / "true", metrics=("sdr", "si_sdr"))
    row = results["model"]["vocals"]
    assert row["sdr"] == math.inf
    # An exact copy leaves no error, or that of rounding the scale.
    assert row["si_sdr"] > 140
    write_scores(tmp_path, results)
    stored = json.loads((tmp_path / "results.json").read_text(), parse_constant=fail)
    assert stored["model"]["vocals"]["sdr"] == "Infinity"
    assert float(stored["model"]["vocals"]["sdr"]) == math.inf
    assert "inf" in summary(results)
    assert "\N{INFINITY}" in page(results, tmp_path)


def fail(constant):
    raise AssertionError(f"{constant} is no strict JSON")


def test_estimates_of_swapped_names_score_as_what_they_are_called(copy):
    for song in (copy / "guess/test").iterdir():
        for name in ("bass", "vocals"):
            shutil.copy(copy / f"true/test/{song.name}/{name}.wav", song / "x.wav")
            other = "vocals" if name == "bass" else "bass"
            (song / "x.wav").replace(song / f"{other}.wav")
    scores = evaluate(copy / "true", copy / "guess")["model"]
    assert scores["bass"]["usdr"] < 0 < 15 < scores["drums"]["usdr"]


def test_subsets_of_stems_and_broken_files(copy, capsys, tmp_path):
    (copy / "guess/test/a/bass.wav").unlink()
    path = copy / "guess/test/b/vocals.wav"
    path.write_bytes(path.read_bytes()[:9000])
    results = evaluate(copy / "true", copy / "guess")
    assert results["remarks"] == [
        "no estimate of class 'bass', which is not scored (a)"
    ]
    (failed,) = results["failed"]
    assert failed["name"] == "test/b"
    assert str(path) in failed["error"]
    assert "truncated" in failed["error"]
    assert [results["model"][name]["tracks"] for name in CLASSES] == [1, 2, 2]
    command = ["evaluate", "--preset", "mdx", "--jobs", "1", "-o", str(tmp_path / "o")]
    command += ["--references", str(copy / "true"), "--estimates", str(copy / "guess")]
    assert cli.main(command) == 1
    shown = capsys.readouterr().out
    assert "FAILED test/b: " in shown
    assert "1 of 3 tracks failed" in shown
    old = tmp_path / "o/plots/tracks/test/a.svg"
    assert old.exists()
    assert "uSDR, SI-SDR in dB: mean over tracks" in shown
    (copy / "guess/test/b/vocals.wav").unlink()
    shutil.rmtree(copy / "guess/test/a")
    assert cli.main(command) == 0
    assert not old.exists(), "a picture of other scores"
    (tmp_path / "o/config.json").touch()
    assert cli.main(command) == 1
    assert "is a run folder" in capsys.readouterr().err


def test_silent_references_have_leakage_and_no_score(copy):
    for song in ("a", "b"):
        path = copy / f"true/test/{song}/bass.wav"
        wave = read(path)
        wave[: 2 * RATE if song == "a" else None] = 0
        write(path, wave)
        write(copy / f"guess/test/{song}/bass.wav", np.where(wave == 0, 0.01, wave))
    results = evaluate(copy / "true", copy / "guess", metrics=("sdr", "usdr"))
    one, two, three = (track["model"]["bass"] for track in results["tracks"])
    assert [one["windows_scored"], two["windows_scored"]] == [2, 0]
    assert one["leakage_dbfs"] == pytest.approx(-40)
    assert two["leakage_dbfs"] == pytest.approx(-40)
    assert math.isnan(three["leakage_dbfs"])
    assert math.isnan(two["usdr"])
    # The other classes of b are scored; in a they lose the windows, as in museval.
    vocals = [track["model"]["vocals"] for track in results["tracks"]]
    assert [score["windows_scored"] for score in vocals] == [2, 4, 4]
    row = results["model"]["bass"]
    assert (row["usdr_tracks"], row["leakage_dbfs_tracks"]) == (2, 2)
    assert "leakage dBFS" in summary(results)
    alone = evaluate(copy / "true", copy / "guess", silence="source", metrics=("sdr",))
    assert alone["tracks"][0]["model"]["vocals"]["windows_scored"] == 4
    strict = evaluate(copy / "true", copy / "guess", silence="museval")
    assert [track["name"] for track in strict["failed"]] == ["test/b"]


def test_leakage_of_silence_is_none():
    silence = np.zeros((2, 10, 1))
    silence[1] = 0.5
    levels = [leakage(wave, np.zeros((10, 1)), window=10) for wave in silence]
    np.testing.assert_array_equal(levels, [-np.inf, np.nan])


def test_channels_and_means_are_as_asked(copy):
    path = copy / "guess/test/a/bass.wav"
    wave = read(path)
    wave[:, 1] = 0.3 * wave[:, 1] + 0.1
    write(path, wave)
    truth = read(copy, "true/test/a/bass.wav")
    for options in ({"channels": "mean"}, {"zero_mean": True}, {}):
        results = evaluate(
            copy / "true",
            copy / "guess",
            metrics=("si_sdr",),
            classes=["bass"],
            **options,
        )
        score = results["tracks"][0]["model"]["bass"]["si_sdr"]
        # float32 of the file
        assert score == pytest.approx(float(si_sdr(truth, wave, **options)), abs=1e-4)
        definition = results["definition"]
        assert definition["zero_mean"] == options.get("zero_mean", False)
        assert ("mean over the channels" in definition["channels"]) == (
            "channels" in options
        )


def test_files(music, tmp_path):
    results = evaluate(music / "true", music / "guess", "museval", classes=["bass"])
    assert write_scores(tmp_path, results)[-1] == tmp_path / "museval"
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 7
    first = rows[0]
    assert (first["subset"], first["track"], first["metric"]) == ("test", "a", "sdr")
    value = results["tracks"][0]["model"]["bass"]["sdr"]
    assert float(first["value"]) == value
    assert first["averaged"] == "median over windows"
    assert {row["metric"] for row in rows if not row["value"]} == {
        *("sir", "leakage_dbfs")  # nothing to interfere, nothing silent
    }
    stored = json.loads((tmp_path / "museval/test/a.json").read_text())
    frames = stored["targets"][0]["frames"]
    assert [frame["time"] for frame in frames] == [0, 1, 2, 3]
    median = np.median([frame["metrics"]["SDR"] for frame in frames])
    assert median == pytest.approx(value, abs=1e-5)  # stored with five digits
    plots = write_plots(tmp_path / "plots", results)
    assert all(path.exists() for path in plots)
    assert len(list((tmp_path / "plots/tracks/test").iterdir())) == 3
    assert "leakage_dbfs" not in drawn_metrics(results)
    text = write_score_page(tmp_path, results).read_text()
    assert text.count("<img") == 4
    assert "median over 1 s windows, then median over tracks" in text
    assert text == f"<!DOCTYPE html>\n{page(results, tmp_path)}\n", (
        "the same every time"
    )


def test_page_without_a_single_score(copy, tmp_path):
    for path in (copy / "guess").rglob("*.wav"):
        path.write_bytes(b"no audio")
    results = evaluate(copy / "true", copy / "guess")
    assert len(results["failed"]) == 3
    assert "No track could be scored" in write_score_page(tmp_path, results).read_text()
    assert write_plots(tmp_path, results) == []
    assert "3 of 3 tracks failed" in summary(results)


LOUDEST = """
from sepjax.evaluation.metrics import METRICS

@METRICS.register("loudest_error", label="loudest", definition="largest error", unit="")
def loudest_error(reference, estimate):
    return abs(estimate - reference).max()
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_metric_of_a_users_file_scores_folders(
    jobs, music, tmp_path, monkeypatch, capsys
):
    module = f"my_part_for_{jobs}"  # another one each time: modules are imported once
    (tmp_path / f"{module}.py").write_text(LOUDEST)
    monkeypatch.syspath_prepend(tmp_path)
    command = ["evaluate", "--extensions", module, "--classes", "bass"]
    command += ["--metrics", "loudest_error", "--jobs", str(jobs)]
    command += [
        "--references",
        str(music / "true"),
        "--estimates",
        str(music / "guess"),
    ]
    try:
        assert cli.main([*command, "-o", str(tmp_path / "o")]) == 0
    finally:
        METRICS.pop("loudest_error")
    assert "loudest: mean over tracks" in capsys.readouterr().out
    results = json.loads((tmp_path / "o/results.json").read_text())
    truth, guess = (read(music, s, "test/a/bass.wav") for s in ("true", "guess"))
    stored = results["tracks"][0]["model"]["bass"]["loudest_error"]
    assert stored == pytest.approx(np.abs(guess - truth).max(), abs=1e-7)  # float32
    assert "loudest" in (tmp_path / "o/report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a run folder"),
        (["--references", "x"], "--estimates DIR is missing"),
        (["run", "--references", "x"], "not both"),
        (["--references", "x", "--estimates", "y"], "x: there is no such folder"),
        (
            ["--references", "x", "--estimates", "y", "--metrics", "sdrr"],
            "unknown metric 'sdrr': did you mean 'sdr'",
        ),
        (
            ["--references", "x", "--estimates", "y", "--extensions", "no_parts"],
            "there is no module 'no_parts'",
        ),
    ],
)
def test_wrong_commands_say_what_is_right(
    arguments, message, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_real_music(shared_data, tmp_path):
    """Every stem of real songs, with a tenth of the mixture in it."""
    root = tmp_path / "guess"
    for song in sorted((shared_data / "stems44").iterdir())[:1]:
        mixture, rate = soundfile.read(song / "mixture.flac", always_2d=True)
        for path in song.glob("*.flac"):
            (root / song.name).mkdir(parents=True, exist_ok=True)
            wave, _ = soundfile.read(path, always_2d=True)
            soundfile.write(root / song.name / path.name, wave + 0.1 * mixture, rate)
    results = evaluate(
        shared_data / "stems44", root, "thesis", metrics=("sdr", "si_sdr")
    )
    assert set(results["model"]) == {"drums", "other", "vocals"}
    assert results["definition"]["window"].startswith("6 s, ")
    assert results["model"]["drums"]["windows"] == 2  # of 15 s
    assert all(0 < row["sdr"] < 40 for row in results["model"].values())
