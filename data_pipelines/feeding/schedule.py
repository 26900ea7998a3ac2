"""The schedule: which samples every chunk of every step reads; feeders read them.

A pure function of (seed, step): a counter-based generator (Philox) gives every step
its own numbers, so a run resumes from its step number alone, and a batch depends
neither on the feeder nor on the number of processes.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines.manifest import Manifest, Stem, Track
from sepjax.config import DataConfig

# Independent streams of random numbers under one seed.
_CHUNKS, _ORDER, _MIX, _SHUFFLE = 1, 2, 3, 7
LIVE, LIVE_VALID, LIVE_TRACK = 4, 5, 6  # of concerts, data_pipelines/feeding/live.py


class Plan(NamedTuple):
    """Chunks to be read; leading axes (steps, batch) or (batch,).

    Frame ``t`` of a chunk is frame ``p = start + t`` of the file, modulo the file's
    length if ``loop``, and zero where ``p >= stop`` or ``file == -1``. The schedule
    keeps ``0 <= start < file's length``, and ``stop <= file's length`` unless looping.
    """

    file: np.ndarray  # int32 (..., sources), -1: silence
    start: np.ndarray  # int32 (..., sources)
    stop: np.ndarray  # int32 (..., sources)
    loop: np.ndarray  # bool (..., sources)
    gains: np.ndarray  # float32 (..., sources, channels)
    channel: np.ndarray  # int32 (..., sources), the first one heard, -1: all alike

    def augmentation(self) -> dict[str, np.ndarray]:
        """Return arrays for :mod:`sepjax.functional.augment`, beside the audio."""
        return {"gains": self.gains, "channel": self.channel}


class TrackTable(NamedTuple):
    """The tracks of a split as arrays, so that planning is vectorised."""

    frames: np.ndarray  # int64 (tracks,)
    file: np.ndarray  # int64 (tracks, sources), -1: silence
    start: np.ndarray  # int64 (tracks, sources)
    loop: np.ndarray  # bool (tracks, sources)
    gains: np.ndarray  # float32 (tracks, sources, channels)
    file_frames: np.ndarray  # int64 (files,)


def track_table(manifest: Manifest, tracks: tuple[Track, ...]) -> TrackTable:
    """Arrays of the given tracks; classes in the manifest's order."""
    shape = (len(tracks), len(manifest.classes))
    file, start = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    loop = np.zeros(shape, bool)
    gains = np.zeros((*shape, manifest.channels), np.float32)
    silence = Stem(-1)
    for row, track in enumerate(tracks):
        for column, name in enumerate(manifest.classes):
            stem = track.stems.get(name, silence)
            file[row, column], start[row, column] = stem.file, stem.start
            loop[row, column], gains[row, column] = stem.loop, stem.gains
    frames = np.array([track.frames for track in tracks], np.int64)
    lengths = np.array([file.frames for file in manifest.files], np.int64)
    return TrackTable(frames, file, start, loop, gains, lengths)


def train_plans(
    table: TrackTable,
    config: DataConfig,
    seed: int,
    batch_size: int,
    start_step: int,
    stop_step: int,
    channels: int = 1,
) -> Plan:
    """Plan steps ``start_step`` to ``stop_step - 1``, the same in every window.

    A chunk starts uniformly in its track; with ``config.mix`` "random" every source
    has a track (:func:`source_tracks`) and a start of its own. Every source gets its
    own gain and its own channel: if training hears one of the ``channels``, that of
    ``config.channel`` (thesis 5.1), if two, the one that becomes the left, which
    ``config.swap_channels`` draws. Then sources move to other rows
    (:func:`shuffled_rows`), with their gains and channels.

    Returns:
        A plan with leading axes (steps, batch).
    """
    steps, sources = stop_step - start_step, table.file.shape[1]
    track = source_tracks(
        config.mix, table.file.shape, seed, batch_size, start_step, stop_step
    )
    starts = track.shape[-1]
    shape = batch_size, starts + 2 * sources
    words = uniform(seed, _CHUNKS, start_step, steps, *shape)
    place, gain, channel = np.split(words, [starts, starts + sources], axis=-1)

    chunk = round(config.chunk_seconds * config.sample_rate)
    spare = np.maximum(table.frames[track] - chunk, 0)
    offset = np.floor(place * (spare + 1)).astype(np.int64)
    low, high = config.gain_low, config.gain_high
    gain = (low + (high - low) * gain).astype(np.float32)
    stereo = "random" if config.swap_channels else "left"
    rule = config.channel if channels == 1 else stereo
    channels = table.gains.shape[-1]
    if rule == "random":
        channel = np.floor(channel * channels)
    else:
        fixed = {"mean": -1, "left": 0, "right": channels - 1}
        channel = np.full(channel.shape, fixed[rule])
    plan = _cut(table, track, offset, gain, channel)
    shape = (batch_size, sources)
    donor = shuffled_rows(config.shuffle_fraction, shape, seed, start_step, stop_step)
    if donor is None:
        return plan
    return take(plan, (np.arange(steps)[:, None, None], donor, np.arange(sources)))


