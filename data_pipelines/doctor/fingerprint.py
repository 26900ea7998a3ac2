"""What identifies a recording: pairs of spectral peaks, and where they lie.

A peak that stands out of its surroundings survives a change of level, lossy coding,
resampling and noise; the two frequencies of a pair and the time between them do not
depend on where a copy begins. Two recordings that share many pairs *at one offset* are
candidates, :mod:`.matching`; the waveforms then decide.

Reference:
    A. Wang, "An industrial-strength audio search algorithm", ISMIR 2003. Resolution,
    neighbourhood and fan-out are chosen here, ``docs/decisions/0009-same-audio.md``.
"""

from typing import NamedTuple

import numpy as np

VERSION = 2  # of what is heard and of the numbers below; part of names in the cache
RATE = 8000  # Hz of the mono wave: what lossy coders keep
WINDOW, HOP = 1024, 256  # samples: 128 and 32 ms
AROUND = (12, 20)  # frames and bins on either side above which a peak stands out
FLOOR = -60.0  # dB below a sine of the wave's level: quieter peaks are noise
LOWEST = 6  # bin, 47 Hz: below it hum and DC
FAN = 3  # pairs a peak begins
AHEAD = (2, 64)  # frames to the second peak of a pair, up to 2 s
SPREAD = 64  # bins between the two, 500 Hz
FRAMES = 4096  # of the spectrogram at a time
_AHEAD_BITS, _SPREAD_BITS = 6, 7


class Fingerprint(NamedTuple):
    """Pairs of peaks, ordered by time."""

    hashes: np.ndarray  # (pairs,) uint32: bin, bins to the second peak, frames to it
    frames: np.ndarray  # (pairs,) uint32: when, in hops


def fingerprint(wave: np.ndarray) -> Fingerprint:
    """The pairs of peaks of a wave.

    Args:
        wave: (time,) at :data:`RATE`, of any level.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> wave = rng.standard_normal(8 * RATE).astype(np.float32)
        >>> loud, soft = fingerprint(wave), fingerprint(wave / 100)
        >>> bool(len(loud.hashes) > 100 and (loud.hashes == soft.hashes).all())
        True
    """
    frames, bins = _peaks(wave)
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for step in range(1, min(FAN * 6, len(frames) - 1) + 1):
        ahead = frames[step:] - frames[:-step]
        spread = bins[step:] - bins[:-step]
        good = (ahead >= AHEAD[0]) & (ahead < AHEAD[1]) & (abs(spread) < SPREAD)
        firsts.append(np.flatnonzero(good))
        seconds.append(firsts[-1] + step)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    nearest = np.arange(len(first)) - np.searchsorted(first, first) < FAN
    first, second = first[nearest], second[nearest]
    spread = bins[second] - bins[first] + SPREAD
    high = (bins[first] << _SPREAD_BITS) | spread
    hashes = (high << _AHEAD_BITS) | (frames[second] - frames[first])
    return Fingerprint(hashes.astype(np.uint32), frames[first].astype(np.uint32))


def _peaks(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames and bins that are louder than all around them, ordered by time."""
    from scipy import fft
    from scipy.ndimage import maximum_filter

    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    frames, bins = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    level = np.sqrt(np.mean(np.square(wave, dtype=np.float64))) if wave.any() else 0.0
    # A sine of this level has the magnitude level / sqrt(2) times the window's sum.
    floor = float(level) / np.sqrt(2) * (WINDOW / 2) * 10 ** (FLOOR / 20)
    count, margin = (len(wave) - WINDOW) // HOP + 1, AROUND[0]
    for first in range(0, count if level else 0, FRAMES):
        begin, stop = max(first - margin, 0), min(first + FRAMES + margin, count)
        part = wave[begin * HOP : (stop - 1) * HOP + WINDOW]
        windows = np.lib.stride_tricks.sliding_window_view(part, WINDOW)[::HOP]
        spectrum = np.abs(fft.rfft(windows * window, axis=1))
        around = maximum_filter(spectrum, [2 * each + 1 for each in AROUND])
        standing = (spectrum == around) & (spectrum > floor)
        standing[:, :LOWEST] = False
        at, bin_ = np.nonzero(standing[first - begin : first - begin + FRAMES])
        frames.append(at + first)
        bins.append(bin_)
    return np.concatenate(frames), np.concatenate(bins)
