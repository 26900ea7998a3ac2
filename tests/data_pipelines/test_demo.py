"""The demo music: takes that loop and keep their levels, songs that are coherent."""

import json
from collections import Counter
from functools import cache
from itertools import product

import numpy as np
import pytest
import soundfile

from data_pipelines.songs import demo

LEVELS = {
    **{"vocals": -20, "drums": -17, "bass": -19},
    **{"electric_guitar": -21, "wind": -22, "other": -23},
}
INDEX = json.loads((demo.TAKES / "takes.json").read_text())
BY_PATH = {take["path"]: take for take in INDEX}


@cache
def samples(path: str) -> np.ndarray:
    wave, sample_rate = soundfile.read(demo.TAKES / path, dtype="float32")
    assert sample_rate == demo.SAMPLE_RATE
    return wave


@pytest.fixture(scope="module")
def manifest():
    return demo.build_manifest("", demo.CLASSES)


def test_index_lists_every_take_of_every_session_and_class():
    assert {take["path"] for take in INDEX} == {
        p.name for p in demo.TAKES.glob("*.flac")
    }
    counts = Counter((take["session"], take["class"]) for take in INDEX)
    assert set(counts) == set(product(range(8), demo.CLASSES))
    assert min(counts.values()) >= 2
    splits = {take["session"]: take["split"] for take in INDEX}
    assert splits == {**dict.fromkeys(range(6), "train"), 6: "valid", 7: "test"}


def test_takes_fit_into_twelve_megabytes():
    assert sum(path.stat().st_size for path in demo.TAKES.iterdir()) <= 12e6


def test_takes_of_a_session_are_loops_of_equal_length():
    for take in INDEX:
        assert samples(take["path"]).shape == (take["frames"],)
        assert take["frames"] % take["bars"] == 0
        seconds = take["bars"] * 4 * 60 / take["bpm"]  # bpm has three decimals
        assert take["frames"] / demo.SAMPLE_RATE == pytest.approx(seconds, rel=1e-5)
        assert 7 <= seconds <= 9.6
    lengths = {(take["session"], take["frames"]) for take in INDEX}
    assert len(lengths) == 8


@pytest.mark.parametrize("name", demo.CLASSES)
def test_takes_have_their_level_and_do_not_clip(name):
    for take in INDEX:
        if take["class"] == name:
            wave = samples(take["path"])
            level = 10 * np.log10(np.mean(wave.astype(float) ** 2))
            assert level == pytest.approx(LEVELS[name], abs=0.3), take["path"]
            assert np.abs(wave).max() <= 0.81, take["path"]


def test_takes_loop_without_a_seam():
    # A click would bend the wave more sharply than it bends within 10 ms around.
    for take in INDEX:
        wave = samples(take["path"])
        bends = np.abs(np.diff(np.concatenate([wave[-160:], wave[:160]]), n=2))
        seam = bends[158:160]  # those that need samples of both ends
        around = np.concatenate([bends[:158], bends[160:]])
        assert seam.max() <= max(2 * around.max(), 0.002), take["path"]


def test_takes_sound_in_every_bar():
    for take in INDEX:
        bars = samples(take["path"]).reshape(take["bars"], -1)
        loudness = 10 * np.log10(np.mean(bars.astype(float) ** 2, axis=1))
        assert loudness.min() > LEVELS[take["class"]] - 15, take["path"]


def test_programs_of_the_test_session_are_not_in_training():
    heard = {split: set() for split in ("train", "valid", "test")}
    for take in INDEX:
        heard[take["split"]].add((take["class"], take["program"]))
    assert not heard["test"] & (heard["train"] | heard["valid"])
    assert not heard["valid"] & heard["train"]


def test_songs_stay_within_their_session(manifest):
    for track in manifest.tracks:
        files = [manifest.files[stem.file] for stem in track.stems.values()]
        takes = [BY_PATH[file.path] for file in files]
        speeds = {file.sample_rate / demo.SAMPLE_RATE for file in files}
        assert len(speeds) == 1  # one tape for all
        assert track.split == "train" or speeds == {1.0}
        assert [take["class"] for take in takes] == list(track.stems)
        assert {f"session{take['session']}" for take in takes} == {track.group}
        assert {take["split"] for take in takes} == {track.split}
        bar = takes[0]["frames"] // takes[0]["bars"]
        assert track.frames % bar == 0
        assert 24 <= track.frames / files[0].sample_rate <= 32
        assert all(stem.loop and stem.start % bar == 0 for stem in track.stems.values())
        harmony = {s.start for name, s in track.stems.items() if name != "drums"}
        assert len(harmony) <= 1  # all change the chord together


