"""Audio files: which are there, where PCM begins, what they hold, decoding."""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data_pipelines.manifest import AudioFile, DataError

PCM, EXTENSIBLE = 1, 0xFFFE
# What macOS, Synology's systems, Windows and Linux leave in folders of files.
LEFT_FOLDERS = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found")
LEFT_FOLDERS += ("System Volume Information",)
UNKNOWN_SIZE = 0xFFFFFFFF  # written by programs that stream into a pipe


def wav_data(path: str) -> tuple[int, int] | None:
    """Find the byte offset and bytes of the samples of a 16-bit PCM WAV file.

    Understands plain and extensible format chunks, other chunks before the data, and
    the padding byte after a chunk of odd size.

    Returns:
        None for every other kind of file.

    Raises:
        DataError: the header promises more samples than the file holds.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
            return None
        plain = False
        while len(header := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", header)
            begin = file.tell()
            if name == b"fmt ":
                plain = _is_pcm16(file, length)
            elif name == b"data":
                if length != UNKNOWN_SIZE and begin + length > size:
                    raise DataError(
                        f"{path}: truncated: its header promises {length} bytes of"
                        f" samples, {max(size - begin, 0)} are there; copy it again"
                    )
                return (begin, length) if plain and length != UNKNOWN_SIZE else None
            file.seek(begin + length + length % 2)
    return None


def _is_pcm16(file: BinaryIO, length: int) -> bool:
    fields = file.read(min(length, 26))
    if len(fields) < 16:
        return False
    tag, _, _, _, _, bits = struct.unpack("<HHIIHH", fields[:16])
    if tag == EXTENSIBLE and len(fields) == 26:
        # The first two bytes of the subformat's identifier are the plain tag.
        tag = struct.unpack("<H", fields[24:])[0]
    return tag == PCM and bits == 16


def probe(path: str) -> AudioFile:
    """Read the header of a file.

    Raises:
        DataError: the file is missing, empty, truncated or no audio.
    """
    import soundfile

    try:
        if os.path.getsize(path) == 0:
            raise DataError(f"{path}: empty file (0 bytes); copy it again or remove it")
        data = wav_data(path)
        info = soundfile.info(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{path}: not readable as audio ({error.error_string.strip('. ')});"
            " export it again as WAV or FLAC"
        ) from error
    frames, offset = info.frames, -1
    if data is not None:
        offset, frames = data[0], data[1] // (2 * info.channels)
    if frames <= 0:
        raise DataError(f"{path}: holds no samples; export it again or remove it")
    return AudioFile(path, frames, info.channels, info.samplerate, offset)


def read_blocks(
    file: AudioFile, frames: int = 1 << 18, start: int = 0, stop: int | None = None
):
    """Read samples of a file, float32 (frames, channels) in [-1, 1], block by block.

    Args:
        file: as :func:`probe` found it.
        frames: of a block; the last is shorter.
        start: first frame to read, at most ``file.frames``.
        stop: frame behind the last one, at most ``file.frames``; by default the end.

    Raises:
        DataError: decoding fails or ends early, or a sample is NaN or infinite.
    """
    import soundfile

    done, stop = start, file.frames if stop is None else stop
    try:
        with soundfile.SoundFile(file.path) as source:
            if start:
                source.seek(start)
            while done < stop:
                block = source.read(min(frames, stop - done), "float32", always_2d=True)
                if not len(block):
                    break
                if not np.isfinite(block).all():
                    bad = done + int(np.argmin(np.isfinite(block).all(axis=1)))
                    raise DataError(
                        f"{file.path}: NaN or infinite sample at"
                        f" {bad / file.sample_rate:.3f} s; export it again"
                    )
                done += len(block)
                yield block
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{file.path}: decoding fails after {done / file.sample_rate:.2f} s"
            f" ({error.error_string.strip('. ')}); copy it again"
        ) from error
    if done != stop:
        raise DataError(
            f"{file.path}: truncated: its header promises {file.frames} frames,"
            f" {done} can be read; copy it again"
        )


def subfolders(folder: Path) -> list[Path]:
    """Return the folders within a folder by name, no hidden or foreign ones."""
    return sorted(
        one
        for one in folder.iterdir()
        if one.name[0] != "." and one.name not in LEFT_FOLDERS and one.is_dir()
    )


def audio_files(folder: Path, extensions: Sequence[str]) -> list[Path]:
    """Return the visible files of audio within a folder, by name.

    Links to files that are gone are among them: to open them tells.
    """
    return sorted(
        one
        for one in folder.iterdir()
        if one.suffix.lower() in extensions and one.name[0] != "." and not one.is_dir()
    )


def evened(blocks: Iterator[np.ndarray], frames: int) -> Iterator[np.ndarray]:
    """Yield the samples in blocks of ``frames``, so that streams stay side by side.

    Example:
        >>> [len(block) for block in evened(iter([np.ones(3), np.ones(4)]), 5)]
        [5, 2]
    """
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        while count >= frames:
            joined = np.concatenate(held) if len(held) > 1 else held[0]
            yield joined[:frames]
            held, count = [joined[frames:]], count - frames
    if count:
        yield np.concatenate(held)
