"""Short excerpts of scored tracks, kept as audio files for the report's players."""

import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.audio.int16 import to_int16
from sepjax.storage import atomic_folder, write_atomically, write_json

STEMS = ("reference", "estimate")
FLOOR = -60.0  # dB of full scale: a class below this counts as not sounding


class Excerpt(NamedTuple):
    """A piece of one track; the first three fields decide which pieces are kept."""

    rank: int  # 0: the best piece of its track
    quiet: float  # dB, minus the level of sounding_places
    place: int  # of the track in its split
    track: str
    start: float  # seconds
    sample_rate: int
    classes: tuple[str, ...]
    waves: np.ndarray  # (1 + 2 sources, time, channels): mixture, references, estimates


class Collector:
    """Picks the best excerpts of a stream of tracks, holding only those.

    Every track gives one piece before any track gives two; among equals, pieces in
    which more of the classes sound come first. A piece of a short track is as short.
    """

    def __init__(self, count: int, seconds: float):
        self._count, self._seconds = count, seconds
        self.kept: list[Excerpt] = []

    def add(
        self, place: int, name: str, sample_rate: int, classes: tuple[str, ...], *waves
    ) -> None:
        """Offer a track: its mixture, references and estimates."""
        mixture, references, estimates = waves
        length = min(round(self._seconds * sample_rate), len(mixture))
        places = sounding_places(references, length, self._count)
        for rank, (start, level) in enumerate(places):
            cut = slice(start, start + length)
            pieces = mixture[None, cut], references[:, cut], estimates[:, cut]
            facts = name, start / sample_rate, sample_rate, classes
            self.keep(Excerpt(rank, -level, place, *facts, np.concatenate(pieces)))

    def keep(self, *excerpts: Excerpt) -> None:
        """Offer excerpts."""
        both = sorted([*self.kept, *excerpts], key=lambda excerpt: excerpt[:3])
        self.kept = both[: self._count]

    def write(self, folder: Path) -> None:
        """Replace ``folder`` by the excerpts as 16-bit FLAC and their index.json."""
        with atomic_folder(folder) as part:
            kept = enumerate(self.kept, start=1)
            index = [_write_excerpt(part, *excerpt) for excerpt in kept]
            write_json(part / "index.json", index)


def sounding_places(
    references: np.ndarray, length: int, count: int
) -> list[tuple[int, float]]:
    """Find the starts of up to ``count`` disjoint pieces in which most classes sound.

    A piece of ``(sources, time, channels)`` is worth the mean over classes of its level
    in dB, no lower than ``FLOOR``, so that one silent class costs more than any balance
    of the others. Returns pairs of start sample and worth, the best first.

    Example:
        >>> wave = np.zeros((1, 40, 1))
        >>> wave[0, 20:30] = 1.0
        >>> sounding_places(wave, length=10, count=1)
        [(20, 0.0)]
    """
    energy = np.square(references, dtype=np.float64).mean(-1)
    total = np.pad(np.cumsum(energy, axis=-1), ((0, 0), (1, 0)))
    starts = np.arange(0, references.shape[1] - length + 1, max(length // 2, 1))
    power = (total[:, starts + length] - total[:, starts]) / length
    level = 10 * np.log10(np.maximum(power, 10 ** (FLOOR / 10))).mean(0)
    chosen: list[tuple[int, float]] = []
    for place in np.argsort(-level, kind="stable"):
        if all(abs(starts[place] - start) >= length for start, _ in chosen):
            chosen.append((int(starts[place]), float(level[place])))
        if len(chosen) == count:
            break
    return chosen


def _write_excerpt(folder: Path, number: int, excerpt: Excerpt) -> dict:
    import soundfile

    name = re.sub(r"[^\w.-]+", "_", excerpt.track).strip("._") or "track"
    home, rate = f"{number:02d}-{name}", excerpt.sample_rate
    (folder / home).mkdir()
    # One gain for all that is played side by side, so that loudness compares.
    gain = 1 / max(1.0, float(np.abs(excerpt.waves).max()))
    names = ["mixture"]
    names += [f"{c}.{kind}" for kind in STEMS for c in excerpt.classes]
    paths = [f"{home}/{name}.flac" for name in names]
    for path, wave in zip(paths, excerpt.waves):
        content, samples = io.BytesIO(), to_int16(wave * gain)[0]
        soundfile.write(content, samples, rate, "PCM_16", format="FLAC")
        # Not by libsndfile, which does not say that a disk is full.
        write_atomically(folder / path, content.getvalue())
    count = len(excerpt.classes)
    return {
        "track": excerpt.track,
        "start": excerpt.start,
        "seconds": excerpt.waves.shape[1] / rate,
        "sample_rate": rate,
        "gain": gain,
        "mixture": paths[0],
        "references": dict(zip(excerpt.classes, paths[1 : 1 + count])),
        "estimates": dict(zip(excerpt.classes, paths[1 + count :])),
    }
