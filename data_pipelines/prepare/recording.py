"""One recording: read, mixed, and written as the songs that are cut from it."""

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.audio.canonical import LARGEST, open_wav
from data_pipelines.audio.int16 import packed, quantize
from data_pipelines.collections import mixing
from data_pipelines.collections.collection import (
    Collection,
    Interval,
    Recording,
    song_names,
)
from data_pipelines.collections.mixing import BLOCK, Gains
from data_pipelines.manifest import DataError, hash_file
from data_pipelines.prepare import tracks
from data_pipelines.prepare.tracks import MIXTURE, Summed, sample_bytes

ACTIVE = 0.1  # seconds over which activity is looked at
LATE = 1.0  # seconds by which an interval may end after its recording


def blank_records(recording: Recording) -> list[dict[str, Any]]:
    """Return what is known of the songs of a recording before it is read."""
    shared = {
        "recording": recording.id,
        "group": recording.group or recording.id,
        "declared": recording.split,
        "tags": dict(recording.tags),
    }
    return [{"song": name} | shared for name in song_names(recording)]


def prepare_recording(
    collection: Collection, recording: Recording, folder: Path
) -> list[dict[str, Any]]:
    """Write the songs of a recording into ``folder/<song>``; return a record for each.

    Raises:
        DataError: a file of it cannot be used; nothing of it is left then.
    """
    try:
        return _prepare(collection, recording, folder)
    except BaseException:
        for name in song_names(recording):
            shutil.rmtree(folder / name, ignore_errors=True)
        raise


def _prepare(
    collection: Collection, recording: Recording, folder: Path
) -> list[dict[str, Any]]:
    headers = tracks.read_headers(collection, recording)
    summed = tracks.sum_recording(collection, headers, folder)
    rules, kind = collection.mix, np.dtype(collection.mix.dtype)
    sums = mixing.Sums(summed.waves, summed.counts, mixing.full_scale(kind))
    gains = mixing.gains_of(sums, rules.mode, beta=rules.beta, guard=rules.guard)
    shared = {
        "rate": collection.output.rate,
        "channels": tracks.song_channels(collection, headers),
        "factors": dict(zip(collection.classes, map(float, gains.factors))),
        "mixture_factor": float(gains.mixture),
        "tracks": dict(zip(collection.classes, summed.counts)),
        "files_clipped": summed.clipped,
        "warnings": summed.warnings,
    }
    cuts = _cuts(recording, collection.output.rate, summed.waves.shape[1])
    longest = max(len(cut) for cut in cuts)
    if longest * shared["channels"] * sample_bytes(collection) > LARGEST:
        raise DataError(
            f"recording '{recording.id}': more than 4 GiB a file; cut it by intervals"
        )
    return [
        blank
        | shared
        | _write_song(collection, summed, gains, cut, folder / blank["song"])
        for blank, cut in zip(blank_records(recording), cuts)
    ]


def _cuts(recording: Recording, rate: int, frames: int) -> list[range]:
    """The frames of the songs of a recording."""
    cuts = []
    for interval in recording.intervals or (Interval(""),):
        end = frames if interval.end is None else round(interval.end * rate)
        start = round(interval.start * rate)
        place = f"recording '{recording.id}': interval '{interval.name}'"
        if end > frames + LATE * rate or start >= frames:
            far = interval.start if start >= frames else interval.end
            raise DataError(
                f"{place} reaches to {far:g} s, the recording ends at "
                f"{frames / rate:.2f} s"
            )
        if end <= start:
            raise DataError(f"{place} is shorter than a sample")
        cuts.append(range(start, min(end, frames)))
    return cuts


