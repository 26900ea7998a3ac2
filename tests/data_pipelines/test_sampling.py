"""New songs from independent tracks, exchanged channels; nothing else has moved."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import soundfile

from data_pipelines.feeding import host, resident, streaming
from data_pipelines.feeding.schedule import (
    Plan,
    TrackTable,
    source_tracks,
    take,
    track_table,
    train_plans,
    valid_plans,
    visited_tracks,
)
from data_pipelines.manifest import DataError, Manifest
from data_pipelines.pipeline import open_data
from sepjax.config import Config, DataConfig, resolve
from sepjax.models.demucs.config import DemucsConfig
from sepjax.models.tasnet.config import TasNetConfig

CHUNK = 400
MIXED = DataConfig(chunk_seconds=CHUNK / 8000, mix="random", swap_channels=True)


def uneven(tracks: int = 9, sources: int = 3) -> TrackTable:
    """Tracks of other lengths than their files, loops, pans and absent stems."""
    rng = np.random.default_rng(7)
    shape, files = (tracks, sources), tracks * sources
    lengths = rng.integers(300, 20000, files)
    file = np.arange(files).reshape(shape)
    file[2, 1] = file[5, 0] = -1
    return TrackTable(
        frames=rng.integers(500, 9000, tracks),
        file=file,
        start=rng.integers(0, 250, shape),
        loop=rng.random(shape) < 0.4,
        gains=rng.uniform(0.5, 1, (*shape, 2)).astype(np.float32),
        file_frames=lengths,
    )


def even(tracks: int, frames: int = 8000, sources: int = 3) -> TrackTable:
    """Source c of track t is file ``t * sources + c``, of the track's length."""
    shape, files = (tracks, sources), tracks * sources
    return TrackTable(
        frames=np.full(tracks, frames),
        file=np.arange(files).reshape(shape),
        start=np.zeros(shape, np.int64),
        loop=np.zeros(shape, bool),
        gains=np.ones((*shape, 2), np.float32),
        file_frames=np.full(files, frames),
    )


def digest(plan: Plan) -> str:
    content = b"".join(field.tobytes() for field in plan)
    return hashlib.sha256(content).hexdigest()[:16]


@pytest.mark.parametrize(
    ("rule", "known"),
    [
        ("random", "55223ba04d83e918"),
        ("mean", "65d323ce03798557"),
        ("right", "679f0b09d3d2d085"),
    ],
)
def test_runs_from_before_these_options_go_on_with_the_same_batches(rule, known):
    # Of the schedule that knew but one way to mix.
    config = DataConfig(chunk_seconds=0.25, channel=rule, shuffle_fraction=0.0)
    assert digest(train_plans(uneven(), config, 3, 5, 70, 90)) == known


def test_validation_is_as_before():
    assert digest(valid_plans(uneven(), 700)) == "dc4710b0303b9f73"


def test_the_numbers_of_new_songs_never_change():
    options = dict(mix="random", swap_channels=True, shuffle_fraction=0.0)
    config = DataConfig(chunk_seconds=0.25, **options)
    plan = train_plans(uneven(), config, 3, 5, 70, 90, channels=2)
    assert digest(plan) == "856ef347beaee4b0"


def test_every_source_has_a_track_and_a_start_of_its_own():
    tracks, sources, rows = 5, 3, 4 * 3000
    plan = train_plans(even(tracks), MIXED, 1, 4, 0, 3000, channels=2)
    file, start = plan.file.reshape(rows, sources), plan.start.reshape(rows, sources)
    assert (file % sources == np.arange(sources)).all()
    track = file // sources
    # All 125 combinations, each within five standard errors of its frequency.
    cells = Counter(map(tuple, track.tolist()))
    share = np.array(list(cells.values())) / rows
    assert len(cells) == tracks**sources
    assert np.abs(share - 1 / 125).max() < 5 * (1 / 125 / rows) ** 0.5
    last = 8000 - CHUNK
    assert start.min() >= 0
    assert last - 5 < start.max() <= last
    error = (last + 1) / 12**0.5 / rows**0.5
    assert np.abs(start.mean(0) - last / 2).max() < 5 * error
    both = np.corrcoef(np.concatenate([start, track], axis=1).T)
    assert np.abs(both - np.eye(2 * sources)).max() < 5 / rows**0.5


def test_a_track_may_come_twice_in_a_song_and_others_not_at_all():
    track = source_tracks("random", (6, 4), 0, 2, 0, 500).reshape(-1, 4)
    alike = [len(set(row)) for row in track.tolist()]
    assert set(alike) == {1, 2, 3, 4}


@pytest.mark.parametrize("tracks", [1, 7])
def test_every_window_shows_the_same_new_songs(tracks):
    whole = train_plans(even(tracks), MIXED, 5, 6, 0, 40, channels=2)
    for start, stop in [(0, 1), (13, 29), (20, 20)]:
        part = train_plans(even(tracks), MIXED, 5, 6, start, stop, channels=2)
        for one, other in zip(part, take(whole, slice(start, stop)), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
    other = train_plans(even(7), MIXED, 6, 6, 0, 40)
    assert not np.array_equal(whole.file, other.file)


def test_short_tracks_begin_at_their_beginning():
    table = even(3)._replace(frames=np.array([100, 8000, CHUNK]))
    plan = train_plans(table, MIXED, 0, 8, 0, 50)
    track = plan.file // 3
    assert (plan.start[track != 1] == 0).all()
    assert (plan.stop[track == 0] == 100).all()
    assert plan.start[track == 1].any()


def test_a_source_is_as_often_absent_as_in_the_tracks():
    table = even(4)
    table.file[1:, 2] = -1
    plan = train_plans(table, MIXED, 2, 4, 0, 2000)
    absent = (plan.file == -1).mean((0, 1))
    assert absent[:2].tolist() == [0, 0]
    assert absent[2] == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 8000) ** 0.5)


