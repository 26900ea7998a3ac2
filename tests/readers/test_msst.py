"""The four layouts of MSST in miniature, told apart, and songs that validate."""

import pytest

from data_pipelines.manifest import DataError
from data_pipelines.readers import read_dataset
from data_pipelines.readers.msst import infer_type
from tests.support.layouts import write_audio, write_songs


def read(root, **options):
    return read_dataset("msst", str(root), **options)


def songs(collection):
    return {
        song.id: [(part.label, part.path) for part in song.tracks]
        for song in collection.recordings
    }


@pytest.mark.parametrize("kind", [1, 4])
def test_songs_of_stems(tmp_path, kind):
    write_songs(tmp_path, suffix="flac")
    write_audio(tmp_path / "one" / "mixture.flac")
    collection = read(tmp_path, type=kind)
    assert collection.classes == ("drums", "vocals")
    assert songs(collection) == {
        name: [(stem, f"{name}/{stem}.flac") for stem in ("drums", "vocals")]
        for name in ("one", "two")
    }
    assert {song.split for song in collection.recordings} == {"train"}
    assert collection.recordings[0].mixture is None
    assert collection.mix.mode == "summing"


def test_files_of_unrelated_songs(tmp_path):
    write_songs(tmp_path, ("vocals", "drums"), ("a", "b"))
    write_audio(tmp_path / "drums" / "c.flac")
    assert songs(read(tmp_path, type=2)) == {
        "drums - a": [("drums", "drums/a.wav")],
        "drums - b": [("drums", "drums/b.wav")],
        "drums - c": [("drums", "drums/c.flac")],
        "vocals - a": [("vocals", "vocals/a.wav")],
        "vocals - b": [("vocals", "vocals/b.wav")],
    }


def test_a_table_of_files(tmp_path):
    write_songs(tmp_path / "music")
    far = write_audio(tmp_path / "far.wav")
    table = tmp_path / "lists" / "train.csv"
    table.parent.mkdir()
    rows = ["instrum,path", "vocals,../music/one/vocals.wav"]
    rows += ["vocals,../music/two/vocals.wav", f"drums,{far}"]
    table.write_text("\n".join(rows))
    music = tmp_path / "music"
    assert songs(read(table)) == {
        "vocals - one - vocals": [("vocals", str(music / "one" / "vocals.wav"))],
        "vocals - two - vocals": [("vocals", str(music / "two" / "vocals.wav"))],
        "drums - far": [("drums", str(far))],
    }
    table.write_text("\n".join([*rows, "drums,none.wav", "bass,"]))
    with pytest.raises(DataError, match=r"line 6: no value(.|\n)*none.wav: no such"):
        read(table)
    table.write_text("instrum,file\n")
    with pytest.raises(DataError, match="no column 'path'"):
        read(table)
    table.write_text("instrum,path\n")
    with pytest.raises(DataError, match="no files are listed"):
        read(table)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "none.csv")


def test_songs_that_validate_have_mixtures(tmp_path):
    write_songs(tmp_path / "train")
    valid = write_songs(tmp_path / "valid", ("three", "four"))
    with pytest.raises(DataError, match=r"2 problems(.|\n)*mixture.wav: no such file"):
        read(tmp_path / "train", valid=str(valid))
    write_audio(valid / "three" / "mixture.wav")
    write_audio(valid / "four" / "mixture.flac")
    collection = read(tmp_path / "train", valid=str(valid))
    splits = {song.id: song.split for song in collection.recordings}
    assert splits == dict(one="train", two="train", three="valid", four="valid")
    four = collection.recordings[2]
    assert four.mixture.path == str(valid / "four" / "mixture.flac")
    # A song in both would be heard in training.
    write_songs(tmp_path / "train", ("four",))
    with pytest.raises(DataError, match="2 recordings have the id 'four'"):
        read(tmp_path / "train", valid=str(valid))


def test_chosen_classes(tmp_path):
    write_songs(tmp_path)
    write_songs(tmp_path, ("three",), ("drums",))
    with pytest.warns(UserWarning, match="without any of the classes: three"):
        collection = read(tmp_path, classes="vocals")
    assert songs(collection) == {
        name: [("vocals", f"{name}/vocals.wav")] for name in ("one", "two")
    }
    assert read(tmp_path, classes=["vocals", "drums"]).classes == ("vocals", "drums")
    with pytest.raises(DataError, match="did you mean 'vocals'"):
        read(tmp_path, classes=["vocal"])


def test_mixtures_of_songs_that_lose_a_stem_are_computed(tmp_path):
    valid = write_songs(tmp_path / "valid", ("three",))
    write_audio(valid / "three" / "mixture.wav")
    write_songs(tmp_path / "train")
    collection = read(tmp_path / "train", valid=str(valid), classes=["drums"])
    assert collection.recordings[-1].mixture is None


def test_layouts_are_told_apart(tmp_path):
    write_songs(tmp_path / "a", stems=("vocals", "bass_guitar", "mixture"))
    write_songs(tmp_path / "b", ("Vocals", "other"), ("take 1", "x"))
    assert infer_type(str(tmp_path / "a")) == 1
    assert infer_type(str(tmp_path / "b")) == 2
    assert infer_type("table.CSV") == 3


@pytest.mark.parametrize(
    ("folders", "files"),
    [(("one",), ("left",)), (("vocals", "drums"), ("vocals", "drums")), ((), ())],
)
def test_unclear_layouts_have_to_be_said(tmp_path, folders, files):
    write_songs(tmp_path, folders, files)
    with pytest.raises(DataError, match="say type=1"):
        read(tmp_path)


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    write_songs(tmp_path)
    write_audio(tmp_path / "one" / "vocals.flac")
    (tmp_path / "two" / "drums.wav").write_bytes(b"")
    (tmp_path / "three").mkdir()
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    message = str(caught.value)
    for told in (
        "3 problems",
        "one: two files of stem 'vocals'; keep one",
        "drums.wav: empty file",
        "three: no WAV or FLAC files of stems",
    ):
        assert told in message


def test_songs_taken_for_classes(tmp_path):
    write_songs(tmp_path, [f"song {n}" for n in range(33)], ("x",))
    with pytest.raises(DataError, match=r"33 stems by name.*is type=2 right"):
        read(tmp_path, type=2)


def test_types_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="type=5 must be one of 1, 2, 3, 4"):
        read(tmp_path, type=5)
    for kind, told in ((1, "expected <song>/<stem>"), (2, "expected <stem>/<file>")):
        with pytest.raises(DataError, match=told):
            read(tmp_path, type=kind)


def test_capitals_make_no_difference(tmp_path):
    write_songs(tmp_path / "train", ("one", "two"), ("vocals", "drums"))
    write_songs(tmp_path / "valid", ("three",), ("Vocals", "DRUMS", "mixture"))
    found = read_dataset(
        "msst",
        str(tmp_path / "train"),
        valid=str(tmp_path / "valid"),
        classes=["Drums"],
    )
    assert found.classes == ("drums",)
    names = [(one.id, one.split, one.tracks[0].label) for one in found.recordings]
    assert names == [
        ("one", "train", "drums"),
        ("two", "train", "drums"),
        ("three", "valid", "drums"),
    ]