def _write_song(
    collection: Collection, summed: Summed, gains: Gains, cut: range, folder: Path
) -> dict[str, Any]:
    """Write stems that sound and the mixture; returns the record of the song."""
    classes, out = collection.classes, collection.output
    width = sample_bytes(collection)
    folder.mkdir(parents=True)
    tally = Tally(len(classes), round(ACTIVE * out.rate), 8 * width)
    paths = {name: folder / f"{name}.wav" for name in (MIXTURE, *classes)}
    with ExitStack() as stack:
        form = summed.waves.shape[2], out.rate, width
        files = [stack.enter_context(open_wav(p, *form)) for p in paths.values()]
        for waves, clipped in _blocks(collection, summed, gains, cut, tally.hop):
            samples = [quantize(wave, 8 * width) for wave in waves]
            for file, each in zip(files, samples):
                file.writeframes(packed(each, width))
            tally.add(samples, clipped)
    absent = [name for name, sounds in zip(classes, tally.sounds) if not sounds]
    for name in absent:
        paths.pop(name).unlink()
    active = ACTIVE * tally.active(collection.filters.active_dbfs)
    active = np.minimum(active, len(cut) / out.rate)
    return {
        "frames": len(cut),
        "files": {
            name: {"sha256": hash_file(str(path)), "bytes": path.stat().st_size}
            for name, path in paths.items()
        },
        "absent": absent,
        "active_seconds": dict(zip(classes, np.round(active, 3).tolist())),
        "clipped": dict(zip(classes, tally.clipped[1:].tolist())),
        "mixture_clipped": int(tally.clipped[0]),
        "mixture_error": tally.error(),
    }


def _blocks(
    collection: Collection, summed: Summed, gains: Gains, cut: range, hop: int
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """Mixture and stems, and how much of each was clipped, some hops at a time."""
    kind, length = np.dtype(collection.mix.dtype), hop * max(BLOCK // hop, 1)
    for start in range(cut.start, cut.stop, length):
        part = slice(start, min(start + length, cut.stop))
        stems = mixing.render(summed.waves[:, part], gains, kind)
        mixture, over = stems.mixture, stems.mixture_clipped
        if summed.mixture is not None:  # a distributed one stays as it is
            whole = mixing.render(summed.mixture[None, part], Gains(np.ones(1)), kind)
            mixture, over = whole.mixture, whole.mixture_clipped
        yield [mixture, *stems.stems], np.array([over, *stems.clipped])


class Tally:
    """Activity, clipping and the sum of a song's stems, stored with so many bits.

    Activity is looked at over ``hop`` samples, of which all blocks but the last hold a
    whole number.
    """

    def __init__(self, classes: int, hop: int, bits: int):
        self.hop, self.full = hop, 2.0 ** (bits - 1)
        self.clipped = np.zeros(classes + 1, int)  # of the mixture and of the stems
        self.peaks: list[np.ndarray] = []  # (hops, classes)
        self.energy = self.difference = 0.0

    def add(self, samples: Sequence[np.ndarray], clipped: np.ndarray) -> None:
        """Add a block of mixture and stems, (time, channels) each, as stored."""
        self.clipped += clipped
        self.peaks.append(np.stack([self._peaks(wave) for wave in samples[1:]], axis=1))
        mixture, *stems = (wave.astype(np.int32) for wave in samples)
        self.energy += _energy(mixture)
        self.difference += _energy(mixture - sum(stems))

    def _peaks(self, wave: np.ndarray) -> np.ndarray:
        """The peak of each hop, over rows of memory, which NumPy is quick at."""
        wave = np.pad(wave, ((0, -len(wave) % self.hop), (0, 0)))
        rows = wave.reshape(-1, self.hop * wave.shape[1])
        return np.maximum(rows.max(axis=1), -rows.min(axis=1).astype(np.int32))

    @property
    def sounds(self) -> np.ndarray:
        """Return which stems have a sample that is not zero."""
        return np.concatenate(self.peaks).any(axis=0)

    def active(self, dbfs: float) -> np.ndarray:
        """Count the hops in which the peak of each stem exceeds a level."""
        return (np.concatenate(self.peaks) > self.full * 10 ** (dbfs / 20)).sum(axis=0)

    def error(self) -> float | None:
        """Energy of mixture - sum over that of the mixture, dB; None: an exact sum."""
        if not self.difference:
            return None
        return 10 * math.log10(self.difference / max(self.energy, 1.0))


def _energy(wave: np.ndarray) -> float:
    return float(np.square(wave, dtype=np.float64).sum())
