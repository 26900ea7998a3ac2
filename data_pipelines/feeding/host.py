"""Reading canonical files on the host: whole tracks, and chunks without a framework.

Validation and evaluation read through it, and the feeders are tested against it.
"""

import math
import os
from collections.abc import Iterable, Iterator

import numpy as np

from data_pipelines.audio.int16 import to_float
from data_pipelines.feeding.schedule import Plan, plans_of_steps
from data_pipelines.manifest import DataError, LoadedTrack, Manifest, Stem, Track

Batch = dict[str, np.ndarray]
SHRUNK = "shorter than when it was indexed; was it replaced?"


def map_file(manifest: Manifest, index: int) -> np.ndarray:
    """The samples of a canonical file, int16 (frames, channels), read on access.

    Raises:
        DataError: the file has become shorter than the manifest says.
    """
    file = manifest.files[index]
    shape, path = (file.frames, file.channels), manifest.path(file)
    try:
        return np.memmap(path, "<i2", "r", file.data_offset, shape)
    except ValueError as error:
        raise DataError(f"{path}: {SHRUNK}") from error


def read_frames(samples: np.ndarray, start: int, stop: int, loop: bool) -> np.ndarray:
    """Frames ``start`` to ``stop`` of a file, wrapped around its end if ``loop``.

    Example:
        >>> read_frames(np.arange(3)[:, None], 2, 7, True).ravel()
        array([2, 0, 1, 2, 0])
    """
    if not loop or stop <= len(samples):
        return samples[start:stop]
    return np.take(samples, np.arange(start, stop) % len(samples), axis=0)


def file_sizes(manifest: Manifest) -> list[int]:
    """Bytes of every file.

    Raises:
        DataError: files are shorter than the manifest says.
    """
    sizes = [os.path.getsize(manifest.path(file)) for file in manifest.files]
    short = [
        f"{manifest.path(file)}: {SHRUNK}"
        for file, size in zip(manifest.files, sizes)
        if size < file.data_offset + 2 * file.frames * file.channels
    ]
    if short:
        raise DataError.of(f"dataset '{manifest.name}'", short)
    return sizes


def read_chunks(manifest: Manifest, plan: Plan, chunk: int) -> Batch:
    """Execute a plan with the leading axis (batch,).

    Returns:
        ``chunks`` int16 (batch, sources, time, file channels), and what the plan says
        of them, :meth:`data_pipelines.feeding.schedule.Plan.augmentation`.

    Raises:
        DataError: a file has become shorter than the manifest says.
    """
    chunks = _aligned((*plan.file.shape, chunk, manifest.file_channels))
    for index in np.ndindex(plan.file.shape):
        file, start, stop, loop = (int(field[index]) for field in plan[:4])
        frames = min(stop - start, chunk) if file >= 0 else 0
        chunks[index][frames:] = 0
        if frames:
            _read_into(chunks[index][:frames], manifest, file, start, bool(loop))
    return {"chunks": chunks} | plan.augmentation()


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Unset int16 at a multiple of 64 bytes: on a CPU, jax takes that without a copy.

    It may, as nothing is written there once a batch is handed out.
    """
    size = 2 * math.prod(shape)
    raw = np.empty(size + 64, np.uint8)
    first = -raw.ctypes.data % 64
    return raw[first : first + size].view(np.int16).reshape(shape)


def _read_into(
    out: np.ndarray, manifest: Manifest, index: int, start: int, loop: bool
) -> None:
    """Fill ``out`` with the frames of a file from ``start`` on; a mono file fills all.

    A read, not a map of the file: it costs less where no page is mapped yet, and of a
    file that has shrunk it makes an error, not a signal.
    """
    file, stop = manifest.files[index], start + len(out)
    wraps = loop and stop > file.frames  # a loop is read whole and unrolled
    low, high = (0, file.frames) if wraps else (start, stop)
    direct = not wraps and file.channels == out.shape[1]
    samples = out if direct else np.empty((high - low, file.channels), np.int16)
    with open(manifest.path(file), "rb") as source:
        source.seek(file.data_offset + 2 * low * file.channels)
        if source.readinto(samples) != samples.nbytes:
            raise DataError(f"{source.name}: {SHRUNK}")
    if not direct:
        out[:] = read_frames(samples, start - low, stop - low, loop)


def feed(manifest: Manifest, plans: Iterable[Plan], chunk: int) -> Iterator[Batch]:
    """Batches of plans with the leading axes (steps, batch)."""
    return (read_chunks(manifest, plan, chunk) for plan in plans_of_steps(plans))


def load_track(manifest: Manifest, track: Track) -> LoadedTrack:
    """Load a whole song: the distributed mixture if it exists, else the exact sum."""
    stems = [track.stems.get(name) for name in manifest.classes]
    present = [stem for stem in (*stems, track.mixture) if stem is not None]
    widths = [(manifest.files[s.file].channels, len(s.gains)) for s in present]
    channels = max(map(max, widths), default=1)
    references = np.stack([_excerpt(manifest, track, stem, channels) for stem in stems])
    if track.mixture is None:
        mixture = references.sum(axis=0)
    else:
        mixture = _excerpt(manifest, track, track.mixture, channels)
    facts = track.name, manifest.sample_rate, manifest.classes
    return LoadedTrack(*facts, mixture, references)


def _excerpt(
    manifest: Manifest, track: Track, stem: Stem | None, channels: int
) -> np.ndarray:
    audio = np.zeros((track.frames, channels), np.float32)
    if stem is not None:
        samples = map_file(manifest, stem.file)
        stop = stem.start + track.frames
        frames = read_frames(samples, stem.start, stop, stem.loop)
        audio[: len(frames)] = to_float(frames) * np.float32(stem.gains)
    return audio
