"""Facts about a single wave: levels, clipping, channels, silence, bandwidth."""

import functools
import math
from typing import NamedTuple

import numpy as np

from data_pipelines.doctor.loudness import LoudnessMeter

ACTIVE_SECONDS = 0.1
ACTIVE_PEAK = -60.0  # dBFS of a block that sounds; as everywhere else
# The largest sample of 16 bits. A sample or two at full scale is a song brought to full
# scale; three equal ones in a row are a wave whose top was cut off, because music that
# was not cut turns around at its peaks.
FULL_SCALE = 1 - 2**-15
CLIPPED_RUN = 3
SPECTRUM = 4096  # samples of a window, of which each block gives SPECTRA
SPECTRA = 8
EDGE_HZ = 500.0  # an edge is a fall of EDGE_DB within this width
EDGE_DB = 25.0
EDGE_SHARE = 0.9  # of half the rate: above it the filter of any converter cuts


class Levels(NamedTuple):
    """Facts about one wave; levels in dB of full scale, -inf for silence."""

    peak: float  # dBFS, largest sample
    loudness: float  # LUFS, integrated
    dc: float  # dBFS, largest mean of a channel
    clipped: int  # samples in runs of equal ones at full scale, all channels
    samples: int  # of all channels
    active: float  # share of blocks of 0.1 s whose peak exceeds -60 dBFS
    side: float | None  # dB, energy of (L - R) / 2 against both channels; None: mono
    mono: float | None  # dB, energy of (L + R) / 2 likewise
    edge: float | None  # Hz above which a steep filter has cut; None: nowhere

    @property
    def silent(self) -> bool:
        """Whether all samples are zero."""
        return self.peak == -math.inf


def decibels(ratio: float) -> float:
    """A ratio of energies in decibels.

    Example:
        >>> decibels(0.01), decibels(0)
        (-20.0, -inf)
    """
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf


