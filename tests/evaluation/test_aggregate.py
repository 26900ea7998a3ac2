"""Means, medians, tables and strict JSON."""

import json
import math

import pytest

from sepjax.evaluation.metrics import METRICS
from sepjax.evaluation.protocol import make_protocol
from sepjax.evaluation.score_files import spelled
from sepjax.evaluation.scoring import summaries, summarize
from sepjax.evaluation.tables import comparison
from sepjax.storage import write_json

NAN = math.nan
PROTOCOL = make_protocol("mdx")


def aggregate(tracks):
    return summarize(tracks, PROTOCOL)


def whole(**columns):
    """Results of tracks whose columns these are."""
    return summaries(
        [dict(zip(columns, row)) for row in zip(*columns.values())], PROTOCOL
    )


def songs(*values):
    return [{"bass": {"si_sdr": value, "usdr": value + 1}} for value in values]


def test_silent_tracks_are_left_out_and_counted():
    summary = aggregate(songs(1.0, NAN, 2.0, 6.0))["bass"]
    assert summary == {
        "si_sdr": 3.0,
        "si_sdr_median": 2.0,
        "si_sdr_tracks": 3,
        "usdr": 4.0,
        "usdr_median": 3.0,
        "usdr_tracks": 3,
        "tracks": 3,
    }


def test_a_class_that_never_sounds_has_no_score():
    summary = aggregate(songs(NAN, NAN))
    assert summary["bass"]["tracks"] == 0
    assert math.isnan(summary["bass"]["si_sdr"])
    assert math.isnan(whole(model=songs(NAN))["mean"]["model"]["si_sdr"])


def test_a_silent_estimate_is_not_hidden():
    """A reference that sounds and an estimate that does not is minus infinity."""
    summary = aggregate(songs(1.0, -math.inf))["bass"]
    assert summary["si_sdr"] == -math.inf
    assert summary["tracks"] == 2


def test_mean_over_classes_weighs_classes_alike():
    tracks = [{"a": {"usdr": 1.0}, "b": {"usdr": 4.0}}, {"a": {"usdr": 3.0}}]
    assert whole(model=tracks)["mean"]["model"]["usdr"] == 3.0


def test_the_thesis_takes_the_median_of_si_sdr_over_songs():
    summary = summarize(songs(1.0, 2.0, 6.0), make_protocol("thesis"))["bass"]
    assert (summary["si_sdr"], summary["usdr"]) == (2.0, 4.0)
    assert "median over tracks" in make_protocol("thesis").aggregation("si_sdr")
    assert METRICS["si_sdr"].median is False


def test_table_is_aligned_and_shows_missing_scores():
    results = whole(model=songs(4.0), mixture=songs(-2.0), oracle=songs(NAN))
    table = comparison(spelled(results), "si_sdr")
    header, bass, mean = table.splitlines()
    assert header.split() == "class model mixture oracle improvement tracks".split()
    assert bass.split() == ["bass", "4.00", "-2.00", "-", "+6.00", "1"]
    assert mean.split() == ["mean", "4.00", "-2.00", "-", "+6.00"]
    assert bass.index("+6.00") == mean.index("+6.00")
    assert len(header) == len(bass)


def test_json_has_no_nan_and_appears_whole(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"a": [NAN, -math.inf, 1.5], "b": "é"})
    assert json.loads(path.read_text("utf-8")) == {"a": [None, None, 1.5], "b": "é"}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text("utf-8"))["b"] == "é"
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
