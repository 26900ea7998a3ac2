"""Means, medians, tables and strict JSON."""

import json
import math

import pytest

from sepjax.evaluation.aggregate import (
    aggregate,
    difference,
    format_table,
    mean_over_classes,
)
from sepjax.storage import finite, write_json

NAN = math.nan


def songs(*values):
    return [{"bass": {"si_sdr": value, "usdr": value + 1}} for value in values]


def test_silent_tracks_are_left_out_and_counted():
    summary = aggregate(songs(1.0, NAN, 2.0, 6.0))["bass"]
    assert summary == {
        "si_sdr": 3.0,
        "si_sdr_median": 2.0,
        "usdr": 4.0,
        "usdr_median": 3.0,
        "tracks": 3,
    }


def test_a_class_that_never_sounds_has_no_score():
    summary = aggregate(songs(NAN, NAN))
    assert summary["bass"]["tracks"] == 0
    assert math.isnan(summary["bass"]["si_sdr"])
    assert math.isnan(mean_over_classes(summary, "si_sdr"))


def test_a_silent_estimate_is_not_hidden():
    """A reference that sounds and an estimate that does not is minus infinity."""
    summary = aggregate(songs(1.0, -math.inf))["bass"]
    assert summary["si_sdr"] == -math.inf
    assert summary["tracks"] == 2


def test_mean_over_classes_weighs_classes_alike():
    summary = aggregate([{"a": {"x": 1.0}, "b": {"x": 4.0}}, {"a": {"x": 3.0}}])
    assert mean_over_classes(summary, "x") == 3.0


def test_table_is_aligned_and_shows_missing_scores():
    model, mixture = songs(4.0)[0], songs(-2.0)[0]
    columns = {
        "model": aggregate([model]),
        "mixture": aggregate([mixture]),
        "oracle": aggregate(songs(NAN)),
        "improvement": aggregate([difference(model, mixture, "si_sdr")]),
    }
    means = {
        name: {"si_sdr": mean_over_classes(column, "si_sdr")}
        for name, column in columns.items()
    }
    table = format_table(finite({**columns, "mean": means}))
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
