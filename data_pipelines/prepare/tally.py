"""Facts about a song, counted while its stems are written."""

import math
from collections.abc import Sequence

import numpy as np


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
