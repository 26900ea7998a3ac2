"""Recordings of any kind: audio files, and streams within containers, even of video.

What libsndfile reads (WAV, FLAC, OGG, MP3, AIFF ...) goes through
:mod:`data_pipelines.audio.files`. What it refuses, as MUSDB18's ``.stem.mp4``, goes
through FFmpeg's libraries, which the package ``av`` (PyAV) brings along. The content
decides, not the extension.
"""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_pipelines.audio.files import (
    DENSEST,
    Unreadable,
    bit_depth,
    check_format,
    evened,
    file_size,
    probe,
    read_blocks,
)
from data_pipelines.audio.int16 import to_float
from data_pipelines.manifest import AudioFile, DataError

SLACK = 0.25  # seconds by which a container's own duration may be wrong
LOOSE = ("mp3", "flac")  # libsndfile reads these; FFmpeg would hide damage
PADDED = 1 << 13  # samples of delay and padding, which no encoder exceeds


@dataclass(frozen=True)
class Audio(AudioFile):
    """A stream of audio in a file: what its header says, and its samples.

    Where it is not ``exact``, in a container, its ``frames`` are an estimate, or 0.
    """

    exact: bool = True
    stream: int = 0  # of a container

    def depth(self) -> int:
        """Return the bits of a sample that keep what it holds: 16, 24, 32 for float.

        Streams of less than 16 bits, and lossy ones, are kept by 16.
        """
        if self.exact:
            return bit_depth(self)
        with _open(self.path, self.stream) as (_, source):
            return _depth(source)

    def blocks(self, frames: int = 1 << 18) -> Iterator[np.ndarray]:
        """Read float32 samples (n, channels) in blocks of ``frames``; the last is less.

        Streams of containers are decoded to 16 bits where :meth:`depth` says so, as
        ``ffmpeg -map 0:a:<stream> -f s16le`` does (tools of MUSDB18 read them so). The
        encoder's delay and padding are cut off where the container gives them.

        Raises:
            DataError: decoding fails, or ends early.
        """
        if self.exact:
            yield from read_blocks(self, frames)
        else:
            for block in evened(_decode(self.path, self.stream), frames):
                yield to_float(block)


def open_part(path: str | os.PathLike, stream: int = 0) -> Audio:
    """Read length and format of a file or a container's audio stream, from its header.

    Raises:
        DataError: the file is missing, broken, no audio, or has no such stream, counted
            from 0; or it is a container and PyAV is not installed.

    Example:
        >>> import soundfile, tempfile
        >>> path = tempfile.mkdtemp() + "/a.wav"
        >>> soundfile.write(path, np.full((80, 2), 0.5), 8000)
        >>> recording = open_part(path)
        >>> recording.frames, recording.channels, recording.exact, recording.depth()
        (80, 2, True, 16)
        >>> [block.shape for block in recording.blocks(50)]
        [(50, 2), (30, 2)]
    """
    path = os.fspath(path)
    try:
        file = probe(path)
    except Unreadable as error:
        return _container(path, stream, error)
    if stream:
        raise DataError(f"{path}: no audio stream {stream}: it has 1, number 0")
    return Audio(**vars(file))


def _container(path: str, stream: int, refusal: Unreadable) -> Audio:
    """A recording that libsndfile has refused for a reason."""
    try:
        with _open(path, stream) as (container, source):
            if container.format.name in LOOSE:
                raise Unreadable(path, "FFmpeg: leaves out what is damaged")
            context = source.codec_context
            seconds = float((source.duration or 0) * source.time_base)
            frames = max(round(seconds * context.sample_rate), 0)
            frames = min(frames, DENSEST * file_size(path))  # no file holds more
            form = context.channels, context.sample_rate
            return Audio(path, frames, *form, exact=False, stream=stream)
    except Unreadable as error:
        raise DataError(
            f"{path}: not readable as audio (libsndfile: {refusal.reason}; "
            f"{error.reason}); export it again as WAV or FLAC"
        ) from error


