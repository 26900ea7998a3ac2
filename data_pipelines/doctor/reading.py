"""The sound of a manifest's tracks, block by block, from files of any kind and rate.

:mod:`data_pipelines.feeding.host` reads canonical files; here files are as they were
found, so that what is wrong with them is still there.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from data_pipelines.audio.files import evened, read_blocks
from data_pipelines.doctor.levels import ACTIVE_PEAK
from data_pipelines.feeding.host import read_frames
from data_pipelines.manifest import Manifest, Stem, Track

BLOCK = 1 << 17  # frames at a time: 3 s at 44.1 kHz, 1 MB in stereo
MIXTURE = "mixture"


def streams_of(track: Track) -> dict[str, Stem]:
    """Return stems by name, and the distributed mixture where there is one."""
    return {**track.stems} | ({MIXTURE: track.mixture} if track.mixture else {})


def heard(track: Track) -> tuple[Stem, ...]:
    """Return the stems that make the mixture: the distributed one, else all stems."""
    return (track.mixture,) if track.mixture else tuple(track.stems.values())


def rate_of(manifest: Manifest, track: Track) -> int:
    """Return the rate at which the frames of a track count, in Hz."""
    stems = [*heard(track), *track.stems.values()]
    return manifest.files[stems[0].file].sample_rate if stems else manifest.sample_rate


def width_of(manifest: Manifest, stems: Sequence[Stem]) -> int:
    """Return the number of channels in which stems can be summed."""
    widths = [max(manifest.files[s.file].channels, len(s.gains)) for s in stems]
    return max(widths, default=1)


def raw_blocks(
    manifest: Manifest, track: Track, stem: Stem, frames: int = BLOCK
) -> Iterator[np.ndarray]:
    """Read ``track.frames`` frames of a stem's file, before its gains.

    Yields:
        float32 (frames, file channels), the last one shorter; silence beyond the end
        of the file.

    Raises:
        DataError: the file cannot be decoded.
    """
    file = manifest.files[stem.file]
    file = dataclasses.replace(file, path=manifest.path(file))
    stop = stem.start + track.frames
    if stem.loop:
        take = np.concatenate(list(read_blocks(file)))  # short: a few bars
        for first in range(stem.start, stop, frames):
            yield read_frames(take, first, min(first + frames, stop), True)
        return
    begin, end = min(stem.start, file.frames), min(stop, file.frames)
    yield from read_blocks(file, frames, begin, end)
    for first in range(end - begin, track.frames, frames):
        yield np.zeros((min(frames, track.frames - first), file.channels), np.float32)


def mixture_blocks(manifest: Manifest, track: Track) -> Iterator[np.ndarray]:
    """Read the mixture of a track, float32 (frames, channels)."""
    streams = [evened(raw_blocks(manifest, track, s), BLOCK) for s in heard(track)]
    for blocks in zip(*streams):
        yield sum(map(with_gains, blocks, heard(track)))


def sounds(manifest: Manifest, track: Track, stem: Stem) -> bool:
    """Return whether a stem's peak exceeds -60 dBFS; stop reading at such a peak.

    Raises:
        DataError: the file cannot be decoded.
    """
    return any(
        abs(with_gains(block, stem)).max(initial=0.0) > 10 ** (ACTIVE_PEAK / 20)
        for block in raw_blocks(manifest, track, stem)
    )


def with_gains(block: np.ndarray, stem: Stem) -> np.ndarray:
    """Apply a stem's gains to a block: (frames, channels)."""
    return block * np.float32(stem.gains)


def excerpt(
    manifest: Manifest, track: Track, stem: Stem, start: int, stop: int
) -> np.ndarray:
    """Read a stem's track frames ``start`` to ``stop``, float32 (frames, channels).

    Silence before the track's first frame and after its last.
    """
    audio = np.zeros((stop - start, width_of(manifest, (stem,))), np.float32)
    first, last = max(start, 0), min(stop, track.frames)
    begin = dataclasses.replace(stem, start=stem.start + first)
    piece = dataclasses.replace(track, frames=last - first)
    at = first - start
    for block in raw_blocks(manifest, piece, begin) if first < last else ():
        audio[at : at + len(block)] = with_gains(block, stem)
        at += len(block)
    return audio
