r"""Integrated loudness in LUFS, of any sample rate, block by block.

Loudness is :math:`-0.691 + 10 \log_{10} \sum_c \overline{y_c^2}` of K-weighted channels
:math:`y_c`, averaged over blocks of 0.4 s (a quarter apart) that pass two gates.

Reference:
    Recommendation ITU-R BS.1770-4 (2015), annex 1. Its filters are given at 48 kHz
    only. The analog prototypes behind them, and the form of the bilinear transform that
    meets the tabulated numbers, are those of B. De Man, "Evaluation of implementations
    of the EBU R128 loudness measurement", AES 145 (2018).
"""

import math

import numpy as np

# The shelf that stands for the head, and the high-pass "revised low-frequency B".
SHELF_HZ, SHELF_DB, SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
SHELF_EXPONENT = 0.4996667741545416  # of the gain at the shelf's center
PASS_HZ, PASS_Q = 38.13547087602444, 0.5003270373238773
TABLE_RATE = 48000
OFFSET = -0.691  # dB: 997 Hz at full scale in one channel is then -3.01 LKFS
STEP = 0.1  # s between blocks
BLOCK_STEPS = 4  # of a block
ABSOLUTE_GATE = -70.0  # LUFS
RELATIVE_GATE = -10.0  # LU below the loudness of what passes the first


def k_weighting(rate: int) -> np.ndarray:
    """The two sections of the K weighting at a rate, as ``scipy.signal.sosfilt`` wants.

    Args:
        rate: Hz. Below some 4 kHz the shelf lies beyond what can be heard.

    Example:
        >>> k_weighting(48000).round(5)[:, [0, 1, 2, 4, 5]]  # as in the standard
        array([[ 1.53512, -2.6917 ,  1.19839, -1.69066,  0.73248],
               [ 1.     , -2.     ,  1.     , -1.99005,  0.99007]])
    """
    # Near half the rate the tangent has no end; what is filtered there is inaudible.
    k = math.tan(math.pi * min(SHELF_HZ / rate, 0.45))
    high = 10 ** (SHELF_DB / 20)
    middle = high**SHELF_EXPONENT
    shelf = [
        high + middle * k / SHELF_Q + k * k,
        2 * (k * k - high),
        high - middle * k / SHELF_Q + k * k,
        1 + k / SHELF_Q + k * k,
        2 * (k * k - 1),
        1 - k / SHELF_Q + k * k,
    ]
    # The standard's high-pass has numerators 1, -2, 1 at 48 kHz, 0.04 dB more than one
    # where it passes everything: the same gain at every rate.
    gain = _high_pass(TABLE_RATE)[0]
    section = [gain, -2 * gain, gain, *_high_pass(rate)]
    return np.array([np.array(s) / s[3] for s in (shelf, section)])


def _high_pass(rate: int) -> list[float]:
    """Denominator of the high-pass."""
    k = math.tan(math.pi * PASS_HZ / rate)
    return [1 + k / PASS_Q + k * k, 2 * (k * k - 1), 1 - k / PASS_Q + k * k]


class LoudnessMeter:
    """Integrated loudness of a wave that comes in blocks.

    Example:
        >>> time = np.arange(48000 * 3) / 48000
        >>> meter = LoudnessMeter(48000, 1)
        >>> meter.add(np.sin(2 * np.pi * 997 * time)[:, None])
        >>> round(meter.loudness(), 2)
        -3.01
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._sections = k_weighting(rate)
        self._state = np.zeros((2, 2, channels))
        self._step = max(1, round(STEP * rate))
        self._rest = np.zeros((0, channels))
        self._energies: list[np.ndarray] = []  # mean squares of steps, all channels

    def add(self, block: np.ndarray) -> None:
        """Add the next frames, (frames, channels) at full scale 1."""
        from scipy.signal import sosfilt

        wave, self._state = sosfilt(self._sections, block, axis=0, zi=self._state)
        wave = np.concatenate([self._rest, wave])
        whole = len(wave) // self._step * self._step
        steps = wave[:whole].reshape(-1, self._step * wave.shape[1])
        self._energies.append(np.einsum("ij,ij->i", steps, steps) / self._step)
        self._rest = wave[whole:]

    def loudness(self) -> float:
        """Return the LUFS of all frames so far; -inf where nothing passes the gates."""
        steps = np.concatenate([np.zeros(0), *self._energies])
        if len(steps) < BLOCK_STEPS:
            return -math.inf
        sums = np.convolve(steps, np.ones(BLOCK_STEPS), "valid") / BLOCK_STEPS
        loud = sums[sums > 10 ** ((ABSOLUTE_GATE - OFFSET) / 10)]
        if not len(loud):
            return -math.inf
        gate = loud.mean() * 10 ** (RELATIVE_GATE / 10)
        return OFFSET + 10 * math.log10(loud[loud > gate].mean())