def test_new_songs_have_gains_and_mono_channels_too():
    fixed = DataConfig(chunk_seconds=0.05, mix="random", gain_low=1, gain_high=1)
    plan = train_plans(even(4), fixed, 0, 4, 0, 100)
    assert (plan.gains == 1).all()
    assert set(np.unique(plan.channel)) == {0, 1}  # mono: data.channel="random"


@pytest.mark.parametrize("mix", ["track", "random"])
def test_channels_are_exchanged_in_half_of_the_sources(mix):
    config = DataConfig(chunk_seconds=0.05, mix=mix, swap_channels=True)
    plan = train_plans(even(4), config, 0, 8, 0, 1000, channels=2)
    channel = plan.channel.reshape(-1, 3)
    assert set(np.unique(channel)) == {0, 1}
    assert np.abs(channel.mean(0) - 0.5).max() < 5 * 0.5 / 8000**0.5
    both = np.corrcoef(channel.T)
    assert np.abs(both - np.eye(3)).max() < 5 / 8000**0.5


@pytest.mark.parametrize("rule", ["random", "mean", "right"])
def test_stereo_stays_as_it_is_whatever_mono_would_hear(rule):
    config = DataConfig(chunk_seconds=0.05, channel=rule)
    assert not train_plans(even(4), config, 0, 8, 0, 50, channels=2).channel.any()


@pytest.mark.parametrize("kind", ["resident", "streaming"])
def test_feeders_agree_on_new_songs(odd_manifest, kind):
    table = track_table(odd_manifest, odd_manifest.split("train"))
    plans = [train_plans(table, MIXED, 3, 8, 0, 6, channels=2)]
    plain = host.feed(odd_manifest, iter(plans), CHUNK)
    if kind == "streaming":
        batches = streaming.feed(odd_manifest, iter(plans), CHUNK)
    else:
        tracks = odd_manifest.split("train")
        store = resident.build_store(odd_manifest, tracks, CHUNK)
        batches = resident.feed(store, iter(plans), CHUNK)
    for one, other in zip(plain, batches, strict=True):
        assert one.keys() == other.keys() == {"chunks", "gains", "channel"}
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], strict=True)
    heard = plans[0].file[..., 0].ravel().tolist()
    assert len(set(heard)) > 2  # x sounds in three files, and is absent elsewhere


@pytest.fixture
def music(tmp_path, write_song) -> Config:
    """Five songs of two mono stems, six rows of two seeds of a stereo Demucs."""
    for index, name in enumerate("abcde"):
        write_song(tmp_path / "data" / name, ("vocals", "bass"), 2000 + 500 * index)
    config = Config(model=DemucsConfig(audio_channels=2))
    config.data.dataset, config.data.root = "folder", str(tmp_path / "data")
    config.data.sources, config.data.chunk_seconds = ("vocals", "bass"), 0.05
    config.data.mix, config.data.swap_channels = "random", True
    config.train.seeds, config.train.batch_size = 2, 6
    return resolve(config)


def test_resuming_and_sharing_new_songs(music):
    data = open_data(music)
    straight, resumed = list(data.train_batches(0, 5)), list(data.train_batches(3, 5))
    shared = [list(data.train_batches(0, 5, index, 2)) for index in range(2)]
    for name in ("chunks", "gains", "channel"):
        np.testing.assert_array_equal(straight[3][name], resumed[0][name])
        both = np.concatenate([part[4][name] for part in shared])
        np.testing.assert_array_equal(straight[4][name], both)


def test_track_names_are_those_of_all_sources(music):
    data = open_data(music)
    songs = [*data.tracks("train")]
    for step in range(3):
        (batch,) = data.train_batches(step, step + 1)
        chunks = np.asarray(batch["chunks"])[..., 0]
        heard = {
            song.name
            for row in chunks
            for chunk, reference in zip(row, song_references(songs))
            for song, wave in zip(songs, reference)
            if contains(wave, chunk)
        }
        assert set(data.track_names(step)) == heard
        assert len(data.track_names(step)) == len(heard)


def song_references(songs):
    """For each source its waves in all songs."""
    return zip(*(song.references[..., 0] * 32768 for song in songs))


def contains(wave: np.ndarray, chunk: np.ndarray) -> bool:
    views = np.lib.stride_tricks.sliding_window_view(wave, 20)
    return bool((views == chunk[:20]).all(axis=1).any())


def test_the_tracks_of_a_song_are_those_visited():
    visited = visited_tracks(7, 3, 4, 10, 20)
    found = source_tracks("track", (7, 3), 3, 4, 10, 20)
    np.testing.assert_array_equal(found, visited[..., None])


def test_exchanging_channels_needs_two():
    config = Config(model=TasNetConfig())
    config.data.swap_channels = True
    with pytest.raises(ValueError, match=r"swap_channels exchanges.*audio_channels=2"):
        resolve(config)
    config.data.mix = "tracks"
    with pytest.raises(ValueError, match=r"data\.mix='tracks': did you mean 'track'"):
        resolve(config)


def test_more_than_two_channels_are_no_stereo(music, tmp_path):
    for path in (tmp_path / "data").rglob("*.wav"):
        wave, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path, np.stack([wave] * 4, axis=1), rate)
    with pytest.raises(DataError, match="has 4 channels, a stereo model hears 2"):
        open_data(music)
    music.model.audio_channels = 1
    assert isinstance(open_data(music).manifest, Manifest)
