"""Audio files: which are there, what they hold, decoding."""

import os
import re
import shutil
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from data_pipelines.audio.headers import (
    LEFT,
    PADDING,
    View,
    Wav,
    check_promise,
    is_unknown,
    read_wav,
    sources,
)
from data_pipelines.manifest import AudioFile, DataError

# What macOS, Synology's systems, Windows and Linux leave in folders of files.
FOREIGN = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found")
FOREIGN += ("System Volume Information",)
CHANNELS = 128  # of the widest real files, masters of Dolby Atmos
RATES = (1000, 768_000)  # Hz; telephones have 8000, the fastest converters 768000
DENSEST = 512  # frames per byte; Opus at 6 kbit/s has 64, silence as FLAC 300
TAIL = 1 << 10  # bytes of tags behind the samples of a FLAC
UNKNOWN = 1 << 40  # frames, 288 days at 44.1 kHz: no count but the lack of one
# libsndfile's remarks on AIFF, AU and W64 files of other lengths than they promise.
BYTES = dict(PCM_S8=1, PCM_U8=1, PCM_16=2, PCM_24=3, PCM_32=4, FLOAT=4, DOUBLE=8)
"""Of a sample, where they are not packed."""
LENGTHS = r"(FORM|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)"
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe, which can be read only once: write it into a file first",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Unreadable(DataError):
    """A library does not know a file as audio; another one may."""

    def __init__(self, path: str, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"{path}: not readable as audio ({reason}); export it again as WAV or FLAC"
        )


def file_size(path: str) -> int:
    """Return the bytes of a regular file.

    Raises:
        DataError: it is missing, empty, or no file but a folder, a pipe, a device.
    """
    try:
        info = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if not stat.S_ISREG(info.st_mode):
        kind = KINDS.get(stat.S_IFMT(info.st_mode), "no regular file")
        raise DataError(f"{path}: not a file: {kind}")
    if not info.st_size:
        raise DataError(f"{path}: empty file (0 bytes); copy it again or remove it")
    return info.st_size


def check_format(path: str, channels: int, sample_rate: int) -> None:
    """Check the numbers of a header by which work and memory grow.

    Raises:
        DataError: more channels than real files have, or a rate that none has.
    """
    if not 1 <= channels <= CHANNELS:
        text = f"{channels} channels; files of 1 to {CHANNELS} are read"
    elif not RATES[0] <= sample_rate <= RATES[1]:
        text = f"{sample_rate} Hz; rates of {RATES[0]} to {RATES[1]} Hz are read"
    else:
        return
    raise DataError(f"{path}: its header says {text}: export it again")


def probe(path: str) -> AudioFile:
    """Read the header of a file; decode one whose header tells no certain length.

    Warns of samples that its header does not tell of.

    Raises:
        DataError: the file is missing, empty, truncated, no audio, or no file; or has
            more channels or another rate than real files have.

    Example:
        >>> import soundfile, tempfile
        >>> path = tempfile.mkdtemp() + "/a.wav"
        >>> soundfile.write(path, np.zeros((80, 2)), 8000)
        >>> probe(path).frames
        80
    """
    size = file_size(path)
    try:
        wav = read_wav(path, size)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if wav is not None and wav.note:
        warnings.warn(wav.note, stacklevel=1)  # one place: told once
    if wav is not None and (layout := wav.layout()):
        frames, offset = wav.length // (2 * layout[0]), wav.begin
    else:
        (frames, *layout), offset = _measure(path, wav, size), -1
    check_format(path, *layout)
    if frames <= 0:
        raise DataError(f"{path}: holds no samples; export it again or remove it")
    return AudioFile(path, frames, *layout, offset)


def _measure(path: str, wav: Wav | None, size: int) -> tuple[int, int, int]:
    """Frames, channels and rate of a file, by libsndfile."""
    import soundfile

    headers, remarks, subtype = [], "", ""
    try:
        for source in sources(path, wav):
            with soundfile.SoundFile(source) as part:
                headers.append((part.frames, part.channels, part.samplerate))
                remarks = part.extra_info
                subtype = "" if part.format == "FLAC" else part.subtype
    except (OSError, soundfile.LibsndfileError) as error:
        raise _unreadable(path, error) from error
    for name, promised, there in re.findall(LENGTHS, remarks):
        _compare(path, name, int(promised), int(there))
    layout = headers[0][1:]
    check_format(path, *layout)
    if wav is None and subtype in BYTES:
        _compare(path, "FORM", headers[0][0] * layout[0] * BYTES[subtype], size)
    for other in {header[1:] for header in headers} - {layout}:
        raise DataError(
            f"{path}: recordings of {layout[0]} channels, {layout[1]} Hz and of"
            f" {other[0]} channels, {other[1]} Hz behind each other; split the file"
        )
    frames = sum(header[0] for header in headers)
    if frames > DENSEST * size:  # a guess, a lie, or much silence
        file = AudioFile(path, frames, *layout)
        counted = sum(map(len, _decoded(file, 1 << 16, 0, frames)))
        if counted < frames < UNKNOWN:
            raise _truncated(file, counted)
        frames = counted
    return frames, *layout


def _compare(path: str, chunk: str, promised: int, there: int) -> None:
    if chunk != "FORM":  # which some programs count wrongly by a few bytes
        check_promise(path, promised, there)
    if there - promised > PADDING and not is_unknown(promised):
        text = f"its header promises {promised} bytes, {there} are there, maybe unread"
        warnings.warn(f"{path}: {text}: export it again as WAV", stacklevel=1)


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
    done, stop = start, file.frames if stop is None else stop
    for block in _decoded(file, frames, start, stop):
        if not np.isfinite(block).all():
            bad = done + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise DataError(
                f"{file.path}: NaN or infinite sample at"
                f" {bad / file.sample_rate:.3f} s; export it again"
            )
        done += len(block)
        yield block
    if done != stop:
        raise _truncated(file, done)


