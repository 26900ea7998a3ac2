"""The tracks of a recording as the sums of their classes: decoded, shifted, resampled.

Every track is rounded to the kind of audio that is asked for, 16 bits or float, before
it is summed, as if it had been exported. Sums have 32 bits or are double precision, and
lie in a file where memory would not hold a long concert.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.audio.decode import Decoded, open_part, read_part
from data_pipelines.audio.int16 import to_int16
from data_pipelines.audio.resample import resample_blocks
from data_pipelines.collections.collection import Collection, Part, Recording
from data_pipelines.manifest import DataError

IN_MEMORY = (
    1 << 30
)  # bytes of sums; more than an hour of four mono classes goes to disk
MIXTURE = "mixture"
CANCELLED = 1e-2  # mono energy below -20 dB of the channels': they cancel


class Header(NamedTuple):
    """A part of a recording and the facts in its file's header."""

    part: Part
    path: Path
    decoded: Decoded
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
    headers, problems = [], []
    parts = [(part, collection.class_of(part.label)) for part in recording.tracks]
    if recording.mixture is not None:
        parts.append((recording.mixture, MIXTURE))
    for part, name in parts:
        path = collection.path(part)
        try:
            decoded = open_part(path, part.stream)
        except DataError as error:
            problems.append(str(error))
            continue
        if recording.sample_rate and decoded.sample_rate != recording.sample_rate:
            problems.append(
                f"{path}: {decoded.sample_rate} Hz, but the recording declares "
                f"{recording.sample_rate}"
            )
        headers.append(Header(part, path, decoded, name))
    if problems:
        raise DataError.of(f"recording '{recording.id}'", problems)
    return headers


def song_channels(collection: Collection, headers: Sequence[Header]) -> int:
    """Channels of every file of a recording: 1 or 2."""
    if collection.output.channels:
        return collection.output.channels
    kept = (h.decoded.channels for h in headers if h.part.channels == "keep")
    return 2 if 2 in kept else 1


def expected_frames(headers: Sequence[Header], rate: int) -> int:
    """Return the frames at the rate of the output, as far as headers tell."""
    return max(
        round((h.decoded.frames / h.decoded.sample_rate + h.part.start) * rate)
        for h in headers
    )


def bytes_on_disk(collection: Collection, headers: Sequence[Header]) -> int:
    """Return the size on disk of a recording's sums; 0: they are kept in memory."""
    frames = expected_frames(headers, collection.output.rate)
    rows = len(collection.classes) + (headers[-1].name == MIXTURE)
    wide = 4 if collection.mix.dtype == "int16" else 8
    size = rows * frames * song_channels(collection, headers) * wide
    return size if size > IN_MEMORY else 0


def sum_recording(
    collection: Collection, headers: Sequence[Header], folder: Path
) -> Summed:
    """Decode every track and sum those of a class.

    Shorter tracks are followed by silence. Mono tracks, and the mean over the channels
    of tracks with any other number of them, go to all channels.

    Args:
        collection: says the classes, the kind of audio and its rate.
        headers: as :func:`read_headers` found them.
        folder: where sums too large for memory are kept.
    """
    rate, channels = collection.output.rate, song_channels(collection, headers)
    names = [*collection.classes]
    if headers[-1].name == MIXTURE:
        names.append(MIXTURE)
    kind, frames = np.dtype(collection.mix.dtype), expected_frames(headers, rate)
    table = _Table(len(names), frames, channels, kind, folder)
    counts, clipped, warnings = dict.fromkeys(names, 0), 0, []
    for header in headers:
        counts[header.name] += 1
        track, at = PartReader(header), round(header.part.start * rate)
        for block in track.blocks(rate, channels, kind):
            table.add(names.index(header.name), at, block)
            at += len(block)
        clipped += track.clipped
        warnings += track.warnings()
    waves, mixture = table.waves(), None
    if counts.pop(MIXTURE, 0):
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
        old = self.header.decoded.sample_rate
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
        for block in read_part(self.header.path, part.stream):
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

    def __init__(self, rows: int, frames: int, channels: int, kind: np.dtype, folder):
        self.kind = np.int32 if kind == np.int16 else np.float64
        self.folder, self.frames = folder, 0
        self.held = self._allocate((rows, frames, channels))

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
        if np.prod(shape, dtype=float) * np.dtype(self.kind).itemsize <= IN_MEMORY:
            return np.zeros(shape, self.kind)
        # Without a name it is gone with the process, however that ends. Its space is
        # taken now: a disk that fills up under a map of memory would kill the process.
        file = tempfile.TemporaryFile(dir=self.folder)
        size = int(np.prod(shape, dtype=float)) * np.dtype(self.kind).itemsize
        os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, self.kind, "w+", shape=shape)
