"""Decoding any part of a recording: audio files, and streams within containers.

What libsndfile reads (WAV, FLAC, OGG, MP3, AIFF ...) goes through
:mod:`data_pipelines.audio.files`; all else, as MUSDB18's ``.stem.mp4``, through
FFmpeg's libraries, which the package ``av`` of the extra ``media`` brings along.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.audio.files import (
    DENSEST,
    check_format,
    evened,
    file_size,
    probe,
    read_blocks,
)
from data_pipelines.audio.int16 import to_float
from data_pipelines.manifest import DataError

PLAIN = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .caf .w64 .rf64".split()
)
"""Extensions of files that libsndfile reads."""

SLACK = 0.25  # seconds by which a container's own duration may be wrong


class Decoded(NamedTuple):
    """Length and format of a stream of audio."""

    frames: int  # samples per channel; an estimate, or 0, where not ``exact``
    channels: int
    sample_rate: int  # Hz
    exact: bool = True  # False for containers: only decoding counts their samples


def open_part(path: str | os.PathLike, stream: int = 0) -> Decoded:
    """Read length and format of a file or a container's audio stream, from its header.

    Args:
        path: of the file.
        stream: which of its audio streams, from 0; plain files have one.

    Raises:
        DataError: the file is missing, broken, no audio, or has no such stream; or it
            is a container and PyAV is not installed.

    Example:
        >>> import soundfile, tempfile
        >>> path = tempfile.mkdtemp() + "/a.wav"
        >>> soundfile.write(path, np.zeros((80, 2)), 8000)
        >>> open_part(path)
        Decoded(frames=80, channels=2, sample_rate=8000, exact=True)
    """
    path = os.fspath(path)
    if is_plain(path):
        _one_stream(path, stream)
        file = probe(path)
        return Decoded(file.frames, file.channels, file.sample_rate)
    with _open(path, stream) as (_, source):
        context = source.codec_context
        seconds = float((source.duration or 0) * source.time_base)
        frames = round(seconds * context.sample_rate)
        frames = min(frames, DENSEST * file_size(path))  # no file holds more
        return Decoded(frames, context.channels, context.sample_rate, exact=False)


def read_part(
    path: str | os.PathLike, stream: int = 0, frames: int = 1 << 18
) -> Iterator[np.ndarray]:
    """Read float32 samples (n, channels) in blocks of ``frames``; the last is shorter.

    Streams of containers are decoded to 16 bits as ``ffmpeg -map 0:a:<stream>
    -f s16le`` does (tools of MUSDB18 read them so) and divided by 32768. The delay of
    the encoder and the padding of the last packet are cut off where the container gives
    them; FFmpeg does the second itself from version 9 on.

    Raises:
        DataError: as :func:`open_part`; or decoding fails, or ends early.

    Example:
        >>> import soundfile, tempfile
        >>> path = tempfile.mkdtemp() + "/a.wav"
        >>> soundfile.write(path, np.full((80, 2), 0.5), 8000)
        >>> [block.shape for block in read_part(path, frames=50)]
        [(50, 2), (30, 2)]
    """
    path = os.fspath(path)
    if is_plain(path):
        _one_stream(path, stream)
        yield from read_blocks(probe(path), frames)
    else:
        for block in evened(_decode(path, stream), frames):
            yield to_float(block)


def is_plain(path: str) -> bool:
    """Return whether libsndfile reads such a file.

    Example:
        >>> is_plain("a.WAV"), is_plain("song.stem.mp4")
        (True, False)
    """
    return os.path.splitext(path)[1].lower() in PLAIN


def _one_stream(path: str, stream: int) -> None:
    if stream:
        raise DataError(f"{path}: no audio stream {stream}: it has 1, number 0")


@contextmanager
def _open(path: str, stream: int) -> Iterator[tuple[Any, Any]]:
    """A container and one of its audio streams."""
    try:
        import av
    except ImportError as error:
        raise DataError(
            f"{path}: reading {os.path.splitext(path)[1] or 'such'} files needs PyAV: "
            "pip install 'sepjax[media]'"
        ) from error
    try:
        file_size(path)
        container = av.open(path)
    except av.FFmpegError as error:
        raise DataError(
            f"{path}: not readable as audio ({error.strerror}); copy it again, or "
            "export it as WAV or FLAC"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    with container:
        streams = container.streams.audio
        if not 0 <= stream < len(streams):
            count = f"{len(streams) or 'none'}"
            count += f", 0 to {len(streams) - 1}" if len(streams) > 1 else ""
            raise DataError(f"{path}: no audio stream {stream}: it has {count}")
        context = streams[stream].codec_context
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
        length = float((source.duration or 0) * source.time_base)
        # Other containers only estimate how long they are.
        if "mp4" in container.format.name and done / rate < length - SLACK:
            raise DataError(
                f"{path}: truncated: its header promises {length:.2f} s, "
                f"{done / rate:.2f} s can be read; copy it again"
            )


def _packets(container: Any, source: Any) -> Iterator[np.ndarray]:
    import av

    rate, channels = source.codec_context.sample_rate, source.codec_context.channels
    to_16_bits = av.AudioResampler(format="s16")  # layout and rate are kept
    last, frames = np.zeros((0, channels), np.int16), 0
    for decoded in container.decode(source):
        if len(last):
            yield last
        arrays = [each.to_ndarray() for each in to_16_bits.resample(decoded)]
        last = np.concatenate(arrays, axis=1).reshape(-1, channels)
        step = decoded.time_base * rate  # samples per tick; above 1 it is no measure
        frames = int((decoded.duration or 0) * step) if step <= 1 else 0
    if len(last):
        yield last[:frames] if frames else last