@contextmanager
def _open(path: str, stream: int) -> Iterator[tuple[Any, Any]]:
    """A container and one of its audio streams."""
    try:
        import av
    except ImportError as error:
        missing = "other formats need PyAV: pip install av"
        raise Unreadable(path, missing) from error
    try:
        container = av.open(path, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise Unreadable(path, f"FFmpeg: {error.strerror or error}") from error
    with container:
        streams = container.streams.audio
        if not 0 <= stream < len(streams):
            count = f"{len(streams) or 'none'}"
            count += f", 0 to {len(streams) - 1}" if len(streams) > 1 else ""
            raise DataError(f"{path}: no audio stream {stream}: it has {count}")
        context = streams[stream].codec_context
        if context is None or context.format is None:
            raise Unreadable(path, "FFmpeg: no decoder for its audio")
        check_format(path, context.channels, context.sample_rate)
        yield container, streams[stream]


def _decode(path: str, stream: int) -> Iterator[np.ndarray]:
    """Decoded packets, int16 (n, channels)."""
    import av

    done = 0
    with _open(path, stream) as (container, source):
        rate = source.codec_context.sample_rate
        try:
            for samples in _packets(container, source):
                done += len(samples)
                yield samples
        except (av.FFmpegError, ValueError) as error:
            # ValueError: the layout changes midway.
            text = getattr(error, "strerror", None) or str(error)
            raise DataError(
                f"{path}: audio stream {stream}: decoding fails after "
                f"{done / rate:.2f} s ({text}); copy it again"
            ) from error
        if not done:
            raise DataError(f"{path}: audio stream {stream} holds no samples")
        length = _promised(container, source)
        if done / rate < length - SLACK:
            raise DataError(
                f"{path}: truncated: its header promises {length:.2f} s, "
                f"{done / rate:.2f} s can be read; copy it again"
            )


def _promised(container: Any, source: Any) -> float:
    """Seconds that a stream lasts by its header; 0 where FFmpeg may have guessed."""
    if "mp4" in container.format.name:
        return float((source.duration or 0) * source.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", source.metadata.get("DURATION", ""))
    hours, minutes, seconds = map(float, clock.groups()) if clock else (0, 0, 0)
    return 3600 * hours + 60 * minutes + seconds


def _limit(container: Any, source: Any) -> float:
    """Samples without delay and padding, as iTunes notes them beside a stream."""
    tags = container.metadata.get("iTunSMPB", "").split()
    if len(tags) < 4 or not re.fullmatch("[0-9A-Fa-f]{1,16}", tags[3]):
        return math.inf
    samples = int(tags[3], 16)
    rate = source.codec_context.sample_rate
    total = float((source.duration or 0) * source.time_base) * rate
    # It counts half as many where the higher half of the band is coded apart.
    return samples if samples > 0 and 0 <= total - samples < PADDED else math.inf


def _depth(source: Any) -> int:
    """Bits that keep what a stream holds, 32 for float."""
    context = source.codec_context
    if context.codec.lossy and not context.codec.lossless:
        return 16
    return 32 if "fl" in context.format.name else min(context.format.bits, 24)


def _packets(container: Any, source: Any) -> Iterator[np.ndarray]:
    import av

    rate, channels = source.codec_context.sample_rate, source.codec_context.channels
    form, dtype = ("s16", np.int16) if _depth(source) <= 16 else ("flt", np.float32)
    resampler = av.AudioResampler(format=form)  # layout and rate are kept
    left, last, frames = _limit(container, source), np.zeros((0, channels), dtype), 0
    for decoded in container.decode(source):
        if len(last):
            yield last
        arrays = [each.to_ndarray() for each in resampler.resample(decoded)]
        last = np.concatenate(arrays, axis=1).reshape(-1, channels)
        last = last[: int(min(left, len(last)))]
        left -= len(last)
        step = decoded.time_base * rate  # samples per tick; above 1 it is no measure
        frames = int((decoded.duration or 0) * step) if step <= 1 else 0
    if len(last):
        yield last[:frames] if frames else last
