"""MoisesDB in miniature: classes, bleed, and what is told when files are not there."""

import json

import pytest

from data_pipelines.manifest import DataError
from data_pipelines.readers import read_dataset
from data_pipelines.readers.moisesdb import STEMS, class_of
from tests.support.layouts import write_moisesdb

FEW = "2 songs; the whole set has 240"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_moisesdb(tmp_path_factory.mktemp("moises"))


def read(root, **options):
    with pytest.warns(UserWarning, match="the whole set has 240"):
        return read_dataset("moisesdb", str(root), partial=True, **options)


def classes(collection, index=0):
    tracks = collection.recordings[index].tracks
    return {part.label: collection.class_of(part.label) for part in tracks}


def test_six_classes_of_chapter_four(root):
    collection = read(root)
    assert classes(collection) == {
        "vocals/lead male singer": "vocals",
        "vocals/background vocals": "vocals",
        "drums/full_acoustic_drumkit": "drums",
        "bass/bass_guitar": "bass",
        "guitar/clean_electric_guitar": "electric_guitar",
        "guitar/acoustic_guitar": "other",
        "guitar/lap steel or slide guitar": "electric_guitar",
        "wind/brass": "wind",
        "piano/grand_piano": "other",
    }
    song = collection.recordings[1]
    assert song.id == "0000-1"
    assert song.group == "Artist 0"
    assert song.tags["song"] == "Song 1"
    assert song.tags["has_bleed"] is True
    assert song.tracks[0].path == "0000-1/vocals/vocals0.wav"
    assert not song.split
    assert collection.splits.by == "group"


def test_classes_are_those_of_the_configurations(root):
    from sepjax.configs import chapter4, chapter6

    assert read(root).classes == chapter4.CLASSES
    assert read(root, classes="four").classes == chapter6.CLASSES


def test_four_classes_and_the_stems_of_the_set(root):
    four = classes(read(root, classes="four"))
    assert set(four.values()) == {"vocals", "drums", "bass", "other"}
    assert four["wind/brass"] == four["guitar/clean_electric_guitar"] == "other"
    stems = classes(read(root, classes="stems"))
    assert all(label.startswith(name + "/") for label, name in stems.items())
    assert all(class_of(f"{stem}/x", "stems") == stem for stem in STEMS)
    with pytest.raises(DataError, match="did you mean 'six'"):
        read_dataset("moisesdb", str(root), classes="sx")


def test_the_folder_itself_may_be_named(root):
    assert read(root / "moisesdb_v0.1") == read(root)


def test_tracks_with_bleed_may_be_left_out(tmp_path):
    write_moisesdb(tmp_path, bleed=("bass", "wind"))
    collection = read(tmp_path, bleed=False)
    kept = {label.split("/")[0] for label in classes(collection)}
    assert kept == {"vocals", "drums", "guitar", "piano"}
    assert collection.recordings[0].tags["has_bleed"] is True


def test_songs_of_bleed_alone_are_left_out(tmp_path):
    write_moisesdb(tmp_path)
    inner = tmp_path / "moisesdb_v0.1" / "0000-0" / "data.json"
    inner.write_text(inner.read_text().replace("false", "true"))
    with pytest.warns(UserWarning, match="every track has bleed: 0000-0"):
        collection = read_dataset("moisesdb", str(tmp_path), partial=True, bleed=False)
    assert [song.id for song in collection.recordings] == ["0000-1"]


def test_a_part_of_the_set_has_to_be_asked_for(root):
    with pytest.raises(DataError, match=f"{FEW}; partial=true"):
        read_dataset("moisesdb", str(root))


def test_counts_and_seed_of_the_splits(root):
    rules = read(root, seed=3, train=1, valid=1, test=-1).splits
    assert rules.seed == 3
    assert dict(rules.counts) == {"train": 1, "valid": 1, "test": -1}
    assert rules.by == "group"


def test_exclude(root):
    assert read(root, exclude=["0000-1"]).filters.exclude == ("0000-1",)
    with pytest.raises(DataError, match="no song '0000-7'"):
        read_dataset("moisesdb", str(root), partial=True, exclude="0000-7")


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    write_moisesdb(tmp_path, songs=5)
    base = tmp_path / "moisesdb_v0.1"
    (base / "0000-0" / "bass" / "bass0.wav").unlink()
    (base / "0000-0" / "wind" / "wind0.wav").write_bytes(b"")
    (base / "0000-1" / "data.json").unlink()
    (base / "0000-2" / "data.json").write_text("{")
    (base / "0000-3" / "data.json").write_text("[]")
    tree = json.loads((base / "0000-4" / "data.json").read_text())
    tree["stems"][0]["stemName"] = "vocal"
    tree["stems"][1]["tracks"] = ["kick"]
    tree["stems"].append(7)
    (base / "0000-4" / "data.json").write_text(json.dumps(tree))
    with pytest.raises(DataError) as caught:
        read_dataset("moisesdb", str(tmp_path), partial=True)
    message = str(caught.value)
    for told in (
        "8 problems",
        "0000-0/bass/bass0.wav: no such file",
        "0000-0/wind/wind0.wav: empty file",
        "0000-1/data.json: No such file",
        "0000-2/data.json: not readable",
        "0000-3/data.json: names with values are wanted, not '[]'",
        "unknown stem 'vocal': did you mean 'vocals'",
        "drums: names with values are wanted, not 'kick'",
        "stems: names with values are wanted, not '7'",
    ):
        assert told in message


@pytest.mark.parametrize("tree", [{}, {"stems": []}, {"stems": {"a": 1}}])
def test_songs_without_tracks(tmp_path, tree):
    folder = tmp_path / "0000-0"
    folder.mkdir()
    (folder / "data.json").write_text(json.dumps(tree | {"song": "a"}))
    with pytest.raises(DataError, match="no tracks"):
        read_dataset("moisesdb", str(tmp_path), partial=True)


def test_no_folder(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_dataset("moisesdb", str(tmp_path / "none"))
    with pytest.raises(DataError, match="needs the folder"):
        read_dataset("moisesdb", "")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder"):
        read_dataset("moisesdb", str(tmp_path / "file"))
    with pytest.raises(DataError, match="nothing is left"):
        read_dataset("moisesdb", str(tmp_path), partial=True)
    with pytest.raises(ValueError, match="no option 'class': did you mean 'classes'"):
        read_dataset("moisesdb", str(tmp_path), **{"class": "six"})