def shuffled_rows(
    fraction: float, shape: tuple[int, int], seed: int, start_step: int, stop_step: int
) -> np.ndarray | None:
    """Draw the row from which every source of every row comes: new songs from old.

    Among the first ``n = floor(fraction * batch + 1/2)`` rows of a step, each source
    is dealt out anew by a permutation of its own, drawn from (seed, step), so that
    every excerpt still occurs once (thesis 5.1). The other rows stay as they are.

    Returns:
        int64 (steps, batch, sources), of which ``shape`` is (batch, sources); None
        where nothing moves.

    Example:
        >>> rows = shuffled_rows(0.5, (8, 3), 42, 0, 1)[0]
        >>> np.sort(rows[:4, 1]), rows[4:, 1]
        (array([0, 1, 2, 3]), array([4, 5, 6, 7]))
    """
    batch, sources = shape
    mixed, steps = int(fraction * batch + 0.5), stop_step - start_step
    if mixed < 2:
        return None
    rows = np.tile(np.arange(batch)[:, None], (steps, 1, sources))
    words = uniform(seed, _SHUFFLE, start_step, steps, mixed, sources)
    rows[:, :mixed] = np.argsort(words, axis=1, kind="stable")
    return rows


def source_tracks(
    mix: str,
    shape: tuple[int, int],
    seed: int,
    batch_size: int,
    start_step: int,
    stop_step: int,
) -> np.ndarray:
    """Draw the track of every source of every row of every step.

    With ``mix`` "track" that is one of :func:`visited_tracks` for all sources of a row;
    with "random" each is drawn by itself, uniformly and with replacement, of all
    tracks, also of those in which the source is silent.

    Returns:
        int64 (steps, batch, sources), or (steps, batch, 1) where all have the same;
        ``shape`` is (tracks, sources).

    Example:
        >>> source_tracks("random", (6, 4), 42, 3, 0, 2).shape
        (2, 3, 4)
    """
    tracks, sources = shape
    if mix == "track":
        visited = visited_tracks(tracks, seed, batch_size, start_step, stop_step)
        return visited[..., None]
    steps = stop_step - start_step
    words = uniform(seed, _MIX, start_step, steps, batch_size, sources)
    return np.floor(words * tracks).astype(np.int64)


