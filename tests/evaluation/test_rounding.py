"""Scores that measure nothing but rounding are missing, with their count."""

import csv
import json
import math

import numpy as np
import pytest

from sepjax.evaluation.feasibility.song import oracle_scores
from sepjax.evaluation.masks import ideal_ratio_mask
from sepjax.evaluation.protocol import make_protocol
from sepjax.evaluation.score_files import write_scores
from sepjax.evaluation.scoring import Track, make_results, score_all, score_track
from sepjax.evaluation.tables import summary
from sepjax.report.figures.boxes import box_picture
from sepjax.report.pages.run import render
from sepjax.report.run_folder import RunFolder
from sepjax.report.score_table import score_table

RATE, CLASSES = 4000, ("bass", "drums", "flute")
PROTOCOL = make_protocol("museval", filters=16)


def song(name, levels, *, copy=False, mixed=True):
    """A song of white noises, which a model separates down to -20 dB."""
    draw = np.random.default_rng([len(name), *name.encode()])
    gains = np.array(levels)[:, None, None]
    truth = (gains * draw.normal(0, 0.1, (3, 2 * RATE, 1))).astype("f4")
    noise = (gains > 0) * 0.1 * draw.normal(0, 0.1, truth.shape)
    guess = truth if copy else (truth + noise).astype("f4")
    whole = truth.sum(0)
    masked = ideal_ratio_mask(truth, whole, n_fft=256)
    columns = {"model": guess, "mixture": np.broadcast_to(whole, truth.shape)}
    columns |= {"oracle": masked}
    return Track(name, RATE, CLASSES, truth, columns, whole if mixed else None)


@pytest.fixture(scope="module")
def results():
    songs = [song("full", (1, 1, 0)), song("also", (1, 1, 0)), song("alone", (1, 0, 0))]
    rows = [score_track(track, PROTOCOL) for track in songs]
    return make_results(rows, PROTOCOL, {"split": "test", "dataset": "x"}, {})


def test_a_class_alone_enters_no_mean_of_what_it_could_not_be_told_from(results):
    row = results["tracks"][2]
    assert row["model"]["bass"]["si_sdr"] == pytest.approx(20, abs=0.5)
    assert math.isnan(row["model"]["bass"]["sir"])
    for column in ("mixture", "oracle"):
        for metric in ("si_sdr", "usdr", "sdr"):
            assert math.isnan(row[column]["bass"][metric]), (column, metric)
            score = results[column]["bass"]
            assert (score[f"{metric}_tracks"], abs(score[metric]) < 20) == (2, True)
    assert results["model"]["bass"]["sir"] < 80
    assert results["model"]["bass"]["sir_tracks"] == 2
    assert results["model"]["bass"]["si_sdr_tracks"] == 3
    assert results["improvement"]["bass"]["si_sdr_tracks"] == 2


def test_every_table_says_how_many_count(results, tmp_path):
    text = summary(results)
    assert "oracle SI-SDR" in text
    assert "bass in 2 of 3" in text
    write_scores(tmp_path, results)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["tracks"][2]["oracle"]["bass"]["si_sdr"] is None
    with (tmp_path / "scores.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["track"] == "alone"]
    empty = {(r["column"], r["metric"]) for r in rows if r["class"] == "bass"}
    empty -= {(r["column"], r["metric"]) for r in rows if r["value"]}
    assert {("model", "sir"), ("oracle", "si_sdr"), ("mixture", "usdr")} <= empty
    assert ("model", "si_sdr") not in empty
    line = next(x for x in score_table([tmp_path]).splitlines() if "ideal" in x)
    assert "(2 of 3)" in line
    page = str(render(RunFolder(tmp_path, results=stored)))
    assert "bass in 2 of 3" in page
    assert ">2\N{EN DASH}3</td>" in page


def test_a_class_that_sounds_nowhere_has_no_row_in_pictures(results):
    picture = str(box_picture(results))
    assert "bass" in picture
    assert "flute" not in picture


@pytest.mark.parametrize("mixed", [True, False])
def test_an_exact_copy_is_infinitely_good_unless_alone(mixed):
    together = score_track(song("x", (1, 1, 1), copy=True, mixed=mixed), PROTOCOL)
    alone = score_track(song("x", (1, 0, 0), copy=True, mixed=mixed), PROTOCOL)
    row = together["model"]["bass"]
    assert (row["sdr"], row["si_sdr"]) == (math.inf, math.inf)
    assert math.isnan(row["sir"])
    assert all(math.isnan(alone["model"]["bass"][m]) for m in PROTOCOL.metrics)


def test_classes_that_never_meet_give_no_rounding_noise_of_masks():
    track = song("x", (1, 1, 0))
    truth = track.references.copy()
    truth[0, :RATE], truth[1, RATE:] = 0, 0
    near = (truth * (1 + 1e-8)).astype("f8")
    columns = track.estimates | {"oracle": near}
    row = score_track(
        track._replace(references=truth, estimates=columns, mixture=truth.sum(0)),
        PROTOCOL,
    )
    assert math.isnan(row["oracle"]["bass"]["si_sdr"])
    assert row["mixture"]["bass"]["si_sdr"] < 3


def test_folders_beside_a_table_of_somebody_else_stay(results, tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "mine.svg").write_text("x")
    (tmp_path / "scores.csv").write_text("song,score\n")
    write_scores(tmp_path, results)
    assert (tmp_path / "plots" / "mine.svg").exists()
    write_scores(tmp_path, results)
    assert not (tmp_path / "plots").exists(), "older plots of ours go"


def test_the_oracle_of_a_set_counts_no_rounding_noise():
    time = np.arange(8000)
    tones = 0.1 * np.sin(np.array([0.3, 1.2])[:, None] * time)[..., None]
    turns = tones * np.array([time < 4000, time >= 4000])[..., None]
    one = oracle_scores(turns, turns.sum(0), sample_rate=RATE, window=0.5)
    assert all(math.isnan(v) or v < 140 for v in one["si_sdr"] + one["sdr"])
    same = np.stack([tones[0], 1e-12 * tones[1]])
    both = oracle_scores(same, tones[0], sample_rate=RATE, window=0.5)
    assert math.isnan(both["si_sdr"][0])
    assert math.isnan(both["sdr"][0])


def test_a_log_says_what_is_scored_and_how_long(capsys):
    track, quick = song("x", (1, 1, 0)), make_protocol("mdx")
    rows = list(score_all([track], lambda t: t, quick, total=1, progress=True))
    assert len(rows) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "evaluate: scoring 1 track by usdr, si_sdr"
    assert lines[-1].startswith("evaluate: done in ")
    assert "\r" not in "".join(lines)
