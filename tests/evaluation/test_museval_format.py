"""Files of museval: what it wrote, what it makes of them, and what is refused."""

import json
import math

import numpy as np
import pytest

from sepjax.evaluation.folders.museval import (
    median_of_windows,
    museval_tree,
    read_museval,
    write_museval,
)


def test_what_museval_wrote_and_made_of_it(shared_data, tmp_path):
    file = json.loads((shared_data / "bss_ref" / "aggregation.json").read_text())
    tracks = {name: tree for name, tree in file.items() if name.startswith("track")}
    medians = {}
    for name, track in tracks.items():
        tree = museval_tree(track["raw"])
        # The text tells NaN from nothing, which == does not.
        assert json.dumps(tree) == json.dumps(track["json"])
        write_museval(tmp_path / "test" / f"{name}.json", track["raw"])
        for target, curves in read_museval(tmp_path / "test" / f"{name}.json").items():
            for metric, values in curves.items():
                medians[f"{name}/{target}/{metric}"] = median_of_windows(values)
    expected = file["eval_frames"]
    assert {key: medians[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    for key, value in file["eval_median_median"].items():
        songs = [medians[f"{name}/{key}"] for name in tracks]
        assert median_of_windows(songs) == pytest.approx(value, abs=1e-9)


def test_nan_and_null_are_read_alike(tmp_path):
    scores = {key: [1.0, math.nan, -math.inf] for key in ("sdr", "isr", "sir", "sar")}
    path = tmp_path / "song.json"
    write_museval(path, {"é": scores}, window_seconds=6, hop_seconds=3)
    text = path.read_text("utf-8")
    assert '"time": 6.0' in text
    assert "NaN" in text
    first = read_museval(path)["é"]["SAR"]
    path.write_text(text.replace("NaN", "null"), "utf-8")
    np.testing.assert_array_equal(first, [1.0, math.nan, math.nan])
    np.testing.assert_array_equal(read_museval(path)["é"]["SAR"], first)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="'bass' has no SIR, SAR"):
        museval_tree({"bass": {"SDR": [], "ISR": []}})
    path = tmp_path / "other.json"
    path.write_text('{"targets": [{"frames": 1}]}')
    with pytest.raises(ValueError, match=r"other\.json is not a track of museval"):
        read_museval(path)
    assert math.isnan(median_of_windows([math.nan]))
