"""From data sets as they are distributed to songs, with real audio in miniature."""

import dataclasses

import numpy as np
import pytest
import soundfile

from data_pipelines.audio.decode import open_part
from data_pipelines.collections.collection import Output
from data_pipelines.prepare import prepare
from data_pipelines.readers import demo_takes, read_dataset
from data_pipelines.readers.musdb import STREAMS
from tests.support.stem_file import tone, write_streams

FRAMES = 22050 + 5  # half a second


def decoded(path, stream=0):
    return np.concatenate(list(open_part(path, stream).blocks())) * 32768


def written(folder, song, name):
    return soundfile.read(folder / song / f"{name}.wav", dtype="int16")[0]


@pytest.mark.filterwarnings("ignore:.*incomplete")
def test_stem_files_become_what_they_decode_to(tmp_path):
    songs = {
        "train/A - One": 100,
        "train/Leaf - Summerghost": 150,
        "test/B - Two": 200,
    }
    for song, hertz in songs.items():
        path = tmp_path / "in" / f"{song}.stem.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_streams(path, [tone(hertz * k, FRAMES) for k in range(1, 6)])
    found = read_dataset("musdb18", str(tmp_path / "in"), partial=True)
    made = prepare(found, tmp_path / "out")
    assert made.header["counts"] == {"train": 1, "valid": 1, "test": 1}
    for song in songs:
        path = tmp_path / "in" / f"{song}.stem.mp4"
        place = song.replace("train/Leaf", "valid/Leaf")
        for stream, name in enumerate(STREAMS):
            np.testing.assert_array_equal(
                written(tmp_path / "out", place, name), decoded(path, stream)
            )
    # Its mixture is the distributed one, here a tone that is no sum at all.
    assert all(song["mixture_error"] > -10 for song in made.songs)


@pytest.mark.filterwarnings("ignore:.*incomplete")
def test_hq_becomes_itself(tmp_path, noise):
    waves = {name: noise(k, 1000, 2) for k, name in enumerate(STREAMS)}
    folder = tmp_path / "in" / "test" / "A - One"
    folder.mkdir(parents=True)
    for name, wave in waves.items():
        soundfile.write(folder / f"{name}.wav", wave, 44100)
    found = read_dataset("musdb18hq", str(tmp_path / "in"), partial=True)
    prepare(found, tmp_path / "out")
    for name, wave in waves.items():
        copy = written(tmp_path / "out", "test/A - One", name)
        np.testing.assert_array_equal(copy, wave)


def test_demo_as_karaoke_tracks(tmp_path):
    root = demo_takes.write_karaoke(tmp_path / "in", sessions=[0, 6])
    options = {"train": 2, "valid": 1, "test": 1}
    found = read_dataset("karaoke", str(root), **options)
    # As the takes are: no resampling, half the samples.
    found = dataclasses.replace(found, output=Output(rate=16000, channels=1))
    made = prepare(found, tmp_path / "out")
    assert not made.failed
    dropped = {s["song"]: s["reason"] for s in made.songs if s["split"] == "dropped"}
    # Of five songs the fifth has no wind; of two to test one is kept.
    assert dropped["Song 05"] == "has no track of wind"
    kept = {s["song"]: s for s in made.songs if s["song"] not in dropped}
    assert sum(song["split"] == "test" for song in kept.values()) <= 1
    for name, song in kept.items():
        assert song["absent"] == []
        assert song["mixture_error"] < -60  # what rounding to 16 bits leaves
        assert song["group"] == ("session 6" if name == "Song 04" else "session 0")
    song = kept[next(iter(kept))]
    folder = tmp_path / "out" / song["split"] / song["song"]
    take = soundfile.read(root / song["song"] / "alto sax.flac")[0]
    wind = soundfile.read(folder / "wind.wav")[0]
    factor = song["factors"]["wind"]
    assert np.abs(wind - factor * take).max() <= 1 / 32768  # rounded twice


def test_demo_as_concerts(tmp_path):
    root = demo_takes.write_concerts(tmp_path / "in", sessions=[6, 7])
    found = read_dataset("montreux", str(root), train=2, valid=0, test=2)
    found = dataclasses.replace(found, output=Output(rate=16000, channels=2))
    made = prepare(found, tmp_path / "out")
    assert made.header["counts"] == {"train": 2, "test": 2}
    assert [song["song"] for song in sorted(made.songs, key=lambda s: s["song"])] == [
        *("concert1 - song1", "concert1 - song2"),
        *("concert2 - song1", "concert2 - song2"),
    ]
    for song in made.songs:
        # One factor for a concert and all of its classes.
        assert len({*song["factors"].values(), song["mixture_factor"]}) == 1
        assert song["frames"] == (136960 if "concert1" in song["song"] else 132480)
    song = next(s for s in made.songs if s["song"] == "concert1 - song1")
    take = soundfile.read(root / "concert1" / "drums.flac")[0].mean(axis=1)
    folder = tmp_path / "out" / song["split"] / song["song"]
    drums = soundfile.read(folder / "drums.wav")[0]
    expected = song["factors"]["drums"] * take[: song["frames"], None]
    assert drums.shape == (song["frames"], 2)
    assert np.abs(drums - expected).max() <= 1 / 32768


def test_the_command_that_writes_the_demo(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo_takes, "SESSIONS", [7])
    demo_takes.main([str(tmp_path)])
    out = capsys.readouterr().out
    assert f"sepjax prepare karaoke --root {tmp_path}/karaoke -s train=12" in out
    assert f"sepjax prepare montreux --root {tmp_path}/concerts -o live" in out
    assert (tmp_path / "karaoke" / "tracks.csv").is_file()
    assert (tmp_path / "concerts" / "intervals.csv").is_file()
