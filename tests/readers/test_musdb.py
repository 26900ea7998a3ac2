"""Layouts of MUSDB18; no audio is opened here, files of one byte do."""

import pytest

from data_pipelines.manifest import DataError
from data_pipelines.readers import read_dataset
from data_pipelines.readers.musdb import STREAMS, VALIDATION


def names(train=86, test=50):
    """The songs of the training folder, and those for testing."""
    first = [f"Artist {n // 2} - Song {n}" for n in range(train)]
    return [*VALIDATION, *first], [f"Tester {n} - Song" for n in range(test)]


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def write_stems(root, train=86, test=50):
    for folder, songs in zip(("train", "test"), names(train, test)):
        for song in songs:
            touch(root / folder / f"{song}.stem.mp4")
    return root


def write_hq(root, train=2, test=1):
    for folder, songs in zip(("train", "test"), names(train, test)):
        for song in songs:
            for name in STREAMS:
                touch(root / folder / song / f"{name}.wav")
    return root


def counts(collection):
    splits = [recording.split for recording in collection.recordings]
    return [splits.count(name) for name in ("train", "valid", "test")]


def test_the_official_split(tmp_path, recwarn):
    root = write_stems(tmp_path)
    touch(root / "train" / "._Leaf - Summerghost.stem.mp4")  # left by macOS
    found = read_dataset("musdb18", str(root))
    assert counts(found) == [86, 14, 50]
    assert not recwarn.list
    valid = [one.id for one in found.recordings if one.split == "valid"]
    assert sorted(valid) == sorted(VALIDATION)
    song = next(one for one in found.recordings if one.id == "Leaf - Summerghost")
    assert (song.group, song.tags["title"]) == ("Leaf", "Summerghost")
    assert {part.label: part.stream for part in song.tracks} == {
        "drums": 1,
        "bass": 2,
        "other": 3,
        "vocals": 4,
    }
    path = "train/Leaf - Summerghost.stem.mp4"
    assert (song.mixture.path, song.mixture.stream, song.mixture.label) == (path, 0, "")
    assert {part.path for part in song.tracks} == {path}
    assert (found.mix.mode, found.output.rate, song.sample_rate) == (
        *("summing", 44100, 44100),
    )


def test_the_sample_has_fewer_songs(tmp_path):
    assert counts(read_dataset("musdb18_7s", str(write_stems(tmp_path, train=80)))) == [
        *(80, 14, 50),
    ]
    with pytest.raises(DataError, match="'train' holds 94 songs instead of 100"):
        read_dataset("musdb18", str(tmp_path))


def test_what_is_missing_is_named(tmp_path):
    root = write_stems(tmp_path, test=49)
    (root / "train" / "Leaf - Summerghost.stem.mp4").unlink()
    (root / "train" / "Triviul - Angelsaint.stem.mp4").unlink()
    with pytest.raises(DataError) as error:
        read_dataset("musdb18", str(root))
    assert str(error.value).splitlines()[1:] == [
        "  'train' holds 98 songs instead of 100 (partial=true takes what is there)",
        "  'test' holds 49 songs instead of 50",
        "  no song 'Triviul - Angelsaint', which validates",
        "  no song 'Leaf - Summerghost', which validates",
    ]
    with pytest.warns(UserWarning, match="'test' holds 49 songs instead of 50"):
        found = read_dataset("musdb18", str(root), partial=True)
    assert counts(found) == [86, 12, 49]


@pytest.mark.filterwarnings("ignore:.*incomplete")
def test_hq(tmp_path):
    root = write_hq(tmp_path / "musdb18hq")
    found = read_dataset("musdb18hq", str(tmp_path), partial=True)  # the folder above
    assert counts(found) == [2, 14, 1]
    song = found.recordings[0]
    assert found.path(song.mixture) == root / "train" / song.id / "mixture.wav"
    assert [found.path(part).name for part in song.tracks] == [
        f"{name}.wav" for name in found.classes
    ]
    assert {part.stream for part in song.tracks} == {0}
    lost, empty = root / "train" / song.id, root / "test" / "Tester 0 - Song"
    (lost / "drums.wav").unlink()
    (empty / "mixture.wav").write_bytes(b"")
    with pytest.raises(DataError) as error:
        read_dataset("musdb18hq", str(root), partial=True)
    text = str(error.value)
    assert "2 problems" in text
    assert f"{lost / 'drums.wav'}: no such file" in text
    assert f"{empty / 'mixture.wav'}: empty file" in text


@pytest.mark.filterwarnings("ignore:.*incomplete")
def test_a_folder_of_validation_as_other_tools_want_it(tmp_path):
    root = write_hq(tmp_path)
    (root / "valid").mkdir()
    for name in VALIDATION:
        (root / "train" / name).rename(root / "valid" / name)
    assert counts(read_dataset("musdb18hq", str(root), partial=True)) == [2, 14, 1]
    for name in STREAMS:
        touch(root / "valid" / "Tester 0 - Song" / f"{name}.wav")
        touch(root / "test" / VALIDATION[0] / f"{name}.wav")
    with pytest.raises(DataError) as error:
        read_dataset("musdb18hq", str(root), partial=True)
    text = str(error.value)
    assert "'Tester 0 - Song' is in 'valid', but it is none of the official 14" in text
    assert "'Tester 0 - Song' is in 'valid' and in 'test'" in text
    assert f"'{VALIDATION[0]}' is in 'test', but it validates" in text


def test_songs_may_be_left_out(tmp_path):
    root = write_stems(tmp_path)
    found = read_dataset("musdb18", str(root), exclude="Leaf - Summerghost")
    assert found.filters.exclude == ("Leaf - Summerghost",)
    with pytest.raises(DataError, match="no song 'Leaf - Sumerghost': did you"):
        read_dataset("musdb18", str(root), exclude=["Leaf - Sumerghost"])


def test_folders_that_hold_something_else(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_dataset("musdb18", str(tmp_path / "a"))
    with pytest.raises(DataError, match="neither 'train' nor 'test': expected"):
        read_dataset("musdb18", str(tmp_path))
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="hold no <Artist - Title>"):
        read_dataset("musdb18", str(tmp_path), partial=True)
