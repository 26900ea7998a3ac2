import subprocess
import sys

import numpy as np
import pytest
import soundfile

from data_pipelines.manifest import DataError
from data_pipelines.pipeline import Data, open_data, summary
from sepjax.config import Config, resolve
from sepjax.models.tasnet.config import TasNetConfig


@pytest.fixture
def music(tmp_path, write_song) -> Config:
    """Five songs: a stereo one, a mono stem beside stereo, two rates, a FLAC."""
    root = tmp_path / "data"
    for index, name in enumerate("abcd"):
        write_song(root / name, ("vocals", "bass"), frames=3000 + 700 * index)
    write_song(root / "e", ("vocals", "bass"), 9000, rate=16000, suffix="flac")
    stereo, _ = soundfile.read(root / "a" / "bass.wav", dtype="int16")
    soundfile.write(root / "a" / "bass.wav", np.stack([stereo, -stereo], 1), 8000)
    config = Config(model=TasNetConfig())
    config.data.dataset, config.data.root = "folder", str(root)
    config.data.sources, config.data.chunk_seconds = ("vocals", "bass"), 0.5
    return resolve(config)


def test_both_feeders_from_the_same_door(music):
    batches = {}
    for feeder in ("resident", "streaming"):
        music.data.feeder = feeder
        batches[feeder] = list(open_data(music).train_batches(5, 12))
    for left, right in zip(batches["resident"], batches["streaming"], strict=True):
        for name in ("chunks", "gains", "channel"):
            np.testing.assert_array_equal(left[name], right[name], strict=True)
    assert left["chunks"].shape == (4, 2, 4000, 2)


def test_resuming_and_sharing_change_nothing(music):
    data = open_data(music)
    straight = list(data.train_batches(0, 6))
    resumed = list(data.train_batches(4, 6))
    shared = [list(data.train_batches(0, 6, index, 2)) for index in range(2)]
    for name in ("chunks", "gains", "channel"):
        np.testing.assert_array_equal(straight[4][name], resumed[0][name])
        both = np.concatenate([part[3][name] for part in shared])
        np.testing.assert_array_equal(straight[3][name], both)


