"""Scores of songs that were trained on say so, wherever they are shown."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from sepjax.commands.cli import main
from sepjax.experiment.score import heard
from sepjax.report.score_table import score_table
from tests.tiny_run import flags, forks

SOURCES = ("drums", "bass")


def write(folder, seed, gain=1.0, seconds=10):
    """A song of tones that begin and end, so that it is like no other."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for name in SOURCES:
        notes = generator.uniform(100, 3000, (20 * seconds // 10, 4, 1))
        time = np.arange(4000) / 8000
        wave = np.sin(2 * np.pi * notes * time).mean(1).reshape(-1)
        wave += 0.05 * generator.normal(size=len(wave))
        samples = np.rint(8000 * gain * wave).astype(np.int16)
        soundfile.write(folder / f"{name}.wav", samples, 8000)


@pytest.fixture
def leaky(tmp_path):
    """The test song is a softer copy of one that is trained on."""
    for index, split in enumerate(("train/a", "train/b", "valid/c")):
        write(tmp_path / "songs" / split, index)
    write(tmp_path / "songs" / "test" / "unknown", 0, gain=0.5)
    return tmp_path / "songs"


def test_from_refusal_to_every_table(leaky, tmp_path, capsys):
    options = flags(
        tmp_path / "run",
        data__dataset="folder",
        data__root=leaky,
        data__sources=",".join(SOURCES),
        train__steps=2,
        model__ideal_mask=True,
        eval__split="test",
    )
    flag = "--config.data.allow_overlap=True"
    lines = [["run_experiment.py", *options], ["run_experiment.py", *options, flag]]
    (code, refused), (done, forced) = forks(lines)
    assert (code, done) == (1, 0), refused + forced
    assert "test/unknown and train/a" in refused
    assert flag in refused
    assert "SEEN in training (1): unknown (same audio as train/a)" in forced
    (track,) = json.loads((tmp_path / "run" / "results.json").read_text())["tracks"]
    assert (track["seen"], track["seen_because"]) == (True, "same audio as train/a")
    assert "run (SEEN: 1 of 1)" in score_table([tmp_path / "run"])
    assert "same audio as train/a" in (tmp_path / "run" / "report.html").read_text()

    # What branches bring, by the same excerpts; compilers' settings round differently.
    stored = json.loads((tmp_path / "run" / "branches.json").read_text())
    capsys.readouterr()
    assert main(["inspect", "--branches", "--json", str(tmp_path / "run")]) == 0
    shown = json.loads(capsys.readouterr().out)["branches"]
    assert [row["branch"] for row in shown] == ["encoder/conv_0", "encoder/filters_0"]
    for one, two in zip(stored, shown, strict=True):
        assert one["arriving"] == pytest.approx(two["arriving"], rel=1e-3)
        assert one["norms"] == pytest.approx(two["norms"], rel=1e-5)

    write(leaky / "train" / "d", 9)  # another set, of which the run knows nothing
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert "SEEN or not is unknown: the model was trained on" in capsys.readouterr().out
    assert "run (SEEN: unknown)" in score_table([tmp_path / "run"])


def test_what_a_start_has_heard_counts():
    data = SimpleNamespace(digest="here", seen={"a": ""})
    mine = {"data_sha256": "here"}
    assert heard(mine, data) == ({"a": ""}, "")
    same = mine | {"pretrained": {"run": "x", "data_sha256": "here"}}
    assert heard(same, data) == ({"a": ""}, "")
    other = mine | {"pretrained": {"run": "x", "data_sha256": "there"}}
    assert heard(other, data) == ({"a": ""}, "it starts from x, trained on other data")
    imported = mine | {"pretrained": {"run": "umx"}}
    assert "umx" in heard(imported, data)[1]
    assert heard({"data_sha256": "there"}, data)[0] == {}
