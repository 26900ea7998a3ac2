"""Excerpts in which all classes sound: what ``data.all_sound`` trains and validates on.

A class that is silent has no SI-SDR, and a model of logarithmic spectra still gives it
a latent. Where all classes sound neither matters, and encoders can be compared.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from data_pipelines.audio.int16 import to_float
from data_pipelines.feeding.host import map_file
from data_pipelines.manifest import DataError, Manifest, Track
from sepjax.config import DataConfig

BLOCK = 0.1  # seconds
FLOOR = 1e-3  # -60 dBFS, as in the feasibility report
SHARE = 0.5  # of an excerpt's blocks in which a class must sound


def keep_sounding(manifest: Manifest, data: DataConfig) -> Manifest:
    """Cut training and validation to the parts of songs in which all classes sound.

    A class sounds in an excerpt if, in at least half of the blocks of 0.1 s, its peak
    is above -60 dBFS; a sum (``data.sums``) sounds where one of its classes does. Of
    training, a part is a stretch in which *every* excerpt of ``chunk_seconds`` is of
    that kind, wherever it starts (in steps of 0.1 s); of validation, excerpts of
    ``valid_seconds`` that follow one another. Each part is a track of its own,
    ``SONG at 12.3 s``. Songs for testing stay whole.

    Args:
        manifest: canonical, see :mod:`data_pipelines.audio.canonical`.
        data: lengths of excerpts.

    Raises:
        DataError: a split has no such part.
    """
    lengths = {
        "train": data.chunk_seconds,
        "valid": data.valid_seconds or data.chunk_seconds,
    }
    groups = data.members if data.sums else {n: (n,) for n in manifest.classes}
    sounding = functools.cache(functools.partial(_sounding_blocks, manifest))
    cut = functools.partial(_parts, manifest, sounding, groups.values())
    kept: list[Track] = []
    for split in dict.fromkeys(track.split for track in manifest.tracks):
        tracks = manifest.split(split)
        if seconds := lengths.get(split):
            chunk = round(seconds * manifest.sample_rate)
            tracks = tuple(part for track in tracks for part in cut(track, chunk))
        if not tracks:
            raise DataError(
                f"data.all_sound: no {seconds:g} s of split '{split}' of dataset "
                f"'{manifest.name}' have all of {', '.join(groups)} sounding "
                "in at least half of them; take shorter excerpts or fewer classes"
            )
        kept += tracks
    return dataclasses.replace(manifest, tracks=tuple(kept))


def song_of(name: str) -> str:
    """Return the name of the song that a part is of.

    Example:
        >>> song_of("SONG at 12.3 s"), song_of("SONG")
        ('SONG', 'SONG')
    """
    return re.sub(r" at \d+\.\d s$", "", name)


def _parts(
    manifest: Manifest,
    sounding: Callable[[int], np.ndarray],
    groups: Iterable[Sequence[str]],
    track: Track,
    chunk: int,
) -> Iterator[Track]:
    """The stretches of a track in which all excerpts have all classes."""
    block = round(BLOCK * manifest.sample_rate)
    starts = np.arange(0, max(track.frames - chunk, -1) + 1, block)
    good = np.full(len(starts), True)
    blocks = np.arange(track.frames // block)
    for names in groups:
        some = np.zeros(len(blocks), bool)  # of the parts of a sum
        for stem in (track.stems[name] for name in names if name in track.stems):
            active = sounding(stem.file)
            index = stem.start // block + blocks
            inside = stem.loop | (index < len(active))
            some |= inside & active[index % len(active)]
        total = np.append(0, np.cumsum(some))
        ends = np.minimum((starts + chunk) // block, len(blocks))
        good &= total[ends] - total[starts // block] >= SHARE * chunk / block
    edges = np.flatnonzero(np.diff(np.concatenate([[0], good, [0]])))
    for first, stop in edges.reshape(-1, 2):
        start, frames = int(starts[first]), int((stop - 1 - first) * block + chunk)
        if track.split == "valid":  # whole excerpts only
            frames -= frames % chunk
        stems = {
            name: dataclasses.replace(stem, start=stem.start + start)
            for name, stem in track.stems.items()
        }
        name = f"{track.name} at {start / manifest.sample_rate:.1f} s"
        yield dataclasses.replace(
            track, name=name, frames=frames, stems=stems, mixture=None
        )


def _sounding_blocks(manifest: Manifest, index: int) -> np.ndarray:
    """Whether each block of a file has a peak above the floor; at least one block."""
    samples = map_file(manifest, index)
    block = round(BLOCK * manifest.sample_rate)
    whole = samples[: len(samples) // block * block]
    if not len(whole):
        return np.zeros(1, bool)
    peaks = np.abs(to_float(whole)).reshape(-1, block * whole.shape[1]).max(axis=1)
    return peaks > FLOOR
