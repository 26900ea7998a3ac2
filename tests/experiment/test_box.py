"""The recipe of the separator in the package: a tiny sibling of it is built again."""

import json
import runpy
import sys

import numpy as np
import soundfile

from sepjax.storage import sha256
from tests.tiny_run import finish_forks

RATE = 44100


def write_songs(root):
    rng = np.random.default_rng(0)
    for song in ("one", "two", "three"):
        for name, scale in {"vocals": 0.1, "accompaniment": 0.3}.items():
            wave = scale * np.cumsum(rng.normal(size=(RATE, 2)), 0) % 1 - 0.5
            soundfile.write(root / f"{song}_{name}.wav", 0.3 * wave, RATE)
    return root


def build(monkeypatch, run, folder):
    monkeypatch.setattr(sys, "argv", ["box.py", "weights", str(run), str(folder)])
    runpy.run_path("tools/box.py", run_name="__main__")
    return json.loads((folder / "weights.json").read_text())


def test_two_builds_have_the_same_bytes(tmp_path, monkeypatch):
    songs = tmp_path / "songs"
    songs.mkdir()
    root = write_songs(songs)
    line = ["--config=configs/box.py:tiny", f"--config.data.root={root}"]
    line += ["--config.train.teacher=repet", "--mode=train"]
    runs = [tmp_path / name for name in ("first", "second")]
    finish_forks([[*line, f"--workdir={run}"] for run in runs], devices=1, code=0)
    first, second = (build(monkeypatch, run, run / "weights") for run in runs)
    assert first == second
    assert first["trained"]["teacher"]["name"] == "repet"
    assert sha256(runs[0] / "weights/model.safetensors") == first["model_sha256"]
    # Of 16 bits where it is large, and of the parameters that were trained.
    config = json.loads((runs[0] / "config.json").read_text())
    assert config["provenance"]["teacher"] == first["trained"]["teacher"]
