"""A test song that is trained on under another name: refused, or SEEN."""

import dataclasses
import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from data_pipelines.audio.canonical import cache_folder
from data_pipelines.audio.files import probe
from data_pipelines.collections.multitrack import _read_demo
from data_pipelines.doctor import listening
from data_pipelines.doctor.overlap import trained_twins
from data_pipelines.doctor.same_audio import same_audio
from data_pipelines.feeding.host import load_track
from data_pipelines.manifest import DataError, Manifest, Stem, Track, check
from data_pipelines.pipeline import open_data
from data_pipelines.songs import demo
from data_pipelines.songs.folder import build_manifest
from sepjax.config import Config, resolve
from sepjax.evaluation import run
from sepjax.evaluation.tables import summary
from sepjax.models.tasnet.config import TasNetConfig

CLASSES = ("drums", "vocals")
RATE = demo.SAMPLE_RATE


class Halves:
    """A model that calls half of the mixture drums, half vocals."""

    sources = CLASSES
    sample_rate = 8000
    audio_channels, needs_sources, cpu_batch_seconds = 1, False, 0.0
    tiling = streaming = None

    def prepared(self, variables):
        return variables

    def apply(self, _, mixture):
        return SimpleNamespace(estimates=jnp.stack([mixture / 2, mixture / 2], 1))


@pytest.fixture(scope="module")
def songs():
    """Short songs of three sessions, as stems (time, channels) of 16 bits."""
    manifest = demo.build_manifest("", CLASSES, songs={"train": 60})
    found = {}
    for track in manifest.tracks:
        plain = all(
            manifest.files[s.file].sample_rate == RATE for s in track.stems.values()
        )
        if len(track.stems) == 2 and plain and len(found) < 4:
            short = dataclasses.replace(track, frames=12 * RATE)
            tracks = _read_demo(manifest, short).tracks
            found.setdefault(track.group, dict(zip(CLASSES, (t[0] for t in tracks))))
    return list(found.values())


def save(root, name, stems, gain=1.0, start=0):
    folder = root / name
    folder.mkdir(parents=True)
    for stem, wave in stems.items():
        wave = np.rint(gain * wave[start:].astype(float)).astype(np.int16)
        soundfile.write(folder / f"{stem}.wav", wave, RATE)


def config(root, **data):
    settings = Config(model=TasNetConfig())
    settings.data.dataset, settings.data.root = "folder", str(root)
    settings.data.sources = CLASSES
    for name, value in data.items():
        setattr(settings.data, name, value)
    return resolve(settings)