def test_splits_share_no_session(manifest):
    groups = {s: {t.group for t in manifest.split(s)} for s in demo.SONGS}
    assert groups["train"] == {f"session{i}" for i in range(6)}
    assert groups["valid"] == {"session6"}
    assert groups["test"] == {"session7"}


def test_thousands_of_songs_differ(manifest):
    assert Counter(track.split for track in manifest.tracks) == demo.SONGS
    choices = {
        tuple((n, s.file, s.start) for n, s in track.stems.items())
        for track in manifest.split("train")
    }
    assert len(choices) > 3000  # even without their gains
    presence = Counter(name for track in manifest.tracks for name in track.stems)
    for name in demo.CLASSES:  # 4116 draws: five deviations are 0.03
        share = 1 - presence[name] / len(manifest.tracks)
        assert share == pytest.approx(demo.SILENCE, abs=0.03)
    heard = Counter(n for track in manifest.split("test") for n in track.stems)
    assert min(heard[name] for name in demo.CLASSES) >= 6


def test_a_song_is_a_function_of_seed_and_index(manifest):
    few = demo.build_manifest("", demo.CLASSES, songs={"train": 5, "test": 2})
    assert few.split("train") == manifest.split("train")[:5]
    assert few.split("test") == manifest.split("test")[:2]
    other = demo.build_manifest("", demo.CLASSES, songs={"train": 5}, seed=1)
    assert not set(map(repr, other.tracks)) & set(map(repr, few.tracks))


@pytest.mark.parametrize("sources", [("bass",), ("wind", "vocals", "drums")])
def test_a_subset_of_classes_keeps_the_rest_of_the_song(manifest, sources):
    subset = demo.build_manifest("", sources)
    assert subset.classes == sources
    for track, whole in zip(subset.tracks, manifest.tracks):
        assert track.stems  # never silent
        for name, stem in track.stems.items():
            if name in whole.stems:  # otherwise it was woken
                path = manifest.files[whole.stems[name].file].path
                assert subset.files[stem.file].path == path
                assert stem.gains == whole.stems[name].gains
                assert stem.start == whole.stems[name].start


def test_gains_are_within_range_and_pans_keep_the_power(manifest):
    stems = [s for track in manifest.tracks for s in track.stems.values()]
    power = np.mean(np.square([stem.gains for stem in stems]), axis=1)
    level = 10 * np.log10(power / demo.HEADROOM**2)
    assert np.abs(level).max() <= demo.GAIN + 1e-4
    assert level.std() == pytest.approx(2 * demo.GAIN / np.sqrt(12), rel=0.05)


def test_mixtures_stay_below_full_scale(manifest):
    for track in (*manifest.split("test"), *manifest.split("train")[:40]):
        mixture = np.zeros((track.frames, 2), np.float32)
        for stem in track.stems.values():
            wave = samples(manifest.files[stem.file].path)
            heard = np.resize(np.roll(wave, -stem.start), track.frames)
            mixture += heard[:, None] * np.float32(stem.gains)
        assert np.abs(mixture).max() < 1, track.name


def test_a_root_or_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match="leave root empty"):
        demo.build_manifest("/music", ("drums",))
    with pytest.raises(ValueError, match="did you mean 'electric_guitar'"):
        demo.build_manifest("", ("guitar", "drums"))


def test_notice_carries_the_licenses_owed():
    notice = (demo.TAKES.parent / "NOTICE").read_text()
    assert "THE SOFTWARE IS PROVIDED" in notice
    assert "Frank Wen" in notice
    assert "Michael Cowgill" in notice
    assert "nitech_jp_song070_f001" in notice
    assert "https://creativecommons.org/licenses/by/3.0/" in notice
