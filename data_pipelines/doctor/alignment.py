r"""By how many samples a stem is away from where its mixture has it.

The correlation of the mixture with the stem, of whose cross spectrum only the phases
are kept (GCC-PHAT), has a peak at the lag :math:`n` at which the mixture holds the
stem: mixture(t) contains stem(t - n). The other stems are noise to it.

Reference:
    C. H. Knapp and G. C. Carter, "The generalized correlation method for estimation of
    time delay", IEEE Transactions on Acoustics, Speech, and Signal Processing 24, 1976.
"""

from typing import NamedTuple

import numpy as np

EXCERPT = 10.0  # s of the stem
LARGEST = 1.0  # s of lag that is looked for
# Peak over the deviation of all other lags. The largest of 100 000 lags of noise is
# 4.5; a stem that the mixture holds reached 50 and more in real songs.
CONFIDENT = 10.0
QUIET = 1e-6  # of the stem's strongest bin: phases of less are noise
# A lag of zero is kept unless another one is better: beyond NEAR samples by a factor,
# because music repeats itself, and always by SURE deviations of their difference.
BETTER, NEAR = 1.5, 64
SURE = 5.0


class Offset(NamedTuple):
    """The place of a stem in its mixture."""

    lag: int  # samples by which the mixture is later than the stem
    confidence: float  # peak over deviation
    inverted: bool = False  # the mixture holds the stem upside down

    @property
    def confident(self) -> bool:
        """Whether the lag can be trusted."""
        return self.confidence >= CONFIDENT


def find_offset(stem: np.ndarray, mixture: np.ndarray, margin: int) -> Offset:
    """Find the lag of a mixture behind a stem.

    Args:
        stem: (time,), an excerpt in which it is not silent.
        mixture: (time + 2 margin,), the same excerpt with ``margin`` more samples on
            either side.
        margin: the largest lag, in samples.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> stem, others = rng.standard_normal((2, 9000))
        >>> mixture = np.roll(stem, 37) + others
        >>> find_offset(stem[500:-500], mixture, 500)[0::2]
        (37, False)
    """
    from scipy import fft

    size = fft.next_fast_len(len(stem) + len(mixture), real=True)
    # Faded at both ends: of a loop, whose lags are all alike, the ends would tell most.
    own, whole = (fft.rfft(w * np.hanning(len(w)), size) for w in (stem, mixture))
    power = np.square(abs(own))
    cross = whole * own.conj()
    kept = (power > QUIET * power.max(initial=0.0)) & (abs(cross) > 0)
    cross = np.where(kept, cross / np.where(kept, abs(cross), 1), 0)
    lags = fft.irfft(cross, size)[: 2 * margin + 1]
    peak = int(np.argmax(abs(lags)))
    rest = abs(np.arange(len(lags)) - peak) > 8  # around the peak are its own skirts
    deviation = float(np.sqrt(np.mean(np.square(lags[rest])))) if rest.any() else 0.0
    if not deviation:
        return Offset(0, 0.0)
    # Two lags of a stem without high frequencies are much alike, and so is their noise.
    alike = fft.irfft(kept.astype(float), size)
    noise = deviation * np.sqrt(2 * (1 - alike[abs(peak - margin)] / alike[0]))
    gain = abs(lags[peak]) - abs(lags[margin])
    again = abs(peak - margin) > NEAR and gain < (BETTER - 1) * abs(lags[margin])
    if again or gain < SURE * noise:
        peak = margin
    confidence = float(abs(lags[peak])) / deviation
    return Offset(peak - margin, confidence, bool(lags[peak] < 0))


def best_excerpt(stem: np.ndarray, mixture: np.ndarray, count: int) -> int:
    """Find the excerpt in which a stem stands out most.

    Args:
        stem: (blocks,) its peak, or level, in consecutive blocks.
        mixture: (blocks,) the same of the mixture.
        count: blocks of an excerpt.

    Returns:
        First block of the excerpt with the largest sum of the stem's share.

    Example:
        >>> best_excerpt(np.array([0, 1, 1, 0.5]), np.array([1, 9, 1, 0.5]), 2)
        2
    """
    count = min(count, len(stem))
    floor = 1e-3 * np.square(mixture).mean() + 1e-12
    share = np.minimum(np.square(stem) / (np.square(mixture) + floor), 2.0)
    sums = np.convolve(share, np.ones(count), "valid") if count else np.zeros(1)
    return int(np.argmax(sums))