@pytest.fixture
def leaky(tmp_path, songs):
    """The test song is a training song: softer, cut and under another name."""
    root = tmp_path / "data"
    save(root, "train/one", songs[0])
    save(root, "train/two", songs[1])
    save(root, "valid/three", songs[2])
    save(root, "test/renamed", songs[1], gain=0.5, start=3217 * RATE // 1000)
    return root


def test_training_refuses_a_song_under_two_names(leaky):
    data = open_data(config(leaky))
    with pytest.raises(DataError, match="1 track of valid or test would be") as error:
        data.require_unseen()
    assert "test/renamed and train/two: 100 % of the shorter" in str(error.value)
    assert "allow_overlap=True" in str(error.value)


def test_forced_training_says_seen_in_every_score(leaky, tmp_path):
    settings = config(leaky, allow_overlap=True)
    data = open_data(settings)
    assert data.require_unseen() == ["renamed: same audio as train/two"]
    assert data.seen == {"one": "", "two": "", "renamed": "same audio as train/two"}
    results = run.evaluate(
        Halves(),
        {},
        settings,
        data.tracks("test"),
        workdir=tmp_path / "run",
        seen=data.seen,
        provenance={},
        progress=False,
    )
    (track,) = json.loads((tmp_path / "run/results.json").read_text())["tracks"]
    assert track["seen"] is True
    assert track["seen_because"] == "same audio as train/two"
    shown = summary(results)
    assert "SEEN in training (1): renamed (same audio as train/two)" in shown


def test_songs_that_are_not_trained_on_are_no_twins(leaky):
    """``data.songs`` takes the first ones: the twin is left out."""
    data = open_data(config(leaky, songs=1))
    assert data.require_unseen() == []
    assert data.seen == {"one": ""}


def test_a_clean_set_is_trained_on(tmp_path, songs):
    for split, song in zip(("train", "valid", "test"), songs):
        save(tmp_path / "data", f"{split}/{split}", song)
    assert open_data(config(tmp_path / "data")).require_unseen() == []


def test_the_same_files_are_not_compared_by_ear(tmp_path, songs, monkeypatch):
    for name in ("train/a", "test/b"):
        save(tmp_path / "data", name, songs[0])
    save(tmp_path / "data", "valid/c", songs[1])
    monkeypatch.setattr(listening.matching, "shared_part", None)
    data = open_data(config(tmp_path / "data"))
    with pytest.raises(DataError, match="test/b and train/a: the same files"):
        data.require_unseen()


def test_songs_are_listened_to_once(leaky, monkeypatch):
    first = open_data(config(leaky)).twins

    def never(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(listening, "mono_wave", never)
    monkeypatch.setattr(listening.matching, "candidates", never)
    again = open_data(config(leaky)).twins
    assert again == first
    assert set(again) == {"renamed"}


def test_listening_is_announced_where_no_progress_is_shown(leaky, capsys):
    for _ in range(2):
        assert open_data(config(leaky)).twins
    save(leaky, "test/new", {name: np.ones((9000, 2)) * 999 for name in CLASSES})
    assert open_data(config(leaky)).twins
    told = capsys.readouterr().err.splitlines()
    assert told == ["listening to 4 songs, once", "listening to 1 song, once"]


@pytest.mark.parametrize("content", ["empty", "foreign", "numbers", "archive"])
def test_a_damaged_memory_counts_as_absent(leaky, content):
    first = open_data(config(leaky)).twins
    for path in (cache_folder() / "fingerprints").glob("*.npy"):
        with path.open("wb") as file:
            if content == "foreign":
                file.write(b"not an array")
            elif content == "numbers":
                np.save(file, np.zeros((3, 2)))
            elif content == "archive":
                np.savez(file, np.zeros((2, 2), np.uint32))
    for path in (cache_folder() / "fingerprints/sets").iterdir():
        path.write_text("[1]" if content == "foreign" else "")
    assert open_data(config(leaky)).twins == first


def test_a_verdict_is_remembered_with_its_offsets(leaky, tmp_path):
    manifest = build_manifest(str(leaky), CLASSES)
    tracks = {track.name: track for track in manifest.tracks}
    listener = listening.Listener(manifest, tmp_path / "fingerprints")
    pair = tracks["renamed"], tracks["two"]
    right = (round(3.217 * 8000 / 256),)
    assert listener._share(*pair, (0,)) == 0.0
    assert listener._share(*pair, right) == 1.0
    assert listener._share(*pair, (0,)) == 0.0


def test_one_file_of_four_is_partly_the_same(tmp_path, songs, noise):
    """The same drums, other vocals: told by the files, and no reason to refuse."""
    root = tmp_path / "data"
    save(root, "train/a", songs[0])
    save(root, "valid/v", songs[1])
    other = noise(0, len(songs[0]["drums"]), 2)
    extra = {"vocals": other, "bass": other[::-1], "wind": -other}
    save(root, "test/b", {"drums": songs[0]["drums"]} | extra)
    for name in ("train/a", "valid/v"):
        for stem in ("bass", "wind"):
            wave = noise(len(name) + len(stem), len(songs[0]["drums"]), 2)
            soundfile.write(root / name / f"{stem}.wav", wave, RATE)
    manifest = build_manifest(str(root), (*CLASSES, "bass", "wind"))
    (pair,) = same_audio(manifest, manifest.split("test"), manifest.split("train"))
    assert (pair.by, pair.share, pair.same) == ("files", 0.25, False)
    assert pair.how == "1 of 4 stems is the same file"


@pytest.fixture
def bands(noise):
    """Waves of noise, of 16 bits in stereo and of any level."""

    def make(seed, gain=1.0):
        return np.rint(gain * noise(seed, 6 * RATE, 2)).astype(np.int16)

    return make


def pair_of(root, train, test):
    save(root, "train/a", train)
    save(root, "test/b", test)
    manifest = build_manifest(str(root), tuple(train))
    pairs = same_audio(manifest, manifest.split("test"), manifest.split("train"))
    return {(pair.by, pair.share, pair.same, pair.how) for pair in pairs}


def test_half_of_the_files_is_not_enough(tmp_path, bands):
    """A click track in two songs; what sounds over it is listened to."""
    click = bands(0, 0.02)
    songs = [{"click": click, "vocals": bands(seed)} for seed in (1, 2)]
    half = ("files", 0.5, False, "1 of 2 stems is the same file")
    assert pair_of(tmp_path / "other", *songs) == {half}
    softer = songs[0] | {"vocals": bands(1, 0.7)}
    heard = ("audio", 1.0, True, "100 % of the shorter one is the same audio")
    assert pair_of(tmp_path / "copy", songs[0], softer) == {heard}


def test_more_than_half_of_the_files_is_enough(tmp_path, bands):
    songs = [{"bass": bands(0), "drums": bands(1), "vocals": bands(s)} for s in (2, 3)]
    ((by, share, same, how),) = pair_of(tmp_path, *songs)
    assert (by, same, how) == ("files", True, "2 of 3 stems are the same files")
    assert share == pytest.approx(2 / 3)


def test_silent_files_are_no_reason(tmp_path, bands):
    """All songs without bass and drums have the same files there."""
    hushed = np.ones((6 * RATE, 2), np.int16)  # one step of 16 bits: -90 dBFS
    silent = {"bass": hushed, "drums": 0 * hushed}
    songs = [silent | {"vocals": bands(seed)} for seed in (1, 2)]
    assert not pair_of(tmp_path / "other", *songs)
    both = pair_of(tmp_path / "same", songs[0], songs[0])
    assert both == {("files", 1.0, True, "the same files")}


def test_channels_that_cancel_are_heard(tmp_path, bands):
    opposed = {"vocals": bands(0)[:, :1] * np.int16([1, -1])}
    copy = {"vocals": np.round(0.7 * opposed["vocals"]).astype(np.int16)}
    found = pair_of(tmp_path, opposed, copy)
    assert [(by, same) for by, _, same, _ in found] == [("audio", True)]


def test_the_most_alike_of_two_twins_is_named(tmp_path, bands):
    """Of ``valid`` as well as of ``test``."""
    root, other = tmp_path / "data", bands(1)
    song = np.concatenate([bands(0), bands(2)])
    part = np.concatenate([song[: 8 * RATE], other])
    save(root, "train/a", {"vocals": part})
    save(root, "train/b", {"vocals": np.concatenate([song, other])})
    for split, gain in (("valid", 0.5), ("test", 0.6)):
        save(root, f"{split}/copy-{split}", {"vocals": song}, gain)
    found = trained_twins(build_manifest(str(root), ("vocals",)))
    assert {name: pair.second.name for name, pair in found.items()} == {
        "copy-valid": "b",
        "copy-test": "b",
    }


def test_what_is_remembered_of_a_file_is_of_these_frames_and_gains(tmp_path, noise):
    path = tmp_path / "concert.wav"
    soundfile.write(path, noise(0, 20 * 8000, 2), 8000)

    def song(name, start=0, gains=(1.0,)):
        stems = {"x": Stem(0, start * 8000, gains=gains)}
        return Track(name, "train", "", 8 * 8000, stems)

    tracks = song("first"), song("second", 10), song("left", gains=(1.0, 0.0))
    files = (probe(str(path)),)
    manifest = check(Manifest("concert", "", 8000, 2, ("x",), files, tracks))
    listener = listening.Listener(manifest, tmp_path / "fingerprints", jobs=1)
    prints = [found.hashes.tolist() for found in listener.fingerprints(tracks)]
    assert prints[0] != prints[1]
    assert prints[0] != prints[2]


def test_songs_of_one_concert_share_a_file_but_no_audio(tmp_path, noise):
    path = tmp_path / "concert.wav"
    soundfile.write(path, noise(0, 40 * 8000), 8000)
    tracks = [
        Track(name, split, "", 10 * 8000, {"x": Stem(0, start * 8000)})
        for name, split, start in (
            *(("first", "train", 0), ("second", "test", 10), ("third", "test", 28)),
            ("again", "test", 4),
        )
    ]
    files = (probe(str(path)),)
    manifest = check(Manifest("concert", "", 8000, 1, ("x",), files, tuple(tracks)))
    pairs = same_audio(manifest, manifest.split("test"), manifest.split("train"))
    assert [(p.first.name, p.by, p.share, p.same) for p in pairs] == [
        ("again", "files", 0.6, True)
    ]


def test_songs_of_loops_are_compared_by_their_takes(noise, tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "mono_wave", None)  # not listened to
    files = []
    for number in range(3):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, noise(number, 4000), 8000)
        files.append(probe(str(path)))

    def song(name, split, *takes, start=0):
        stems = {f"s{i}": Stem(t, start, True, (0.5,)) for i, t in enumerate(takes)}
        return Track(name, split, "", 16000, stems)

    tracks = (
        song("a", "train", 0, 1),
        song("b", "train", 0, 2),
        song("c", "test", 1, 0, start=1000),
        song("d", "test", 1, 2),
    )
    classes = ("s0", "s1")
    manifest = check(Manifest("loops", "", 8000, 1, classes, tuple(files), tracks))
    pairs = same_audio(manifest, manifest.split("test"), manifest.split("train"))
    assert [(p.first.name, p.second.name, p.by) for p in pairs] == [("c", "a", "takes")]


def test_the_demo_is_clean_without_listening(monkeypatch):
    monkeypatch.setattr(listening, "mono_wave", None)
    manifest = demo.build_manifest("", demo.CLASSES)
    held_out = [track for track in manifest.tracks if track.split != "train"]
    assert same_audio(manifest, held_out, manifest.split("train")) == []


def test_all_with_all_names_every_pair_once(leaky):
    manifest = build_manifest(str(leaky), CLASSES)
    pairs = same_audio(manifest, manifest.tracks, manifest.tracks)
    assert [{p.first.name, p.second.name} for p in pairs] == [{"renamed", "two"}]


def test_the_mixture_is_what_is_listened_to(leaky, songs):
    """Blocks of any size, resampled: the mono sum of a song."""
    manifest = build_manifest(str(leaky), CLASSES)
    track = next(track for track in manifest.tracks if track.name == "two")
    wave = listening.mono_wave(manifest, track)
    whole = load_track(manifest, track).mixture.mean(axis=1)
    assert len(wave) == len(whole) // 2
    # soxr keeps the band below 3.6 kHz; compared where both have it.
    spectra = [np.fft.rfft(each)[: 3500 * 12] for each in (2 * wave, whole)]
    np.testing.assert_allclose(*spectra, atol=1e-3 * abs(spectra[1]).max())


def test_parts_where_all_classes_sound_are_seen_as_their_songs(leaky, songs):
    """``data.all_sound`` gives songs other names: twins and epochs are of songs."""
    save(leaky, "valid/again", songs[0], gain=0.5)
    cut = {"all_sound": True, "chunk_seconds": 1.0, "valid_seconds": 1.0}
    data = open_data(config(leaky, allow_overlap=True, **cut))
    assert data.songs("train") == ["one", "two"]
    parts = [track.name for track in data.manifest.split("valid")]
    again = {name for name in parts if name.startswith("again at ")}
    assert again
    assert {data.seen[name] for name in again} == {"same audio as train/one"}
    assert {*parts} - again == {name for name in parts if name not in data.seen}
    assert data.seen["renamed"] == "same audio as train/two"
