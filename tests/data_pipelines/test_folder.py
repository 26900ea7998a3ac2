import dataclasses
import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_pipelines import registry
from data_pipelines.collections.collection import (
    Collection,
    Part,
    Recording,
    SplitRules,
)
from data_pipelines.manifest import DataError
from data_pipelines.pipeline import open_data, silent_classes
from data_pipelines.prepare import prepare
from data_pipelines.songs import folder
from data_pipelines.songs.folder import build_manifest
from data_pipelines.songs.layouts import find_songs
from sepjax.config import resolve
from sepjax.configs import chapter4
from sepjax.experiment.run import _announce

REAL = Path(__file__).parents[3] / "shared/data/remixed8k"
STEMS = ("vocals", "bass")


def splits(manifest):
    return {track.name: track.split for track in manifest.tracks}


@pytest.mark.parametrize("suffix", ["wav", "flac", "WAV"])
@pytest.mark.parametrize("mixture", [True, False])
def test_split_folders(tmp_path, write_song, suffix, mixture):
    for split in ("train", "Validation", "test"):
        song = tmp_path / "data" / split / f"song-{split}"
        write_song(song, STEMS, mixture=mixture, suffix=suffix)
        (song / "cover.jpg").touch()
        (song / "._vocals.wav").touch()
        soundfile.write(song / "accompaniment.wav", np.zeros(5), 44100)
    manifest = build_manifest(str(tmp_path / "data"), STEMS)
    assert splits(manifest) == {
        "song-train": "train",
        "song-Validation": "valid",
        "song-test": "test",
    }
    for track in manifest.tracks:
        assert track.frames == 800
        assert set(track.stems) == set(STEMS)
        assert (track.mixture is not None) == mixture
        assert track.mixture_error == -math.inf


def test_songs_with_more_classes_are_trained_on(tmp_path, write_song):
    for name in "abcdefg":
        song = write_song(tmp_path / "data" / name, STEMS)
        if name not in "cfg":
            soundfile.write(song / "bass.wav", np.zeros(800), 8000)
    manifest = build_manifest(str(tmp_path / "data"), STEMS)
    assert splits(manifest) == dict(zip("cfgabde", ["train"] * 5 + ["valid", "test"]))
    # A file of silence counts as an absent class, and is not read again.
    assert [track.name for track in manifest.tracks if "bass" in track.stems] == [
        *"cfg"
    ]
    assert len(manifest.files) == 7 * 3 - 4


def test_without_a_validation_folder_training_songs_validate(tmp_path, write_song):
    for name in "abcde":
        write_song(tmp_path / "data" / "train" / name, STEMS)
    write_song(tmp_path / "data" / "test" / "z", STEMS)
    manifest = build_manifest(str(tmp_path / "data"), STEMS)
    assert splits(manifest) == dict.fromkeys("abcd", "train") | {
        "e": "valid",
        "z": "test",
    }


def test_sources_select_classes(tmp_path, write_song):
    for name in "abc":
        write_song(tmp_path / "data" / name, ("vocals", "bass", "drums"), mixture=False)
    manifest = build_manifest(str(tmp_path / "data"), ("drums", "vocals"))
    assert manifest.classes == ("drums", "vocals")
    assert len(manifest.files) == 6


def test_mixture_error_is_measured(tmp_path, write_song, noise):
    for name in "abc":
        write_song(tmp_path / "data" / name, STEMS)
    path = tmp_path / "data" / "b" / "mixture.wav"
    mixture, _ = soundfile.read(path, dtype="int16", always_2d=True)
    other = noise(9, 800) // 10
    soundfile.write(path, mixture + other, 8000)
    energies = [np.square(x.astype(float)).sum() for x in (other, mixture + other)]
    errors = {
        track.name: track.mixture_error
        for track in build_manifest(str(tmp_path / "data"), STEMS).tracks
    }
    assert errors["a"] == errors["c"] == -math.inf
    assert errors["b"] == pytest.approx(10 * math.log10(energies[0] / energies[1]))


