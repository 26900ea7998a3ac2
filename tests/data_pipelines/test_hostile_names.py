"""Whatever names and values a file holds, nothing is written outside of the output."""

import copy
import json

import numpy as np
import pytest
import soundfile
import yaml

from data_pipelines.collections.file import read_collection
from data_pipelines.manifest import DataError
from data_pipelines.prepare import prepare
from data_pipelines.readers import read_dataset
from data_pipelines.songs.prepared import build_manifest
from tests.support import layouts

HOSTILE = [
    *("../../../x", "/tmp/abs", "a/b", "a/../../..", "", " ", ".", "..", "...", "x/"),
    *("n" * 300, "é" * 200, "a\0b", "a\nb", "\udce9", "\ud800", "a\\..\\b", ".hidden"),
    *("~", "~/x", "-rf", "mixture", "Mixture", 5, -1, 1e308, 10**400, True),
    *([], {}, [[]], {"a": "b"}, ["../x"]),
]
TREE = {
    "classes": ["drums", "bass"],
    "name": "mine",
    "label_map": {"kick": "drums"},
    "default_class": "bass",
    "recordings": [
        {
            "id": "night",
            "group": "tour",
            "split": "train",
            "tags": {"crowd": "low"},
            "sample_rate": 8000,
            "tracks": [
                {"path": "kick.wav", "label": "kick", "channels": "keep"},
                {"path": "bass.wav", "label": "bass", "start": 0.0, "gain_db": 0.0},
            ],
            "intervals": [{"name": "one", "start": 0.0, "end": 0.05}],
        }
    ],
    "mix": {"mode": "adaptive"},
    "filters": {"min_active_seconds": 0.0, "exclude": []},
    "splits": {"seed": 1, "stratify": "crowd", "counts": {"train": 1}},
    "output": {"rate": 8000, "channels": 1},
}


def places(tree, path=()):
    """The paths of all values in a tree."""
    yield path
    lists = dict(enumerate(tree)) if isinstance(tree, list) else {}
    for key, value in (tree if isinstance(tree, dict) else lists).items():
        yield from places(value, (*path, key))


def with_value(tree, path, value):
    tree = copy.deepcopy(tree)
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return tree


def outside(folder):
    """What lies there, apart from the output and what pytest keeps."""
    return {str(path) for path in folder.rglob("*") if "out" not in path.parts}


@pytest.fixture
def deep(tmp_path):
    """A folder so deep that ``../../..`` stays in sight."""
    folder = tmp_path / "a" / "b" / "c" / "d"
    folder.mkdir(parents=True)
    for name in ("kick", "bass"):
        wave = np.random.default_rng(0).uniform(-0.3, 0.3, 800)
        soundfile.write(folder / f"{name}.wav", wave, 8000)
    return folder


@pytest.mark.parametrize("path", [path for path in places(TREE) if path], ids=str)
def test_collections(deep, tmp_path, path, monkeypatch):
    monkeypatch.chdir(deep)
    file = deep / "mine.jsonl"
    for value in HOSTILE:
        tree = with_value(TREE, path, value)
        rest = tree.pop("recordings")
        lines = [tree, *(rest if isinstance(rest, list) else [rest])]
        file.write_text("\n".join(map(json.dumps, lines)))
        before = outside(tmp_path)
        try:
            made = prepare(read_collection(file), deep / f"out/{HOSTILE.index(value)}")
            build_manifest(str(made.folder), made.header["classes"])
        except DataError as error:
            assert str(deep) in str(error) or "mine" in str(error), value
        assert outside(tmp_path) == before, value


def test_the_tree_itself_is_sound(deep):
    file = deep / "mine.yaml"
    file.write_text(yaml.safe_dump(TREE))
    made = prepare(read_collection(file), deep / "out")
    assert [(s["song"], s["split"]) for s in made.songs] == [("night - one", "train")]
