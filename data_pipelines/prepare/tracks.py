"""The tracks of a recording as the sums of their classes: decoded, shifted, resampled.

Every track is rounded to the kind of audio that is asked for, 16 bits or float, before
it is summed, as if it had been exported.
"""

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.audio.decode import Audio, open_part
from data_pipelines.audio.int16 import to_int16
from data_pipelines.audio.resample import resample_blocks
from data_pipelines.collections.collection import Collection, Part, Recording
from data_pipelines.manifest import DataError

IN_MEMORY = 1 << 30  # bytes of sums: more than an hour of four mono classes go to disk
MIXTURE = "mixture"
CANCELLED = 1e-2  # mono energy below -20 dB of the channels': they cancel


class Header(NamedTuple):
    """A part of a recording and the facts in its file's header."""

    part: Part
    path: Path
    audio: Audio
    name: str  # the class it is of, or "mixture"


class Summed(NamedTuple):
    """A recording: the sum of each class, and the distributed mixture."""

    waves: np.ndarray  # (classes, time, channels), int32 or float64
    counts: list[int]  # tracks of each class
    mixture: np.ndarray | None  # (time, channels), likewise
    clipped: int  # samples beyond full scale in files, after their gain
    warnings: list[str]


def read_headers(collection: Collection, recording: Recording) -> list[Header]:
    """Read the headers of all parts of a recording, the mixture last.

    Raises:
        DataError: every file that is missing, broken or of an undeclared rate.
    """
    headers, problems, declared = [], [], recording.sample_rate
    parts = [(part, collection.class_of(part.label)) for part in recording.tracks]
    if recording.mixture is not None:
        parts.append((recording.mixture, MIXTURE))
    for part, name in parts:
        path = collection.path(part)
        try:
            headers.append(Header(part, path, open_part(path, part.stream), name))
        except DataError as error:
            problems.append(str(error))
            continue
        rate = headers[-1].audio.sample_rate
        if rate != (declared or rate):
            problems.append(f"{path}: {rate} Hz, but the recording declares {declared}")
    if problems:
        raise DataError.of(f"recording '{recording.id}'", problems)
    return headers


def song_channels(collection: Collection, headers: Sequence[Header]) -> int:
    """Channels of every file of a recording: 1 or 2."""
    if collection.output.channels:
        return collection.output.channels
    kept = (h.audio.channels for h in headers if h.part.channels == "keep")
    return 2 if 2 in kept else 1


def _shape(collection: Collection, headers: Sequence[Header]) -> tuple[int, int, int]:
    """Classes (and mixture), time and channels of the sums, as far as headers tell."""
    ends = (h.audio.frames / h.audio.sample_rate + h.part.start for h in headers)
    frames = max(round(end * collection.output.rate) for end in ends)
    rows = len(collection.classes) + (headers[-1].name == MIXTURE)
    return rows, frames, song_channels(collection, headers)


def bytes_needed(collection: Collection, recording: Recording) -> int:
    """Return the size of a recording's songs, and of sums if they are kept on disk."""
    shape = _shape(collection, read_headers(collection, recording))
    sums = math.prod(shape) * _wide(collection).itemsize
    labels = {collection.class_of(part.label) for part in recording.tracks}
    songs = math.prod(shape[1:]) * (len(labels) + 1) * sample_bytes(collection)
    return songs + (sums if sums > IN_MEMORY else 0)


def sample_bytes(collection: Collection) -> int:
    """Return the bytes of an output sample."""
    return 2 if collection.output.subtype == "PCM_16" else 3


def _wide(collection: Collection) -> np.dtype:
    return np.dtype(np.int32 if collection.mix.dtype == "int16" else np.float64)


def sum_recording(
    collection: Collection, headers: Sequence[Header], folder: Path
) -> Summed:
    """Decode every track and sum those of a class.

    Shorter tracks are followed by silence. Mono tracks, and the mean over the channels
    of tracks with any other number of them, go to all channels. Sums too large for
    memory are kept in ``folder``.
    """
    rate, shape = collection.output.rate, _shape(collection, headers)
    table = _Table(shape, _wide(collection), folder)
    names, kind = [*collection.classes, MIXTURE], np.dtype(collection.mix.dtype)
    counts, clipped, warnings = dict.fromkeys(names, 0), 0, []
    for header in headers:
        counts[header.name] += 1
        track, at = PartReader(header), round(header.part.start * rate)
        for block in track.blocks(rate, shape[2], kind):
            table.add(names.index(header.name), at, block)
            at += len(block)
        clipped += track.clipped
        warnings += track.warnings()
    waves, mixture = table.waves(), None
    if counts.pop(MIXTURE):
        waves, mixture = waves[:-1], waves[-1]
    return Summed(waves, list(counts.values()), mixture, clipped, warnings)


class PartReader:
    """Reads a part of a recording as it enters the sum; collects warnings."""

    def __init__(self, header: Header):
        self.header, self.mono, self.energy = header, 0.0, 0.0
        self.clipped = 0  # samples beyond full scale, after the gain

    def blocks(self, rate: int, channels: int, kind: np.dtype) -> Iterator[np.ndarray]:
        """Read the whole part, (time, channels), as this kind of audio at this rate."""
        gain = 10 ** (self.header.part.gain_db / 20)
        old = self.header.audio.sample_rate
        for block in resample_blocks(self._chosen(channels), old, rate):
            block = np.broadcast_to(block, (len(block), channels)) * gain
            if kind == np.int16:
                block, over = to_int16(block)
                self.clipped += over
            yield block

    def warnings(self) -> list[str]:
        """Oddities that are no errors."""
        if self.mono >= CANCELLED * self.energy:
            return []
        text = "its channels cancel in their mean; use channels: left or right"
        return [f"{self.header.part.path}: {text}"]

    def _chosen(self, channels: int) -> Iterator[np.ndarray]:
        """As many channels as are asked for, or one; the mean where neither fits."""
        part = self.header.part
        for block in self.header.audio.blocks():
            width, side = block.shape[1], {"left": 0, "right": 1}.get(part.channels)
            if width == 1 or (part.channels == "keep" and width == channels):
                yield block
            elif side is not None:
                yield block[:, side : side + 1]
            else:
                mono = block.mean(axis=1, keepdims=True)
                self.mono += float(np.square(mono, dtype=np.float64).sum())
                self.energy += float(np.square(block, dtype=np.float64).sum()) / width
                yield mono


class _Table:
    """Sums that grow with the longest track."""

    def __init__(self, shape: tuple[int, int, int], kind: np.dtype, folder: Path):
        self.kind, self.folder, self.frames = kind, folder, 0
        self.held = self._allocate(shape)

    def add(self, row: int, at: int, block: np.ndarray) -> None:
        stop = at + len(block)
        self.frames = max(self.frames, stop)
        if stop > self.held.shape[1]:
            rows, frames, channels = self.held.shape
            larger = self._allocate((rows, max(stop, frames + frames // 8), channels))
            larger[:, :frames] = self.held
            self.held = larger
        self.held[row, at:stop] += block

    def waves(self) -> np.ndarray:
        return self.held[:, : self.frames]

    def _allocate(self, shape: tuple[int, int, int]) -> np.ndarray:
        size = math.prod(shape) * self.kind.itemsize
        if size <= IN_MEMORY:
            return np.zeros(shape, self.kind)
        # Without a name it is gone with the process, however that ends. Its space is
        # taken now: a disk that fills up under a map of memory would kill the process.
        file = tempfile.TemporaryFile(dir=self.folder)
        os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, self.kind, "w+", shape=shape)