def bit_depth(file: AudioFile) -> int:
    """Return the bits of a sample that keep what a file holds: 16, 24, or 32 for float.

    Files of less than 16 bits, and lossy ones, are kept by 16.
    """
    import soundfile

    path = file.path
    with closing(sources(path, read_wav(path, file_size(path)))) as views:
        with soundfile.SoundFile(next(views)) as part:
            kind = part.subtype
    if kind in ("FLOAT", "DOUBLE"):
        return 32
    bits = re.fullmatch(r"(?:PCM|ALAC|DWVW)_(\d+)", kind)
    return 16 if not bits or int(bits[1]) <= 16 else 24 if int(bits[1]) <= 24 else 32


def _truncated(file: AudioFile, frames: int) -> DataError:
    return DataError(
        f"{file.path}: truncated: its header promises {file.frames} frames,"
        f" {frames} can be read; copy it again"
    )


def _decoded(
    file: AudioFile, frames: int, start: int, stop: int
) -> Iterator[np.ndarray]:
    """Blocks from frame ``start`` to ``stop``, or to where the samples end."""
    import soundfile

    class Sequential(soundfile.SoundFile):
        # Otherwise soundfile seeks behind every block, which fails at an unknown end.
        def seekable(self) -> bool:
            return False

    begin = 0  # frames of the parts before
    for source in sources(file.path, read_wav(file.path, file_size(file.path))):
        try:
            part = Sequential(source)
        except soundfile.LibsndfileError as error:
            raise _unreadable(file.path, error) from error
        with part:
            try:
                at = min(max(start - begin, 0), part.frames)
                _skip(part, at)
                while at < min(stop - begin, part.frames):
                    count = min(frames, stop - begin - at)
                    block = part.read(count, "float32", always_2d=True)
                    if not len(block):
                        _check_end(file, source, begin + at)
                        break
                    at += len(block)
                    yield block
            except soundfile.LibsndfileError as error:
                raise _failure(file, begin + part.tell(), error) from error
            if part.format == "FLAC" and begin + at == file.frames:
                _tell_rest(file, source)
            begin += part.frames


def _tell_rest(file: AudioFile, source: bytes | View) -> None:
    """Tell what a FLAC holds behind the samples that its header promises."""
    if isinstance(source, View) and (left := source.left()) > TAIL:
        warnings.warn(
            f"{file.path}: {left} bytes behind its samples are not read: another "
            "recording (split it), or more than its header promises (export it again)",
            stacklevel=1,
        )


def _check_end(file: AudioFile, source: bytes | View, frames: int) -> None:
    """Check that decoding, which ends before it should, has come to the end."""
    if isinstance(source, View) and (left := source.left()) > LEFT:
        raise DataError(
            f"{file.path}: decoding ends after {frames / file.sample_rate:.2f} s,"
            f" {left} bytes before the end: another recording, of another format, or"
            " damage; split it, or export it again"
        )


def _skip(part: Any, frames: int) -> None:
    """Go to a frame."""
    if part.format != "MP3":
        part.seek(frames)
        return
    while frames:  # mpg123 comes near to the place only
        read = len(part.read(min(frames, 1 << 16), "float32"))
        frames = frames - read if read else 0


def _unreadable(path: str, error: Any) -> Unreadable:
    text = getattr(error, "error_string", None) or str(error)
    return Unreadable(path, text.strip(". "))


def _failure(file: AudioFile, frames: int, error: Any) -> DataError:
    total = f" of {file.frames / file.sample_rate:.2f}"
    return DataError(
        f"{file.path}: truncated or damaged: decoding fails after"
        f" {frames / file.sample_rate:.2f}{total * (file.frames < UNKNOWN)} s"
        f" ({error.error_string.strip('. ') or 'unknown reason'}); copy it again"
    )


@contextmanager
def spooled(source: str | os.PathLike | BinaryIO) -> Iterator[Path]:
    """Give a file that can be read twice: what is none, is copied for as long.

    Args:
        source: path of a file or a pipe; ``-``, standard input; or an open stream.

    Raises:
        DataError: standard input is closed or a terminal.
        OSError: the folder for temporary files is full; or the pipe cannot be read.

    Example:
        >>> import io
        >>> with spooled(io.BytesIO(b"abc")) as path:
        ...     path.read_bytes()
        b'abc'
    """
    if hasattr(source, "read"):
        stream = source
    elif os.fspath(source) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise DataError("-: nothing comes from standard input; give a file")
        stream = sys.stdin.buffer
    elif os.path.exists(source) and stat.S_ISFIFO(os.stat(source).st_mode):
        stream = open(source, "rb")
    else:
        yield Path(source)
        return
    with tempfile.NamedTemporaryFile(prefix="sepjax-") as copy:
        try:
            shutil.copyfileobj(stream, copy, 1 << 20)
            copy.flush()
        except OSError as error:
            raise OSError(
                f"cannot keep what comes from a pipe in {tempfile.gettempdir()}:"
                f" {error.strerror or error}; free some space, or name another folder"
                " in $TMPDIR"
            ) from error
        if not copy.tell():
            raise DataError(f"{source}: nothing came: no audio")
        yield Path(copy.name)


def subfolders(folder: Path) -> list[Path]:
    """Return the folders within a folder by name, no hidden or foreign ones."""
    return sorted(
        one
        for one in folder.iterdir()
        if one.name[0] != "." and one.name not in FOREIGN and one.is_dir()
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
