import dataclasses
import hashlib

import numpy as np
import pytest

from data_pipelines.feeding.schedule import (
    Plan,
    TrackTable,
    rows_of_process,
    shuffled_rows,
    take,
    track_table,
    train_plans,
    valid_plans,
    windows,
)
from sepjax.config import DataConfig

CONFIG = DataConfig(chunk_seconds=0.1, shuffle_fraction=0.0)  # 800 frames
SHUFFLED = dataclasses.replace(CONFIG, shuffle_fraction=0.5)


def long_tracks(tracks: int, frames: int = 8000, sources: int = 3) -> TrackTable:
    shape = (tracks, sources)
    return TrackTable(
        frames=np.full(tracks, frames),
        file=np.arange(tracks * sources).reshape(shape),
        start=np.zeros(shape, np.int64),
        loop=np.zeros(shape, bool),
        gains=np.ones((*shape, 2), np.float32),
        file_frames=np.full(tracks * sources, frames),
    )


def same(left: Plan, right: Plan) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("tracks", [1, 3, 7, 64])
def test_every_window_shows_the_same_plan(tracks):
    table = long_tracks(tracks)
    whole = train_plans(table, SHUFFLED, 5, 6, 0, 40)
    for start, stop in [(0, 1), (13, 29), (39, 40), (20, 20)]:
        part = train_plans(table, SHUFFLED, 5, 6, start, stop)
        assert same(part, take(whole, slice(start, stop)))


