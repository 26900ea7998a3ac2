"""All facts about one song: its stems, their sum, and where the mixture has them.

The files are read once, side by side and block by block; then ten seconds of each stem
again, in which its offset is measured. A song is never held as a whole.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.audio.files import evened
from data_pipelines.doctor import alignment, reading
from data_pipelines.doctor.alignment import Offset
from data_pipelines.doctor.levels import ACTIVE_SECONDS, LevelMeter, Levels, decibels
from data_pipelines.doctor.reading import MIXTURE, rate_of, width_of
from data_pipelines.doctor.same_audio import name_of
from data_pipelines.manifest import DataError, Manifest, Track
from sepjax.storage import finite

EXACT = 1e-13  # of the mixture's energy: as far as sums of float64 products can tell
CONDITION = 1e-9  # of the fit of gains: two equal stems share theirs


class SumFit(NamedTuple):
    """Errors of the sum of the stems against a distributed mixture."""

    error: float  # dB, energy of mixture - sum against the mixture
    fitted_error: float  # dB, the same once the sum has the best gain
    gain: float  # dB, that gain
    gains: Mapping[str, float]  # dB, of every stem for itself, by least squares


class SongFacts(NamedTuple):
    """A song and its measurements; ``error`` says why there are none."""

    name: str  # split/song
    split: str
    seconds: float
    rate: int
    levels: Mapping[str, Levels]  # of the stems and of the mixture
    lengths: Mapping[str, float]  # seconds of every file from the song's start
    sum_fit: SumFit | None = None  # None: there is no distributed mixture
    offsets: Mapping[str, Offset] = {}  # of the stems against a distributed mixture
    error: str = ""

    @property
    def mixture(self) -> Levels | None:
        """Levels of the mixture."""
        return self.levels.get(MIXTURE)

    def to_tree(self) -> dict[str, Any]:
        """Plain values for JSON, rounded for people; silence is null."""
        tree = {
            "name": self.name,
            "seconds": self.seconds,
            "sample_rate": self.rate,
            "levels": {name: one._asdict() for name, one in self.levels.items()},
            "file_seconds": {},
            "sum": self.sum_fit and self.sum_fit._asdict(),
            "offsets": {
                name: one._asdict() | {"confident": one.confident}
                for name, one in self.offsets.items()
            },
        } | ({"error": self.error} if self.error else {})
        return finite(tree, digits=3) | {"file_seconds": finite(self.lengths, digits=6)}


def examine(manifest: Manifest, track: Track) -> SongFacts:
    """Measure a song; one that cannot be read comes back with its ``error``."""
    rate = rate_of(manifest, track)
    facts = name_of(track), track.split, track.frames / rate, rate
    try:
        meters, gram = _read(manifest, track)
        levels = {name: meter.levels() for name, meter in meters.items()}
        offsets = _offsets(manifest, track, meters) if track.mixture else {}
    except DataError as error:
        return SongFacts(*facts, {}, {}, error=str(error))
    fit = _fit(gram, list(track.stems)) if track.mixture and track.stems else None
    lengths = {
        name: (file.frames - stem.start) / file.sample_rate
        for name, stem in reading.streams_of(track).items()
        if not stem.loop and (file := manifest.files[stem.file])
    }
    return SongFacts(*facts, levels, lengths, fit, offsets)


def _read(manifest: Manifest, track: Track) -> tuple[dict[str, LevelMeter], np.ndarray]:
    """Meters of all waves, and the inner products of the waves, the mixture last."""
    streams = reading.streams_of(track)
    rate, channels = rate_of(manifest, track), width_of(manifest, [*streams.values()])
    widths = {name: width_of(manifest, (stem,)) for name, stem in streams.items()}
    widths.setdefault(MIXTURE, channels)
    meters = {name: LevelMeter(rate, width) for name, width in widths.items()}
    gram = np.zeros((len(meters), len(meters)))
    each = [
        evened(reading.raw_blocks(manifest, track, s), reading.BLOCK)
        for s in streams.values()
    ]
    for wide in zip(*each):
        raw = dict(zip(streams, wide))
        blocks = {
            name: reading.with_gains(raw[name], stem) for name, stem in streams.items()
        }
        shape = len(next(iter(raw.values()))), channels
        if MIXTURE not in blocks:
            blocks[MIXTURE] = sum(blocks.values(), np.zeros(shape, np.float32))
        for name, block in blocks.items():
            meters[name].add(block, raw.get(name))
        waves = [np.broadcast_to(blocks[name], shape).ravel() for name in meters]
        waves = np.array(waves, np.float64)
        gram += waves @ waves.T
    return meters, gram


def _fit(gram: np.ndarray, names: list[str]) -> SumFit:
    """Errors of the sum from the inner products of stems and mixture."""
    whole, stems, shared = gram[-1, -1], gram[:-1, :-1], gram[:-1, -1]
    total, cross = stems.sum(), shared.sum()
    if not whole:
        return SumFit(math.inf if total else -math.inf, -math.inf, 0.0, {})
    error = max(whole - 2 * cross + total, 0.0) / whole
    gain = cross / total if total else 0.0
    fitted = max(whole - gain * cross, 0.0) / whole
    ridge = CONDITION * np.trace(stems) * np.eye(len(stems))
    gains = np.linalg.solve(stems + ridge, shared) if total else np.zeros(len(stems))
    each = {name: decibels(g * g) for name, g in zip(names, gains.tolist())}
    floored = [decibels(e) if e > EXACT else -math.inf for e in (error, fitted)]
    return SumFit(*floored, decibels(gain * gain), each)


def _offsets(
    manifest: Manifest, track: Track, meters: Mapping[str, LevelMeter]
) -> dict[str, Offset]:
    """The lag of the mixture behind every stem that sounds."""
    rate, mixture = rate_of(manifest, track), meters[MIXTURE].peaks
    margin = round(alignment.LARGEST * rate)
    count = round(alignment.EXCERPT / ACTIVE_SECONDS)
    offsets = {}
    for name, stem in track.stems.items():
        peaks = meters[name].peaks
        if not peaks.any() or not mixture.any():
            continue
        first = alignment.best_excerpt(peaks, mixture, count)
        start = first * max(1, round(ACTIVE_SECONDS * rate))
        stop = min(start + round(alignment.EXCERPT * rate), track.frames)
        own = reading.excerpt(manifest, track, stem, start, stop)
        whole = reading.excerpt(
            manifest, track, track.mixture, start - margin, stop + margin
        )
        if own.shape[1] == whole.shape[1]:  # the stem's stronger channel
            channel = int(np.argmax(np.square(own).sum(axis=0)))
            waves = own[:, channel], whole[:, channel]
        else:
            waves = own.mean(axis=1), whole.mean(axis=1)
        offsets[name] = alignment.find_offset(*waves, margin)
    return offsets
