"""Distillation: stems of a teacher among the songs that train."""

import types

import numpy as np
import pytest
import soundfile

from data_pipelines.manifest import DataError
from data_pipelines.pipeline import at_speeds, open_data
from sepjax.config import Config, resolve
from sepjax.experiment import teacher as teaching
from sepjax.experiment.teacher import load_teacher, repeats
from sepjax.inference.separator import Separator
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.start import require_same_teacher

RATE = 8000


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Clicks and tones, which the teacher (median filters) tells apart."""
    monkeypatch.setenv("SEPJAX_CACHE", str(tmp_path / "cache"))
    time = np.arange(2 * RATE)
    for index, (split, name) in enumerate(
        (split, f"{split}{n}")
        for split, count in (("train", 2), ("valid", 1), ("test", 1))
        for n in range(count)
    ):
        folder = tmp_path / "songs" / split / name
        folder.mkdir(parents=True)
        clicks = np.where(time % (900 + 90 * index) < 8, 0.5, 0)
        tones = 0.2 * np.sin(2 * np.pi * (330 + 55 * index) * time / RATE)
        soundfile.write(folder / "percussive.wav", clicks, RATE)
        soundfile.write(folder / "harmonic.wav", tones, RATE)
    config = Config(model=TasNetConfig())
    data = config.data
    data.dataset, data.root = "folder", str(tmp_path / "songs")
    data.sources, data.chunk_seconds = ("percussive", "harmonic"), 0.25
    config.train.teacher = "hpss"
    return config


def opened(config):
    config = resolve(config)
    teacher = load_teacher(config)
    return open_data(config, songs=teacher.songs), teacher


def stem_of(data, track, name):
    file = data.manifest.files[track.stems[name].file]
    return soundfile.read(data.manifest.path(file))[0]


def test_training_songs_have_the_teachers_stems_which_sum_to_the_music(
    config, monkeypatch
):
    data, teacher = opened(config)
    tracks = {track.name: track for track in data.manifest.split("train")}
    assert list(tracks) == ["train0", "train1", "train0 (teacher)", "train1 (teacher)"]
    truth, taught = tracks["train1"], tracks["train1 (teacher)"]
    stems = {n: stem_of(data, taught, n) for n in config.data.sources}
    mixture = sum(stem_of(data, truth, n) for n in config.data.sources)
    np.testing.assert_allclose(sum(stems.values()), mixture, atol=2 / 32768)
    # The estimates of the public separator: the mixture is a float of 16-bit files.
    expected = Separator("hpss", total="exact")(mixture.astype(np.float32), RATE)
    for name, stem in stems.items():
        np.testing.assert_allclose(stem, expected[name], atol=1 / 32768)
    assert [len(data.manifest.split(s)) for s in ("valid", "test")] == [1, 1]
    assert len(teacher.facts["sha256"]) == 64
    # They are separated once.
    monkeypatch.setattr(teaching, "separate_array", None)  # a call would fail
    again, _ = opened(config)
    assert again.manifest.split("train") == data.manifest.split("train")


def test_a_stem_worse_than_the_mixture_is_not_learned(config, monkeypatch):
    def noise(ensemble, tracks, rate):
        rng = np.random.default_rng(0)
        wave = tracks[:, 0]
        return {"percussive": rng.normal(size=wave.shape), "harmonic": wave}

    monkeypatch.setattr(teaching, "separate_array", noise)
    data, _ = opened(config)
    truth, _, taught, _ = data.manifest.split("train")
    for name in config.data.sources:  # the mixture is no better than itself
        np.testing.assert_array_equal(
            stem_of(data, taught, name), stem_of(data, truth, name)
        )


def test_other_music_is_learned_at_the_rate_and_channels_of_the_data(config, tmp_path):
    music = tmp_path / "music"
    (music / "album").mkdir(parents=True)
    time = np.arange(44100) / 44100
    wave = 0.3 * np.sin(2 * np.pi * 500 * time)
    soundfile.write(music / "one.flac", np.stack([wave, wave], 1), 44100)
    for name in ("mixture", "harmonic"):  # a song with stems: its mixture alone
        soundfile.write(music / "album" / f"{name}.wav", wave, 44100)
    config.train.teacher_music, config.train.teacher_share = str(music), 1.0
    data, _ = opened(config)
    *own, first, second = data.manifest.split("train")
    assert [t.name for t in own] == ["train0 (teacher)", "train1 (teacher)"]
    tracks = first, second
    names = [t.name for t in tracks]
    assert names == ["album/mixture (teacher)", "music/one (teacher)"]
    assert [t.frames for t in tracks] == [RATE, RATE]
    harmonic = stem_of(data, tracks[1], "harmonic")
    assert harmonic.ndim == 1
    assert 0.2 < np.abs(harmonic).max() < 0.32
    batch = next(data.train_batches(0, 1))
    assert np.abs(batch["chunks"][:, 1].astype(float)).max() > 3000


def test_music_that_is_scored_is_not_learned_from(config, tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    noise = np.cumsum(np.random.default_rng(1).normal(size=20 * RATE)) % 1 - 0.5
    for name in config.data.sources:
        soundfile.write(tmp_path / f"songs/test/test0/{name}.wav", noise / 2, RATE)
    soundfile.write(music / "copy.wav", noise, RATE)
    config.train.teacher_music = str(music)
    data, _ = opened(config)
    with pytest.raises(DataError, match="test0"):
        data.require_unseen()


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"data.sources": ("vocals", "harmonic")}, ValueError, "'vocals'"),
        ({"train.teacher": "hps"}, OSError, "hpss"),
        ({"train.teacher_music": "nowhere"}, DataError, "not a folder"),
        ({"train.teacher_share": 0.0}, ValueError, "teacher_share"),
        ({"train.teacher": "", "train.teacher_music": "x"}, ValueError, "name train"),
        ({"data.speeds": (1.0,)}, ValueError, "speeds"),
        ({"data.speeds": (0.9, 0.9)}, ValueError, "more than once"),
    ],
)
def test_mistakes_are_told(config, fields, error, text):
    for name, value in fields.items():
        section, _, field = name.partition(".")
        setattr(getattr(config, section), field, value)
    with pytest.raises(error, match=text):
        opened(config)


def test_a_sum_of_classes_learns_the_teachers_stem(config):
    config.data.sums = ("harmonic=bass+organ",)
    stems = load_teacher(config).stems
    assert stems == {"percussive": "percussive", "bass": "harmonic"}


def test_a_run_goes_on_with_its_teacher_alone(tmp_path):
    record = {"provenance": {"teacher": {"sha256": "a" * 64}}}
    run = types.SimpleNamespace(folder=tmp_path, record=record)
    require_same_teacher(run, record["provenance"], False)
    for before in ({}, {"teacher": {"sha256": "b" * 64}}):
        with pytest.raises(CheckpointError, match="another teacher"):
            require_same_teacher(run, before, False)
        require_same_teacher(run, before, True)


def test_shares_are_near_what_is_asked():
    for own, taught, share in ((80, 5, 0.5), (3, 12, 0.25), (4, 4, 0.9)):
        once, again = repeats(own, taught, share)
        found = again * taught / (once * own + again * taught)
        assert abs(found - share) < 0.1, (own, taught, share)


def test_faster_songs_are_higher_and_shorter(config):
    config.train.teacher = ""
    config.data.speeds = (0.5, 2.0)
    data = open_data(resolve(config))
    tracks = {track.name: track for track in data.manifest.split("train")}
    assert [len(data.manifest.split(s)) for s in ("valid", "test")] == [1, 1]
    assert {n: t.frames for n, t in tracks.items() if "train0" in n} == {
        "train0": 2 * RATE,
        "train0 x 0.5": 4 * RATE,
        "train0 x 2": RATE,
    }
    for speed in (0.5, 2.0):
        wave = stem_of(data, tracks[f"train0 x {speed:g}"], "harmonic")
        peak = np.abs(np.fft.rfft(wave)).argmax() / len(wave) * RATE
        assert peak == pytest.approx(330 * speed, abs=1)
    assert at_speeds(data.manifest, ()) == data.manifest