class LevelMeter:
    """Measures a wave that comes in blocks.

    Example:
        >>> meter = LevelMeter(8000, 2)
        >>> sine = np.sin(2 * np.pi * 400 * np.arange(8000) / 8000)[:, None] / 2
        >>> meter.add(np.hstack([sine, sine]))
        >>> levels = meter.levels()
        >>> round(levels.peak, 2), levels.clipped, levels.side, levels.active
        (-6.02, 0, -inf, 1.0)
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._channels = rate, channels
        self._loudness = LoudnessMeter(rate, channels)
        self._clips = ClipMeter()
        self._peak, self._sum, self._frames = 0.0, np.zeros(channels), 0
        self._side = self._mid = self._both = 0.0
        self._block = max(1, round(ACTIVE_SECONDS * rate))
        self._rest = np.zeros(0, np.float32)
        self._peaks: list[np.ndarray] = []
        self._spectrum = np.zeros(SPECTRUM // 2 + 1)

    def add(self, block: np.ndarray, raw: np.ndarray | None = None) -> None:
        """Add the next frames, (frames, channels) at full scale 1.

        ``raw`` is the same as the file has it, before gains, where clipping shows.
        """
        self._clips.add(block if raw is None else raw)
        self._loudness.add(block)
        magnitude = functools.reduce(np.maximum, abs(block).T)
        self._peak = max(self._peak, float(magnitude.max(initial=0.0)))
        self._sum += block.sum(axis=0, dtype=np.float64)
        self._frames += len(block)
        if self._channels == 2:
            left, right = block.T
            self._mid += energy((left + right) / 2)
            self._side += energy((left - right) / 2)
            self._both += (energy(left) + energy(right)) / 2
        wave = np.concatenate([self._rest, magnitude])
        whole = len(wave) // self._block * self._block
        self._peaks.append(wave[:whole].reshape(-1, self._block).max(axis=1))
        self._rest = wave[whole:]
        if len(block) >= SPECTRUM:
            self._add_spectrum(block)

    def levels(self) -> Levels:
        """Return the levels of all blocks until now."""
        sounding = self.peaks > 10 ** (ACTIVE_PEAK / 20)
        stereo, both = self._channels == 2, self._both or 1.0
        mean = abs(self._sum / max(self._frames, 1)).max()
        return Levels(
            peak=decibels(self._peak**2),
            loudness=self._loudness.loudness(),
            dc=decibels(float(mean) ** 2),
            clipped=self._clips.count(),
            samples=self._frames * self._channels,
            active=float(sounding.mean()) if len(sounding) else 0.0,
            side=decibels(self._side / both) if stereo else None,
            mono=decibels(self._mid / both) if stereo else None,
            edge=edge(self._spectrum, self._rate),
        )

    @property
    def peaks(self) -> np.ndarray:
        """The peak of every block of 0.1 s."""
        last = [self._rest.max(keepdims=True)] if len(self._rest) else []
        return np.concatenate([np.zeros(0), *self._peaks, *last])

    def _add_spectrum(self, wave: np.ndarray) -> None:
        starts = np.linspace(0, len(wave) - SPECTRUM, SPECTRA).astype(int)
        frames = [wave[start : start + SPECTRUM].mean(axis=1) for start in starts]
        spectra = np.fft.rfft(np.array(frames) * np.hanning(SPECTRUM), axis=1)
        self._spectrum += np.square(abs(spectra)).sum(axis=0)


class ClipMeter:
    """Counts samples in runs of equal ones at full scale, over the ends of blocks.

    Example:
        >>> meter = ClipMeter()
        >>> meter.add(np.array([[0.5], [1.0], [1.0]]))
        >>> meter.add(np.array([[1.0], [0.5], [-1.0], [-1.0]]))
        >>> meter.count()
        3
    """

    def __init__(self) -> None:
        self._done = 0
        self._open: dict[int, tuple[float, int]] = {}  # channel -> value, length

    def add(self, block: np.ndarray) -> None:
        """Add the next frames, (frames, channels)."""
        for channel, wave in enumerate(block.T):
            value, length = self._open.pop(channel, (0.0, 0))
            at = np.flatnonzero(abs(wave) >= FULL_SCALE)
            breaks = (np.diff(at) != 1) | (np.diff(wave[at]) != 0)
            starts = np.concatenate([[0], np.flatnonzero(breaks) + 1, [len(at)]])
            lengths = np.diff(starts) if len(at) else np.zeros(0, int)
            if length and len(at) and at[0] == 0 and wave[0] == value:
                lengths[0] += length
            elif length >= CLIPPED_RUN:
                self._done += length
            if len(at) and at[-1] == len(wave) - 1:
                self._open[channel] = float(wave[-1]), int(lengths[-1])
                lengths = lengths[:-1]
            self._done += int(lengths[lengths >= CLIPPED_RUN].sum())

    def count(self) -> int:
        """Return the number of samples that were clipped until now."""
        last = sum(n for _, n in self._open.values() if n >= CLIPPED_RUN)
        return self._done + last


def energy(wave: np.ndarray) -> float:
    """Sum of squares, in float64."""
    return float(np.square(wave, dtype=np.float64).sum())


def edge(spectrum: np.ndarray, rate: int) -> float | None:
    """Find the frequency in Hz at which a power spectrum falls off a cliff.

    Lossy coders cut steeply (MP3 at 128 kbit/s at 16 kHz); instruments do not. Searched
    from a quarter of half the rate up to :data:`EDGE_SHARE` of it.
    """
    width = max(2, round(EDGE_HZ / rate * SPECTRUM))
    if not spectrum.any() or len(spectrum) < 8 * width:
        return None
    level = 10 * np.log10(spectrum + 1e-16 * spectrum.max())
    sums = np.cumsum(np.concatenate([[0.0], level]))
    means = (sums[width:] - sums[:-width]) / width
    # A band, a gap as wide as one, and the next band.
    fall = means[: -2 * width] - means[2 * width :]
    middle = np.arange(len(fall)) + 1.5 * width
    half = len(spectrum) - 1
    fall[(middle < half / 4) | (middle > EDGE_SHARE * half)] = 0
    best = int(np.argmax(fall))
    return float(middle[best] * rate / SPECTRUM) if fall[best] > EDGE_DB else None