def test_each_pass_visits_each_track_once_in_an_order_of_its_own():
    plan = train_plans(long_tracks(7), CONFIG, 0, 2, 0, 70)
    passes = (plan.file[..., 0] // 3).reshape(20, 7)
    assert (np.sort(passes, axis=1) == np.arange(7)).all()
    assert len({tuple(order) for order in passes}) > 15  # of 5040, twenty drawn


def test_batch_larger_than_the_data_repeats_tracks():
    plan = train_plans(long_tracks(2), CONFIG, 0, 8, 0, 1)
    assert np.bincount(plan.file[0, :, 0] // 3).tolist() == [4, 4]


def test_draws_are_uniform_and_independent():
    plan = train_plans(long_tracks(4), CONFIG, 1, 8, 0, 2000)
    gain, start = plan.gains[..., 0].ravel(), plan.start[..., 0].ravel()
    assert 0.75 <= gain.min() < 0.751
    assert 1.249 < gain.max() <= 1.25
    # Five standard errors of the mean of 48000 gains and of 16000 starts.
    assert abs(gain.mean() - 1) < 5 * 0.5 / 12**0.5 / gain.size**0.5
    assert abs(start.mean() - 3600) < 5 * 7200 / 12**0.5 / start.size**0.5
    assert start.min() >= 0
    assert start.max() <= 7200
    assert set(np.unique(plan.channel)) == {0, 1}
    assert abs(plan.channel.mean() - 0.5) < 5 * 0.5 / plan.channel.size**0.5
    both = np.corrcoef(plan.gains[..., 0].reshape(-1, 3).T)
    assert np.abs(both - np.eye(3)).max() < 0.05
    # One start for all sources of a row: the music stays together.
    assert (plan.start == plan.start[..., :1]).all()


def test_other_seeds_and_steps_give_other_plans():
    table = long_tracks(4)
    plans = [train_plans(table, CONFIG, seed, 4, 0, 2) for seed in (1, 2)]
    assert not np.array_equal(plans[0].start, plans[1].start)
    assert not np.array_equal(plans[0].start[0], plans[0].start[1])


@pytest.mark.parametrize(
    ("config", "digest"),
    [(CONFIG, "e69a8e4a03f10c0d"), (SHUFFLED, "93422a76f2065267")],
)
def test_the_numbers_never_change(config, digest):
    # A run must resume on another machine and another NumPy: these bits are pinned.
    plan = train_plans(long_tracks(5), config, 42, 4, 1000, 1010)
    content = b"".join(field.tobytes() for field in plan)
    assert hashlib.sha256(content).hexdigest()[:16] == digest


@pytest.mark.parametrize(("batch", "mixed"), [(4, 2), (7, 4), (8, 4), (2, 0)])
def test_sources_move_to_rows_of_the_first_half_with_all_that_is_theirs(batch, mixed):
    table = long_tracks(20)
    plain, plan = (train_plans(table, c, 3, batch, 0, 50) for c in (CONFIG, SHUFFLED))
    for field, moved in zip(plain, plan):
        np.testing.assert_array_equal(moved[:, mixed:], field[:, mixed:])
    assert same(plain, plan) == (mixed < 2)

    # An excerpt is what a source of a row has in all fields together.
    def excerpts(some: Plan) -> list:
        fields = [np.atleast_3d(f.reshape(50, batch, 3, -1)) for f in some]
        rows = np.concatenate(fields, axis=-1)
        return [sorted(map(tuple, rows[s, :, c])) for s in range(50) for c in range(3)]

    assert excerpts(plain) == excerpts(plan)  # each is still heard once


def test_every_class_moves_by_a_draw_of_its_own():
    # With a batch of 4 two rows are mixed: a class stays, or the two are exchanged.
    rows = shuffled_rows(0.5, (4, 3), 0, 0, 4000)
    exchanged = rows[:, 0] == 1
    assert abs(exchanged.mean() - 0.5) < 5 * 0.5 / exchanged.size**0.5
    together = np.corrcoef(exchanged.T)
    assert np.abs(together - np.eye(3)).max() < 5 / 4000**0.5
    patterns = {tuple(row) for row in exchanged}
    assert len(patterns) == 8
    # Four rows of eight: all 24 orders of a class occur about equally often.
    orders, counts = np.unique(
        shuffled_rows(0.5, (8, 1), 0, 0, 4800)[:, :4, 0], axis=0, return_counts=True
    )
    assert len(orders) == 24
    assert np.abs(counts - 200).max() < 5 * 200**0.5


@pytest.mark.parametrize(
    ("rule", "expected"), [("mean", -1), ("left", 0), ("right", 1)]
)
def test_channel_rules(rule, expected):
    config = DataConfig(chunk_seconds=0.1, channel=rule)
    assert (train_plans(long_tracks(2), config, 0, 4, 0, 3).channel == expected).all()


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_processes_share_out_the_rows(count):
    rows = [np.arange(8)[rows_of_process(8, index, count)] for index in range(count)]
    assert np.concatenate(rows).tolist() == list(range(8))


def test_a_batch_that_cannot_be_shared_is_an_error():
    with pytest.raises(ValueError, match="batch_size=6 must be divisible by the 4"):
        rows_of_process(6, 0, 4)


def test_windows_cover_the_range():
    steps = [step for window in windows(5, 2100, 1000) for step in range(*window)]
    assert steps == list(range(5, 2100))


def test_validation_chunks_tile_every_track(odd_manifest):
    table = track_table(odd_manifest, odd_manifest.tracks)
    plan = valid_plans(table, 800)
    counts = -(-table.frames // 800)
    assert len(plan.file) == counts.sum()
    assert (plan.channel == -1).all()
    assert (plan.gains[plan.file >= 0].max(axis=-1) == 1).all()
    song = take(plan, slice(int(counts[:-1].sum()), None))
    assert song.start[:, 0].tolist() == [0, 800, 1600, 2400, 3200, 4000, 4800]
    # The song of 5000 frames ends inside its file of 9000.
    assert (song.stop == 5000).all()


def test_plans_are_fast_for_many_tracks():
    import time

    table = long_tracks(4096, sources=6)
    train_plans(table, CONFIG, 0, 8, 0, 10)
    begin = time.perf_counter()
    train_plans(table, CONFIG, 0, 8, 5000, 6000)
    # About 5 ms on a quiet core; a loop over rows would take a second.
    assert time.perf_counter() - begin < 0.2
