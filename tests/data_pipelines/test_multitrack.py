"""Songs of recorded tracks: what is found, and how it is made to fit."""

import numpy as np
import pytest
import soundfile

from data_pipelines.collections.collection import Collection, Output, Part, Recording
from data_pipelines.collections.file import write_collection
from data_pipelines.collections.multitrack import open_recordings
from data_pipelines.manifest import DataError

RATE = 8000


def write(path, value=1000, frames=50, channels=1, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full((frames, channels), value, np.int16), rate)


def test_files_and_folders_are_classes(tmp_path):
    write(tmp_path / "one" / "bass.wav")
    write(tmp_path / "one" / "mixture.wav")
    write(tmp_path / "one" / "drums" / "kick.flac", 5, frames=60, channels=2)
    write(tmp_path / "one" / "drums" / "snare.wav", 7, channels=3)
    write(tmp_path / "two" / "voice.wav", frames=3)
    (tmp_path / "two" / "notes").mkdir()
    (tmp_path / ".hidden").mkdir()
    classes, songs = open_recordings(str(tmp_path))
    assert classes == ("bass", "drums", "voice")
    assert [song.name for song in songs] == ["one", "two"]
    one, two = (song.read() for song in songs)
    assert [[track.shape for track in group] for group in one.tracks] == [
        [(60, 2)],
        [(60, 2), (60, 2)],
        [],
    ]
    assert one.tracks[0][0][[0, 49, 50], 1].tolist() == [1000, 1000, 0]
    assert one.tracks[1][1][0].tolist() == [7, 7]  # the mean of three channels
    assert [len(group) for group in two.tracks] == [0, 0, 1]
    assert two.tracks[2][0].shape == (3, 1)  # mono songs stay mono
    assert one.digest != two.digest


def test_sources_choose_and_order(tmp_path):
    for name in ("bass", "drums", "voice"):
        write(tmp_path / "one" / f"{name}.wav")
    classes, songs = open_recordings(str(tmp_path), ["voice", "bass"])
    assert classes == ("voice", "bass")
    assert len(songs[0].read().tracks) == 2
    with pytest.raises(DataError, match="drums"):
        open_recordings(str(tmp_path), ["drum"])


def test_capitals_and_what_systems_leave_make_no_difference(tmp_path):
    write(tmp_path / "one" / "Bass.WAV")
    write(tmp_path / "two" / "BASS" / "amp.wav")
    write(tmp_path / "two" / "Mixture.wav")
    write(tmp_path / "__MACOSX" / "one" / "bass.wav")
    classes, songs = open_recordings(str(tmp_path), ["bass"])
    assert (classes, [song.name for song in songs]) == (("bass",), ["one", "two"])
    assert [len(song.read().tracks[0]) for song in songs] == [1, 1]
    assert open_recordings(str(tmp_path))[0] == classes


def test_split_folders(tmp_path):
    write(tmp_path / "train" / "one" / "bass.wav")
    write(tmp_path / "validation" / "two" / "bass.wav")
    names = [song.name for song in open_recordings(str(tmp_path))[1]]
    assert names == ["train/one", "validation/two"]
    only = open_recordings(str(tmp_path), split="valid")[1]
    assert [song.name for song in only] == ["validation/two"]
    with pytest.raises(DataError, match="no split 'test'; split folders there: train"):
        open_recordings(str(tmp_path), split="test")


def test_float_files_beyond_full_scale_are_counted(tmp_path):
    (tmp_path / "one").mkdir()
    wave = np.array([0.5, 1.5, -2.0])
    soundfile.write(tmp_path / "one" / "bass.wav", wave, RATE, "FLOAT")
    loaded = open_recordings(str(tmp_path))[1][0].read()
    assert loaded.clipped == 2
    assert loaded.tracks[0][0].ravel().tolist() == [16384, 32767, -32768]


def test_problems_cost_one_song(tmp_path):
    write(tmp_path / "both" / "bass.wav")
    write(tmp_path / "both" / "bass.flac")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "rates" / "bass.wav")
    write(tmp_path / "rates" / "drums.wav", rate=44100)
    write(tmp_path / "torn" / "bass.wav")
    (tmp_path / "torn" / "bass.wav").write_bytes(b"RIFF")
    songs = {song.name: song for song in open_recordings(str(tmp_path))[1]}
    expected = {
        "both": "both bass.flac and bass.wav are 'bass'",
        "empty": "none of the classes bass, drums",
        "rates": "unequal sample rates: bass.wav 8000 Hz, drums.wav 44100 Hz",
        "torn": "bass.wav",
    }
    for name, message in expected.items():
        with pytest.raises(DataError, match=message):
            songs[name].read()


def test_a_folder_that_cannot_be_meant(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_recordings(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="holds no songs"):
        open_recordings(str(tmp_path))
    write(tmp_path / "bass.wav")
    with pytest.raises(DataError, match="name the folder above"):
        open_recordings(str(tmp_path))
    for index in range(40):
        write(tmp_path / "one" / f"take {index}.wav", frames=1)
    with pytest.raises(DataError, match="40 differently named stems"):
        open_recordings(str(tmp_path))


def test_demo_has_the_songs_of_the_demo_dataset():
    from data_pipelines.songs import demo

    classes, songs = open_recordings("demo", split="valid")
    manifest = demo.build_manifest("", classes, songs={"valid": 8})
    assert [song.name for song in songs] == [track.name for track in manifest.tracks]
    assert classes == demo.CLASSES
    loaded, track = songs[0].read(), manifest.tracks[0]
    assert [bool(group) for group in loaded.tracks] == [
        name in track.stems for name in classes
    ]
    assert loaded.sample_rate == demo.SAMPLE_RATE
    shapes = {t.shape for group in loaded.tracks for t in group}
    assert shapes == {(track.frames, 2)}


def test_a_collection_reads_the_same_tracks_as_a_folder(tmp_path):
    files = {"drum/a.wav": (300, 1), "drum/b.wav": (500, 2), "bass/c.flac": (400, 1)}
    for value, (name, shape) in enumerate(files.items(), start=1):
        write(tmp_path / "songs" / "one" / name, value, *shape)
    parts = tuple(Part(f"songs/one/{name}", name.split("/")[0]) for name in files)
    mine = Collection(
        *(("bass", "drum"), (Recording("one", parts, split="test"),)),
        root=str(tmp_path),
        output=Output(rate=RATE),
    )
    file = write_collection(mine, tmp_path / "mine.yaml")
    (classes, songs), (named, recordings) = (
        open_recordings(str(where)) for where in (tmp_path / "songs", file)
    )
    assert named == classes
    one, other = songs[0].read(), recordings[0].read()
    assert other.sample_rate == one.sample_rate
    assert [len(group) for group in other.tracks] == [1, 2]
    for group, same in zip(one.tracks, other.tracks):
        np.testing.assert_array_equal(group, same)
    with pytest.raises(DataError, match="did you mean 'drum'"):
        open_recordings(str(file), ["drums"])
    with pytest.raises(DataError, match="no recording has the split 'train'"):
        open_recordings(str(file), split="train")
