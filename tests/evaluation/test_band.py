"""Scores of several seeds."""

import json

import numpy as np
import pytest

from sepjax.evaluation.seeds import combine, summarize_band


def scores(seed, bass, drums, **definition):
    table = {"bass": {"si_sdr": bass}, "drums": {"si_sdr": drums}}
    mean = {"si_sdr": (bass + drums) / 2}
    columns = ("model", "improvement", "mixture", "oracle")
    return {
        "definition": {"seed": seed, "split": "test"} | definition,
        "mean": dict.fromkeys(columns, mean),
        **dict.fromkeys(columns, table),
    }


def test_mean_and_sample_deviation():
    band = combine([scores(1, 1.0, 3.0), scores(2, 2.0, 6.0), scores(3, 6.0, 0.0)])
    assert band["seeds"] == [1, 2, 3]
    assert "seed" not in band["definition"]
    bass = band["model"]["bass"]
    assert bass["values"] == [1.0, 2.0, 6.0]
    assert bass["mean"] == pytest.approx(3.0)
    assert bass["sd"] == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert band["model"]["mean"]["values"] == [2.0, 4.0, 3.0]


def test_scores_of_different_definitions_are_not_averaged():
    with pytest.raises(ValueError, match="different definitions"):
        combine([scores(1, 1.0, 1.0), scores(2, 1.0, 1.0, split="train")])


def test_a_band_is_written_and_told(tmp_path):
    folders = []
    for seed, value in ((4, 1.0), (5, None)):
        folder = tmp_path / f"seed_{seed}"
        folder.mkdir()
        result = scores(seed, 1.0, 2.0)
        result["model"] = result["model"] | {"drums": {"si_sdr": value}}
        (folder / "results.json").write_text(json.dumps(result))
        folders.append(folder)
    text = summarize_band(tmp_path, folders)
    assert "2 seeds" in text
    assert "1.00 ± 0.00" in text
    band = json.loads((tmp_path / "band.json").read_text())
    # A class that one seed could not be scored on has no mean, and JSON has no NaN.
    assert band["model"]["drums"]["mean"] is None
