"""``sepjax prepare`` as it is typed: songs, a table, a page, and messages that help."""

import dataclasses
import json

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
from data_pipelines.collections.file import read_collection, write_collection
from sepjax.commands.cli import main


@pytest.fixture
def collection(tmp_path):
    """Four songs of two classes; the last one misses a file."""
    generator, recordings = np.random.default_rng(0), []
    for index in range(4):
        for name in ("drums", "bass"):
            samples = generator.integers(-20000, 20000, (4000, 1)).astype(np.int16)
            soundfile.write(tmp_path / f"{name}{index}.wav", samples, 8000)
        parts = Part(f"drums{index}.wav", "drums"), Part(f"bass{index}.wav", "bass")
        recordings.append(Recording(f"R&B {index}", parts))
    (tmp_path / "bass3.wav").unlink()
    mine = Collection(
        *(("drums", "bass"), tuple(recordings)),
        root=str(tmp_path),
        output=Output(rate=8000),
        splits=SplitRules(counts={"train": 1, "valid": 1, "test": 1}),
    )
    return write_collection(mine, tmp_path / "mine.yaml")


def test_songs_table_and_page(collection, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["prepare", str(collection), "-o", str(out)]) == 1
    told = capsys.readouterr()
    assert "bass3.wav: No such file" in told.out
    assert [line.split()[:2] for line in told.out.splitlines()[1:4]] == [
        ["train", "1"],
        ["valid", "1"],
        ["test", "1"],
    ]
    assert len(list(out.glob("*/*/mixture.wav"))) == 3
    page = (out / "prepared.html").read_text()
    assert "R&amp;B 3" in page
    assert "bass3.wav" in page
    lines = [json.loads(line) for line in (out / "prepared.jsonl").open()]
    assert lines[0]["counts"] == {"train": 1, "valid": 1, "test": 1, "failed": 1}


def test_what_a_reader_found_can_be_written_and_edited(tmp_path, capsys):
    for stem in ("vocals", "drums", "bass", "other", "mixture"):
        path = tmp_path / "songs" / "train" / "A - B" / f"{stem}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros((100, 2)), 44100)
    file = tmp_path / "found.yaml"
    where = "--root", str(tmp_path / "songs"), "--write", str(file)
    assert main(["prepare", "musdb18hq", *where, "-s", "partial=true"]) == 0
    assert "sepjax: note: musdb" in capsys.readouterr().err
    (recording,) = read_collection(file).recordings
    assert recording.id == "A - B"


def test_songs_are_chosen_by_tag_and_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recordings = [
        Recording(
            f"{genre} {number}",
            (Part("drums.wav", "drums"),),
            split="train",
            tags={"genre": genre, "year": 1980 + 10 * number},
        )
        for genre, count in (("rock", 6), ("R&B", 2), ("jazz", 2))
        for number in range(count)
    ]
    soundfile.write("drums.wav", np.full(800, 0.1), 8000)
    mine = Collection(("drums",), tuple(recordings), output=Output(rate=8000))
    file = str(write_collection(mine, tmp_path / "mine.yaml"))
    choice = "--where", "genre=rock,r&b", "--songs", "4", "--balance", "genre"
    assert main(["prepare", file, "--survey", *choice]) == 0
    told = capsys.readouterr().out
    assert "rock       6       2\njazz       2       0\nr&b        2       2\n" in told
    assert "1980s      3" in told
    page = (tmp_path / "survey.html").read_text()
    assert "r&amp;b" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert main(["prepare", file, *choice, "-o", "out", "--survey"]) == 0
    assert "4 recordings read now" in capsys.readouterr().out
    assert (tmp_path / "out" / "survey.html").exists()
    assert main(["prepare", "out", "--survey"]) == 0
    assert "genre  songs  chosen\nr&b        2       2" in capsys.readouterr().out
    assert main(["prepare", file, "--survey", "--where", "genre=rok"]) == 1
    assert "genre 'rok': did you mean 'rock'" in capsys.readouterr().err
    assert main(["prepare", file, "--survey", "--where", "genre"]) == 1
    assert "write it as TAG=VALUE" in capsys.readouterr().err
    assert main(["prepare", file, "--write", "x.yaml", "--songs", "99"]) == 1
    assert not (tmp_path / "x.yaml").exists()
    # Figures 4.1 and 4.2 show the same counts.
    assert main(["report", "--figure", "4.1", "-o", "genres.html", "out"]) == 0
    page = (tmp_path / "genres.html").read_text()
    assert ">r&amp;b</th><td>2</td><td>2</td>" in page
    assert "Songs by genre:" in page
    assert main(["report", "--figure", "4.2", "-o", "years.svg", file]) == 0
    assert (tmp_path / "years.svg").read_text().startswith("<?xml")
    bare = dataclasses.replace(mine, recordings=(Recording("a", recordings[0].tracks),))
    bare = dataclasses.replace(bare, splits=SplitRules(counts={"train": 1}))
    file = str(write_collection(bare, tmp_path / "bare.yaml"))
    assert main(["report", "--figure", "4.2", file]) == 1
    assert "has the tag 'year': class" in capsys.readouterr().err
    assert main(["report", "--figure", "4.1"]) == 1
    assert "name a collection" in capsys.readouterr().err


MESSAGES = {
    ("musdb", "-o", "x"): "did you mean 'musdb18'",
    ("musdb18", "-o", "x"): "--root DIR",
    ("musdb18", "--root", "."): "-o DIR",
    (".", "-o", "x"): "is a folder: name a collection",
    (".", "--survey", "--songs", "3"): "is made: choose",
    (".", "--survey"): "prepared.jsonl: No such file",
    ("none.yaml", "-o", "x"): "No such file",
    ("musdb18", "--root", ".", "-o", "x", "-s", "partial"): "NAME=VALUE",
    ("musdb18", "--root", ".", "-o", "x", "-s", "partal=true"): "mean 'partial'",
    ("musdb18", "--root", ".", "-o", "x", "-j", "0"): "one or more",
}


@pytest.mark.parametrize(("arguments", "message"), MESSAGES.items())
def test_mistakes_are_told(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