def test_a_song_of_silence_is_legal(tmp_path, write_song):
    for name in "abc":
        song = write_song(tmp_path / "data" / name, STEMS)
    for stem in (*STEMS, "mixture"):
        soundfile.write(song / f"{stem}.wav", np.zeros(800), 8000)
    manifest = build_manifest(str(tmp_path / "data"), STEMS)
    assert [len(track.stems) for track in manifest.tracks] == [2, 2, 0]
    assert manifest.tracks[-1].mixture_error == -math.inf


def test_everything_wrong_is_reported_together(tmp_path, write_song, noise):
    root = tmp_path / "data"
    songs = [write_song(root / f"song{i}", STEMS) for i in range(10)]
    (songs[0] / "bass.wav").unlink()
    soundfile.write(songs[1] / "bass.wav", noise(0, 799), 8000)
    soundfile.write(songs[2] / "bass.wav", noise(0, 800), 16000)
    (songs[3] / "bass.wav").write_bytes(b"")
    path = songs[4] / "bass.wav"
    path.write_bytes(path.read_bytes()[:-100])
    (songs[5] / "bass.wav").write_text("MP3 by another name")
    soundfile.write(songs[6] / "bass.wav", np.full(800, np.nan), 8000, "FLOAT")
    soundfile.write(songs[7] / "bass.flac", noise(0, 800), 8000)
    for stem, channels in {"vocals": 2, "bass": 6}.items():
        soundfile.write(songs[8] / f"{stem}.wav", noise(0, 800, channels), 8000)
    with pytest.raises(DataError) as error:
        build_manifest(str(root), STEMS)
    lines = str(error.value).splitlines()
    assert "9 problems" in lines[0]
    for line, *parts in zip(
        lines[1:],
        [f"song{i}" for i in range(9)],
        (
            "missing stem 'bass'; WAV and FLAC files there: mixture.wav, vocals.wav",
            "unequal length (frames): vocals 800, bass 799, mixture 800",
            "unequal sample rate (Hz): vocals 8000, bass 16000, mixture 8000",
            "bass.wav: empty file",
            "bass.wav: truncated",
            "bass.wav: not readable as audio",
            "bass.wav: NaN or infinite sample at 0.000 s",
            "both bass.flac and bass.wav; keep one",
            "unequal channels: vocals 2, bass 6",
        ),
        strict=True,
    ):
        assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.write_text("x"), "is not a folder"),
        (lambda root: root.mkdir(), "holds no songs"),
    ],
)
def test_no_songs_to_be_found(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(DataError, match=f"{tmp_path}/data {message}"):
        build_manifest(str(tmp_path / "data"), STEMS)


def test_hints_for_common_mistakes(tmp_path, write_song):
    with pytest.raises(DataError, match=r"set config\.data\.root"):
        build_manifest("", STEMS)
    song = write_song(tmp_path / "data" / "one", STEMS)
    with pytest.raises(DataError, match="looks like a song itself: name the folder"):
        build_manifest(str(song), STEMS)
    write_song(tmp_path / "data" / "two", STEMS)
    with pytest.raises(DataError, match=r"2 song\(s\) cannot fill the splits"):
        build_manifest(str(tmp_path / "data"), STEMS)


def test_reading_happens_once_until_a_file_changes(tmp_path, write_song, monkeypatch):
    root = str(tmp_path / "data")
    for name in "abc":
        song = write_song(tmp_path / "data" / name, STEMS)
    first, reads = build_manifest(root, STEMS), []
    measure = folder._measure
    monkeypatch.setattr(
        folder, "_measure", lambda *args: reads.append(args) or measure(*args)
    )
    assert build_manifest(root, STEMS) == first
    assert not reads
    soundfile.write(song / "vocals.wav", np.zeros(800), 8000)
    assert build_manifest(root, STEMS).digest() != first.digest()
    assert len(reads) == 3


@pytest.mark.skipif(not REAL.exists(), reason="needs the real recordings beside us")
def test_real_recordings_keep_their_only_bass_in_training():
    manifest = build_manifest(str(REAL), ("drums", "bass", "other", "vocals"))
    assert splits(manifest) == {
        "sodium": "train",
        "francium": "train",
        "hydrogen": "train",
        "potassium": "valid",
        "rubidium": "test",
    }
    assert [track.name for track in manifest.tracks if "bass" in track.stems] == [
        "sodium"
    ]
    assert all(track.mixture_error == -math.inf for track in manifest.tracks)


def test_a_missing_file_is_silence_where_that_is_said(tmp_path, write_song):
    root, classes = tmp_path / "data", (*STEMS, "wind")
    for name in "abcdef":
        write_song(root / name, classes if name in "ab" else STEMS)
    write_song(root / "alone", ["piano"])
    with pytest.raises(DataError, match=r"c: missing stem 'wind'.*missing=silence"):
        registry.build_manifest("folder", str(root), classes)
    with pytest.warns(UserWarning, match="1 songs have none of vocals.*: alone"):
        manifest = registry.build_manifest("folder", str(root), classes, "silence")
    sounding = [track.name for track in manifest.tracks if "wind" in track.stems]
    assert (sounding, len(manifest.tracks)) == (["a", "b"], 6)
    assert manifest.tracks[0].mixture is not None
    assert silent_classes(manifest) == [
        "class 'wind' sounds in no track of valid: it has no score there",
        "class 'wind' sounds in no track of test: it has no score there",
    ]
    with pytest.raises(DataError, match=r"'winds', .* did you mean 'wind'"):
        registry.build_manifest("folder", str(root), (*STEMS, "winds"), "silence")
    demo = registry.build_manifest("demo", "", ("drums",), "silence")  # takes no such
    assert demo == registry.build_manifest("demo", "", ("drums",))


def test_the_thesis_songs_lack_classes(tmp_path, write_song, capsys):
    for number in range(6):
        lacking = chapter4.CLASSES[number]
        stems = [name for name in chapter4.CLASSES if name != lacking]
        write_song(tmp_path / "data" / f"song{number}", stems, mixture=False)
    config = chapter4.get_config("all_data")
    config.data.root = str(tmp_path / "data")
    data = open_data(resolve(config))
    assert [len(track.stems) for track in data.manifest.tracks] == [5] * 6
    _announce(data, [])
    printed = capsys.readouterr()
    assert "valid: tracks 1, hours" in printed.out
    assert "note: class 'wind' sounds in no track of valid: it has no" in printed.err
    config = chapter4.get_config("all_instruments")
    config.data.root = str(tmp_path / "data")
    with pytest.raises(DataError, match=r"no song of train .* has all of vocals"):
        open_data(resolve(config))


def test_prepared_songs_lack_classes_as_well(tmp_path, write_song):
    recordings = []
    for number in range(6):
        stems = [n for n in chapter4.CLASSES if n != chapter4.CLASSES[number]]
        folder = write_song(tmp_path / "in" / f"song{number}", stems, mixture=False)
        parts = tuple(Part(f"{folder.name}/{name}.wav", name) for name in stems)
        recordings.append(Recording(folder.name, parts))
    rules = SplitRules(counts={"train": 4, "valid": 1, "test": 1})
    mine = Collection(chapter4.CLASSES, tuple(recordings), root=str(tmp_path / "in"))
    prepare(dataclasses.replace(mine, splits=rules), tmp_path / "out")
    config = chapter4.get_config("all_data")
    config.data.dataset, config.data.root = "prepared", str(tmp_path / "out")
    config.data.chunk_seconds, config.train.batch_size = 0.1, 4
    data = open_data(resolve(config))
    assert [len(track.stems) for track in data.manifest.tracks] == [5] * 6
    (valid,) = data.tracks("valid")
    silent = [n for n, w in zip(valid.classes, valid.references) if not w.any()]
    assert silent == [chapter4.CLASSES[int(valid.name.removeprefix("song"))]]
    sounding = data.first_batch()["chunks"].any(axis=(2, 3))
    assert not sounding.all()
    assert sounding.any(axis=1).all()


def test_capitals_accents_and_what_systems_leave_make_no_difference(
    tmp_path, write_song
):
    """The layouts of evaluation are those of training."""
    root = tmp_path / "data"
    for name in ("a", "b", "Fiance\u0301"):
        song = write_song(root / name, STEMS)
        (song / "vocals.wav").rename(
            song / ("VOCALS.WAV" if name == "a" else "Vocals.wav")
        )
        (song / "bass.wav").rename(song / f"{name}_bass.wav")
        (song / "._bass.wav").write_bytes(b"\0\5\x16\7")
        (song / ".DS_Store").touch()
    for junk in ("__MACOSX/a", "@eaDir", ".git"):
        (root / junk).mkdir(parents=True)
        (root / junk / "._vocals.wav").write_bytes(b"\0\5\x16\7")
        (root / junk / "vocals.wav").write_bytes(b"\0\5\x16\7")
    manifest = build_manifest(str(root), STEMS)
    assert {track.name for track in manifest.tracks} == {"a", "b", "Fianc\u00e9"}
    assert all(set(track.stems) == set(STEMS) for track in manifest.tracks)
    (root / "a" / "vocals.flac").touch()
    with pytest.raises(DataError, match=r"both VOCALS\.WAV and vocals\.flac; keep one"):
        build_manifest(str(root), STEMS)


def test_equal_names_in_two_splits_are_two_songs(tmp_path, write_song):
    for split in ("train", "valid", "test"):
        write_song(tmp_path / "data" / split / "Intro", STEMS)
    write_song(tmp_path / "data" / "train" / "b", STEMS)
    manifest = registry.build_manifest("folder", str(tmp_path / "data"), STEMS)
    names = {"Intro (train)": "train", "Intro (valid)": "valid"}
    assert splits(manifest) == names | {"Intro (test)": "test", "b": "train"}


def test_flat_songs_are_songs(tmp_path, write_song):
    for split in ("train", "valid", "test"):
        for name in STEMS:
            song = write_song(tmp_path / split / name, [name], mixture=False)
            path = tmp_path / "data" / split / f"my_{split}_{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            (song / f"{name}.wav").rename(path)
        (path.parent / "notes.wav").touch()
    manifest = build_manifest(str(tmp_path / "data"), STEMS)
    assert splits(manifest) == {f"my_{s}": s for s in ("train", "valid", "test")}


def test_folders_that_are_no_songs_are_told(tmp_path, write_song):
    for name in "abc":
        write_song(tmp_path / "data" / "train" / name, STEMS)
    write_song(tmp_path / "data" / "beside", STEMS)
    (tmp_path / "data" / "train" / "empty").mkdir()
    with pytest.warns(UserWarning, match="2 folders are not read.*: beside, train/emp"):
        manifest = build_manifest(str(tmp_path / "data"), STEMS)
    assert len(manifest.tracks) == 3


def test_a_link_to_a_file_that_is_gone_is_no_silence(tmp_path, write_song):
    for name in "abc":
        song = write_song(tmp_path / "data" / name, STEMS)
    (song / "bass.wav").unlink()
    (song / "bass.wav").symlink_to(tmp_path / "gone.wav")
    with pytest.raises(DataError, match=r"c/bass\.wav: No such file"):
        build_manifest(str(tmp_path / "data"), STEMS, "silence")


def test_names_that_are_not_utf8_are_told(tmp_path, write_song):
    for name in "ab":
        write_song(tmp_path / "data" / name, STEMS)
    song = write_song(tmp_path / "data" / "c", STEMS)
    song.rename(song.with_name(os.fsdecode(b"caf\xe9")))
    with pytest.raises(DataError, match=r"'caf\\udce9' is not UTF-8.*rename it"):
        build_manifest(str(tmp_path / "data"), STEMS)


def test_a_damaged_memory_is_read_anew(tmp_path, write_song, cache):
    for name in "abc":
        write_song(tmp_path / "data" / name, STEMS)
    first = build_manifest(str(tmp_path / "data"), STEMS)
    (memory,) = (cache / "manifests").iterdir()
    for text in (memory.read_text()[:100], "[]", "{}", '{"classes": 3}', "\0"):
        memory.write_text(text)
        assert build_manifest(str(tmp_path / "data"), STEMS) == first


def test_a_lossy_copy_beside_a_stem_is_no_second_one(tmp_path):
    (tmp_path / "one").mkdir()
    for name in ("one/vocals.wav", "one/vocals.mp3", "a_song_Straße.wav"):
        soundfile.write(tmp_path / name, np.zeros(4000), 8000)
    songs = find_songs(tmp_path, ["vocals", "strasse"])
    assert [path.name for path in songs["", "one"]["vocals"]] == ["vocals.wav"]
    assert list(songs["", "a_song"]) == ["strasse"]