def test_validation_reads_every_sample_once(music):
    data = open_data(music)
    (track,) = data.tracks("valid")
    batches = list(data.valid_batches(3))
    chunks, weight = (
        np.concatenate([batch[name] for batch in batches])
        for name in ("chunks", "weight")
    )
    count = -(-len(track.mixture) // data.chunk)
    assert weight.tolist() == [1.0] * count + [0.0] * (len(weight) - count)
    assert len(weight) % 3 == 0
    assert not chunks[count:].any()
    audio = chunks[:count].transpose(1, 0, 2, 3).reshape(2, -1, 2) / 32768
    references = np.broadcast_to(track.references, (2, len(track.mixture), 2))
    np.testing.assert_array_equal(audio[:, : len(track.mixture)], references)
    assert not audio[:, len(track.mixture) :].any()
    assert all((batch["channel"] == -1).all() for batch in batches)
    halves = [list(data.valid_batches(4, index, 2)) for index in range(2)]
    whole = list(data.valid_batches(4))
    for batch, *parts in zip(whole, *halves, strict=True):
        for name in batch:
            together = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(together, batch[name])


def test_tracks_are_whole_songs(music):
    tracks = {
        t.name: t
        for s in ("train", "valid", "test")
        for t in open_data(music).tracks(s)
    }
    assert {name: t.mixture.shape for name, t in tracks.items()} == {
        "a": (3000, 2),
        "b": (3700, 1),
        "c": (4400, 1),
        "d": (5100, 1),
        "e": (4500, 1),
    }
    song = tracks["b"]
    assert song.mixture.dtype == song.references.dtype == np.float32
    np.testing.assert_array_equal(song.mixture, song.references.sum(axis=0))
    stereo = tracks["a"]
    (left, right), (low, high) = stereo.references.transpose(0, 2, 1)
    np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(low, -high)


def test_the_distributed_mixture_is_the_one_evaluated(music, tmp_path):
    mixture = np.full((3700, 1), 77, np.int16)
    soundfile.write(tmp_path / "data" / "b" / "mixture.wav", mixture, 8000)
    (song,) = (t for t in open_data(music).tracks("train") if t.name == "b")
    np.testing.assert_array_equal(song.mixture * 32768, mixture)
    (meta,) = (t for t in open_data(music).manifest.tracks if t.name == "b")
    # The stems that it lacks are some 38 dB louder than this constant.
    assert 35 < meta.mixture_error < 42


def test_gain_and_pan_reach_the_references(odd_manifest):
    config = resolve(Config(model=TasNetConfig()))
    data = Data(config, odd_manifest, "")
    (loop, *_) = data.tracks("train")
    samples, _ = soundfile.read(odd_manifest.files[0].path)
    expected = samples[(17 + np.arange(20000)) % 5000, None] * np.float32([0.5, 1.0])
    np.testing.assert_array_equal(loop.references[0], expected)
    assert not loop.references[1].any()
    np.testing.assert_array_equal(loop.mixture, loop.references[0])


def test_a_chunk_longer_than_every_song_is_padded(music):
    music.data.chunk_seconds = 2.0
    music.train.batch_size = 16  # and a batch larger than the data
    batch = next(open_data(music).train_batches(0, 1))
    chunks = np.asarray(batch["chunks"])
    assert chunks.shape == (16, 2, 16000, 2)
    assert chunks[:, :, :3000].any(axis=(2, 3)).all()
    assert not chunks[:, :, 5100:].any()


def test_missing_splits_and_names(music, tmp_path, write_song):
    for name in "ab":
        write_song(tmp_path / "two" / "train" / name, ("vocals", "bass"))
    music.data.root = str(tmp_path / "two")
    data = open_data(music)
    assert next(data.train_batches(0, 1))
    with pytest.raises(DataError, match="no track in split 'test'"):
        data.tracks("test")
    music.data.dataset = "folders"
    with pytest.raises(ValueError, match="did you mean 'folder'"):
        open_data(music)


def test_track_names_are_those_that_were_read(music):
    data = open_data(music)
    songs = {t.name: t.references[0, :, 0] * 32768 for t in data.tracks("train")}
    for step, batch in enumerate(data.train_batches(7, 11), start=7):
        rows = np.asarray(batch["chunks"])[:, 0, :, 0]
        heard = {
            name for row in rows for name, song in songs.items() if _contains(song, row)
        }
        names = data.track_names(step)
        assert sorted(names) == sorted(heard)


def _contains(song: np.ndarray, row: np.ndarray) -> bool:
    row = np.trim_zeros(row, "b")[:50].astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(song, 50)
    return bool((views == row).all(axis=1).any())


def test_summary_counts(music):
    counts = summary(open_data(music).manifest)
    assert counts["train"] == {
        "tracks": 3,
        "hours": pytest.approx((3000 + 3700 + 4400) / 8000 / 3600),
        "vocals": 3,
        "bass": 3,
    }


def test_demo_opens(cache):
    data = open_data(resolve(Config(model=TasNetConfig())))
    batch = next(data.train_batches(0, 1))
    assert batch["chunks"].shape == (4, 4, 64000, data.manifest.file_channels)
    (track, *_) = data.tracks("test")
    np.testing.assert_array_equal(track.mixture, track.references.sum(axis=0))


WITHOUT = """
import sys
sys.modules["tensorflow"] = None
from data_pipelines.pipeline import open_data
from sepjax.config import from_dict
import json
for feeder in ("resident", "streaming"):
    config = from_dict(json.loads(sys.argv[1]))
    config.data.feeder = feeder
    data = open_data(config)
    print(next(data.train_batches(0, 1))["chunks"].shape)
    print(next(data.valid_batches(2)).keys())
"""


def test_no_feeder_needs_tensorflow(music):
    import json

    from sepjax.config import to_dict

    config = json.dumps(to_dict(music))
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT, config], capture_output=True, text=True
    )
    assert result.stdout.count("(4, 2, 4000, 2)") == 2, result.stderr


def test_the_first_batch_leaves_the_device_alone(music):
    data = open_data(music)
    assert data.resident_bytes > 0
    ahead = data.first_batch()
    assert "store" not in vars(data)
    batch = next(data.train_batches(0, 1))
    assert data.resident_bytes == data.store.blocks.nbytes
    assert sorted(ahead) == sorted(batch)
    for name in batch:
        assert isinstance(ahead[name], np.ndarray)
        np.testing.assert_array_equal(ahead[name], batch[name], strict=True)
    music.data.feeder = "streaming"
    assert open_data(music).resident_bytes == 0
