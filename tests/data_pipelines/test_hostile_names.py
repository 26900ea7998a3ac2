"""Whatever names and values a file holds, nothing is written outside of the output."""

import copy
import json
import math
import tempfile
from functools import partial

import numpy as np
import pytest
import soundfile
import yaml

from data_pipelines.collections.collection import song_names
from data_pipelines.collections.file import read_collection
from data_pipelines.manifest import DataError
from data_pipelines.prepare import prepare
from data_pipelines.readers import read_dataset
from data_pipelines.songs.prepared import build_manifest
from sepjax.report.pages.prepared import write_page
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
    (folder / "out").mkdir()
    for name in ("kick", "bass", "voice", "organ"):
        wave = np.random.default_rng(0).uniform(-0.3, 0.3, 800)
        soundfile.write(folder / f"{name}.wav", wave, 8000)
    return folder


def try_out(read, deep, tmp_path, seen):
    """Prepare what is read: right, or with a message that names the file or the set.

    Once for each of the names and paths: how it sounds is not the question here.
    """
    before, message = outside(tmp_path), ""
    try:
        made = read()
        songs = [(song_names(r), [p.path for p in r.tracks]) for r in made.recordings]
        if (facts := repr((made.classes, songs))) not in seen:
            seen.add(facts)
            result = prepare(made, tempfile.mkdtemp(dir=deep / "out"))
            build_manifest(str(result.folder), result.header["classes"])
            write_page(result.header, result.songs, result.folder / "prepared.html")
    except DataError as error:
        message = str(error)
    assert not message or str(deep) in message or "'mine'" in message
    assert outside(tmp_path) == before


@pytest.mark.parametrize("path", [path for path in places(TREE) if path], ids=str)
def test_collections(deep, tmp_path, path, monkeypatch):
    monkeypatch.chdir(deep)
    file = deep / "mine.jsonl"
    seen = set()
    for value in HOSTILE:
        tree = with_value(TREE, path, value)
        rest = tree.pop("recordings")
        lines = [tree, *(rest if isinstance(rest, list) else [rest])]
        file.write_text("\n".join(map(json.dumps, lines)))
        try_out(lambda: read_collection(file), deep, tmp_path, seen)


def test_the_tree_itself_is_sound(deep):
    file = deep / "mine.yaml"
    file.write_text(yaml.safe_dump(TREE))
    made = prepare(read_collection(file), deep / "out")
    assert [(s["song"], s["split"]) for s in made.songs] == [("night - one", "train")]


def karaoke(folder):
    rows = [
        "song,file,label,group,key",
        "A,kick.wav,kick,band,C",
        "A,bass.wav,bass,band,C",
    ]
    (folder / "tracks.csv").write_text("\n".join(rows))
    return "karaoke", {"train": 0, "valid": 0, "all_instruments": False}


def montreux(folder):
    rows = [f"night,{n}.wav,{n},low,2018" for n in ("kick", "bass", "voice", "organ")]
    head = "concert,file,label,crowd,year"
    (folder / "tracks.csv").write_text("\n".join([head, *rows]))
    cut = "concert,name,start,end\nnight,one,0,0.05"
    (folder / "intervals.csv").write_text(cut)
    return "montreux", {"train": 1, "valid": 0, "test": 0}


def msst(folder):
    (folder / "tracks.csv").write_text("instrum,path\ndrums,kick.wav\nbass,bass.wav")
    return "msst", {"type": 3}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("write", [karaoke, montreux, msst], ids=lambda f: f.__name__)
def test_tables(deep, tmp_path, write):
    name, options = write(deep)
    root, seen = str(deep / "tracks.csv" if name == "msst" else deep), set()
    assert prepare(read_dataset(name, root, **options), deep / "out/right").songs
    for table in sorted(deep.glob("*.csv")):
        rows = [line.split(",") for line in table.read_text().split("\n")]
        for path in [path for path in places(rows) if len(path) == 2]:
            for value in [value for value in HOSTILE if isinstance(value, str)][::3]:
                lines = map(",".join, with_value(rows, path, value))
                table.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
                read = partial(read_dataset, name, root, **options)
                try_out(read, deep, tmp_path, seen)
        table.write_text("\n".join(map(",".join, rows)))


def medleydb(folder):
    layouts.write_medleydb(folder, stems={"S01": ("drum set", ["kick drum"])})
    return next(folder.rglob("*.yaml")), {"train": 1, "valid": 0, "test": 0}


def moisesdb(folder):
    layouts.write_moisesdb(folder, songs=1, stems={"drums": ["snare"]})
    shares = {"train": 1, "valid": 0, "test": 0}
    return next(folder.rglob("data.json")), {"partial": True} | shares


def slakh2100(folder):
    layouts.write_slakh(folder, stems={"S02": layouts.slakh_stem("Bass", 33)})
    return next(folder.rglob("metadata.yaml")), {"partial": True}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "write", [medleydb, moisesdb, slakh2100], ids=lambda f: f.__name__
)
def test_metadata(deep, tmp_path, write):
    file, options = write(deep / "set")
    root = str(deep / "set")
    assert prepare(read_dataset(write.__name__, root, **options), deep / "out/0").songs
    tree, seen = yaml.safe_load(file.read_text()), set()
    for path in places(tree):
        for value in HOSTILE:
            changed = with_value(tree, path, value) if path else value
            file.write_text(json.dumps(changed))  # which is YAML, too
            read = partial(read_dataset, write.__name__, root, **options)
            try_out(read, deep, tmp_path, seen)


LIES = [
    *({"song": "../../secret"}, {"song": "/secret"}, {"song": 5}, {"split": "../.."}),
    *({"files": []}, {"files": {"../../secret": {"bytes": 9, "sha256": ""}}}),
    *({"frames": 10**12}, {"frames": "9"}, {"rate": 0}, {"mixture_error": math.inf}),
    *({"files": {}}, {"kind": "sung"}, {"group": None}, {"files": {"mixture": 3}}),
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_list_of_songs_that_lies(deep, lie):
    (deep / "mine.yaml").write_text(yaml.safe_dump(TREE))
    out = prepare(read_collection(deep / "mine.yaml"), deep / "out").folder
    assert build_manifest(str(out), ("drums", "bass")).tracks
    header, song = map(json.loads, (out / "prepared.jsonl").read_text().splitlines())
    lines = [json.dumps(header), json.dumps(song | lie)]
    (out / "prepared.jsonl").write_text("\n".join(lines))
    if lie.get("split"):  # of a song that is not read
        assert not build_manifest(str(out), ("drums", "bass")).tracks
        return
    with pytest.raises(DataError, match=r"prepared\.jsonl: damaged \(line 2"):
        build_manifest(str(out), ("drums", "bass"))


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "null", "\udce9", '{"kind": "collection"}']
)
def test_a_list_of_songs_that_is_none(tmp_path, text):
    (tmp_path / "prepared.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"prepared\.jsonl: damaged"):
        build_manifest(str(tmp_path), ("drums",))