def visited_tracks(
    tracks: int, seed: int, batch_size: int, start_step: int, stop_step: int
) -> np.ndarray:
    """Return the track of every row of every step, int64 (steps, batch).

    Position ``step * batch_size + row`` walks through one permutation of the tracks
    after another, so each pass visits every track once.

    Example:
        >>> np.sort(visited_tracks(6, 42, 3, 0, 2), axis=None)
        array([0, 1, 2, 3, 4, 5])
    """
    position = np.arange(start_step * batch_size, stop_step * batch_size)
    position = position.reshape(stop_step - start_step, batch_size)
    if not position.size:
        return position
    first, last = position[0, 0] // tracks, position[-1, -1] // tracks
    keys = uniform(seed, _ORDER, first, last + 1 - first, tracks)
    order = np.argsort(keys, axis=1, kind="stable")
    return order[position // tracks - first, position % tracks]


def valid_plans(table: TrackTable, chunk: int) -> Plan:
    """All consecutive chunks of ``chunk`` frames of all tracks, without augmentation.

    Returns:
        A plan with the single leading axis (chunks,).
    """
    counts = -(-table.frames // chunk)
    track = np.repeat(np.arange(len(counts)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    offset = (np.arange(counts.sum()) - first) * chunk
    shape = (len(track), table.file.shape[1])
    gain, channel = np.ones(shape, np.float32), np.full(shape, -1)
    return _cut(table, track[:, None], offset[:, None], gain, channel)


def rows_of_process(batch_size: int, process_index: int, process_count: int) -> slice:
    """The rows of a batch that process ``process_index`` feeds.

    Raises:
        ValueError: the batch cannot be split evenly.

    Example:
        >>> rows_of_process(8, 1, 2)
        slice(4, 8, None)
    """
    if batch_size % process_count:
        raise ValueError(
            f"train.batch_size={batch_size} must be divisible by the"
            f" {process_count} processes that share it"
        )
    rows = batch_size // process_count
    return slice(process_index * rows, (process_index + 1) * rows)


def take(plan: Plan, index) -> Plan:
    """Every field of a plan indexed along its leading axes."""
    return Plan(*(field[index] for field in plan))


def interleave(plans: list[Plan]) -> Plan:
    """Interleave K plans with the leading axes (steps, batch) to one.

    Row ``b K + k`` of a step is row ``b`` of plan ``k``.
    """
    fields = (np.stack(same, axis=2) for same in zip(*plans))
    return Plan(*(f.reshape(len(f), -1, *f.shape[3:]) for f in fields))


def windows(start: int, stop: int, length: int = 1024) -> Iterator[tuple[int, int]]:
    """Cut a range of steps into consecutive pieces, so that plans stay small.

    Example:
        >>> list(windows(3, 10, 4))
        [(3, 7), (7, 10)]
    """
    for first in range(start, stop, length):
        yield first, min(first + length, stop)


def plans_of_steps(plans: Iterable[Plan]) -> Iterator[Plan]:
    """Yield the plan of each step, from plans with the leading axes (steps, batch)."""
    return (take(plan, step) for plan in plans for step in range(len(plan.file)))


def _cut(
    table: TrackTable,
    track: np.ndarray,
    offset: np.ndarray,
    gain: np.ndarray,
    channel: np.ndarray,
) -> Plan:
    """The plan of sources that start ``offset`` frames into their tracks.

    All arrays are (..., sources); one track and one offset may stand for all sources.
    """
    cell = track, np.arange(table.file.shape[1])
    file, loop = table.file[cell], table.loop[cell]
    length = np.where(file < 0, 1, np.append(table.file_frames, 1)[file])
    start = table.start[cell] + offset
    stop = table.start[cell] + table.frames[track]
    turns = np.where(loop, start // length * length, 0)
    start, stop = start - turns, stop - turns
    stop = np.where(loop, stop, np.minimum(stop, length))
    # A stem that has nothing left to say is an absent one.
    silent = (file < 0) | (stop <= start)
    return Plan(
        file=np.where(silent, -1, file).astype(np.int32),
        start=np.where(silent, 0, start).astype(np.int32),
        stop=np.where(silent, 0, stop).astype(np.int32),
        loop=loop & ~silent,
        gains=table.gains[cell] * gain[..., None],
        channel=channel.astype(np.int32),
    )


def uniform(seed: int, stream: int, first: int, count: int, *shape: int) -> np.ndarray:
    """Draw uniforms in [0, 1), ``(count, *shape)``; row r knows first + r alone."""
    width = math.prod(shape)
    blocks = -(-width // 4)  # one count of Philox gives four 64-bit words
    key = np.array([seed % 2**64, stream], np.uint64)
    generator = np.random.Philox(key=key, counter=int(first) * blocks)
    words = generator.random_raw(count * blocks * 4).reshape(count, blocks * 4)
    return ((words[:, :width] >> 11) * 2.0**-53).reshape(count, *shape)
