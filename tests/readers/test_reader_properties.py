"""What holds for every reader and all of its options: sound, repeatable, preparable."""

import dataclasses
import itertools
import json
import shutil

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipelines.collections.collection import Filters, Output
from data_pipelines.collections.file import read_collection, write_collection
from data_pipelines.collections.rules import check_collection
from data_pipelines.manifest import DataError
from data_pipelines.prepare import prepare
from data_pipelines.readers import read_dataset
from data_pipelines.songs.prepared import read_prepared
from tests.support.layouts import (
    RATE,
    slakh_stem,
    touch,
    write_audio,
    write_medleydb,
    write_moisesdb,
    write_slakh,
    write_songs,
)

# Counts of the whole sets are told of every miniature; tests of each reader look at it.
pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")


def options(**choices):
    """All combinations."""
    rows = itertools.product(*choices.values())
    return [dict(zip(choices, row)) for row in rows]


CASES = [
    *(
        ("moisesdb", each)
        for each in options(
            classes=["six", "four", "stems"], bleed=[True, False], partial=[True]
        )
    ),
    *(
        ("medleydb", each)
        for each in options(
            classes=["six", "four", "eleven"],
            level=["stems", "raw"],
            bleed=[True, False],
        )
    ),
    ("medleydb", {"mixture": True}),
    *(
        ("slakh2100", each)
        for each in options(
            classes=["six", "four", "eleven"],
            mixture=[True, False],
            omitted=["", "train"],
        )
    ),
    *(("msst", {"type": kind}) for kind in (1, 2, 4)),
]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A miniature of every set."""
    base = tmp_path_factory.mktemp("sets")
    write_moisesdb(base / "moisesdb", songs=3)
    write_medleydb(base / "medleydb")
    write_medleydb(base / "medleydb", "Else_Where", bleed="yes")
    for index, split in enumerate(("train", "validation", "test", "omitted")):
        write_slakh(base / "slakh2100", split, f"Track{index:05}")
    write_songs(base / "msst", ("vocals", "drums"), ("a", "b"))
    return base


def read(roots, name, chosen):
    return read_dataset(name, str(roots / name), **chosen)


@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_collections_are_sound(roots, tmp_path, name, chosen):
    found = read(roots, name, chosen)
    assert check_collection(found) is found
    for song in found.recordings:
        for part in filter(None, (*song.tracks, song.mixture)):
            assert found.path(part).is_file()
        assert {found.class_of(part.label) for part in song.tracks} <= {*found.classes}
    for file in ("written.yaml", "written.jsonl"):
        assert read_collection(write_collection(found, tmp_path / file)) == found


@pytest.mark.parametrize("name", ["moisesdb", "medleydb", "slakh2100", "msst"])
def test_another_place_gives_the_same_collection(roots, tmp_path, name):
    chosen = next(each for case, each in CASES if case == name)
    shutil.copytree(roots / name, tmp_path / name)
    here, there = read(roots, name, chosen), read(tmp_path, name, chosen)
    assert here.digest() == there.digest()
    assert here.root != there.root


@pytest.mark.parametrize("name", ["moisesdb", "medleydb", "slakh2100", "msst"])
def test_songs_are_prepared(roots, tmp_path, name):
    chosen = next(each for case, each in CASES if case == name)
    found = dataclasses.replace(
        read(roots, name, chosen),
        output=Output(rate=RATE),
        filters=Filters(min_active_seconds=0.05),
    )
    if found.splits.counts:
        splits = dataclasses.replace(found.splits, counts={"train": -1})
        found = dataclasses.replace(found, splits=splits)
    prepare(found, tmp_path)
    header, songs = read_prepared(tmp_path)
    assert header["counts"]["train"] == sum(song["split"] == "train" for song in songs)
    assert {song["song"] for song in songs} == {each.id for each in found.recordings}
    for song in songs:
        assert {*song["files"], *song["absent"]} == {*found.classes, "mixture"}
        folder = tmp_path / song["split"] / song["song"]
        for file in song["files"]:
            assert soundfile.info(folder / f"{file}.wav").frames == RATE // 5


EXAMPLES = 15
quickly = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
names = st.sampled_from(["Guitar", "Bass", "Strings (continued)", "Drums"])
stems = st.dictionaries(
    st.integers(0, 20).map("S{:02}".format),
    st.builds(slakh_stem, names, st.integers(0, 128), st.booleans(), st.booleans()),
    min_size=1,
    max_size=6,
)


@quickly
@given(songs=st.lists(stems, min_size=1, max_size=3))
def test_any_metadata_of_slakh(tmp_path, songs):
    base = tmp_path / "slakh2100"
    shutil.rmtree(base, ignore_errors=True)
    for index, tree in enumerate(songs):
        write_slakh(base, "train", f"Track{index:05}", tree, write=touch)
    # One song that is sound, so that something is left whatever was drawn.
    write_slakh(base, "test", "Track09999", write=touch)
    found = read(tmp_path, "slakh2100", {"mixture": True})
    assert check_collection(found) is found
    rendered = [sum(s["audio_rendered"] for s in tree.values()) for tree in songs]
    kept = [len(song.tracks) for song in found.recordings[:-1]]
    assert kept == [count for count in rendered if count]


words = st.sampled_from(["", "vocals", "a/b", "../..", "/etc", "\0", "x" * 300])
values = st.none() | st.booleans() | st.integers() | words
fields = (
    *("id", "extension", "trackType", "has_bleed"),  # MoisesDB
    *("instrument", "filename"),  # MedleyDB
    *("audio_rendered", "is_drum", "program_num", "inst_class"),  # Slakh2100
)


def sections(inner):
    """Lists or named sections of something, or something else."""
    return (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["S00", "S01"]), inner)
        | values
    )


tracks = st.dictionaries(st.sampled_from(fields), values, max_size=6)
entries = st.fixed_dictionaries(
    {"stemName": words, "tracks": sections(tracks), "raw": sections(tracks)}
)
trees = st.fixed_dictionaries(
    {"stems": sections(entries | tracks)},
    optional=dict.fromkeys(("stem_dir", "raw_dir", "artist", "UUID"), values),
)
PLACES = {
    "moisesdb": "one/data.json",
    "medleydb": "one/one_METADATA.yaml",
    "slakh2100": "train/one/metadata.yaml",
}


@quickly
@given(name=st.sampled_from(sorted(PLACES)), tree=trees, bleed=st.booleans())
def test_metadata_of_any_kind_are_read_or_refused(tmp_path, name, tree, bleed):
    path = tmp_path / name / PLACES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))  # which is YAML as well
    chosen = {"slakh2100": {}, "moisesdb": {"partial": True, "bleed": bleed}}
    try:
        found = read(tmp_path, name, chosen.get(name, {"bleed": bleed}))
    except DataError:
        return
    check_collection(found)


def test_a_table_is_sound(tmp_path):
    write_audio(tmp_path / "a.wav")
    table = tmp_path / "table.csv"
    table.write_text("instrum,path\nvocals,a.wav\n")
    found = read_dataset("msst", str(table))
    assert read_collection(write_collection(found, tmp_path / "c.yaml")) == found
