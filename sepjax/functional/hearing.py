"""How sensitive hearing is at a frequency, and how it divides frequencies."""

import numpy as np

DESIGNED = 44100.0  # Hz, sample rate of the filters of logWMSE


def hearing(frequency: np.ndarray) -> np.ndarray:
    r"""Power response of the weighting of logWMSE, made for 44.1 kHz.

    A high shelf (1.5 kHz, +5 dB), a high-pass (120 Hz, 12 dB per octave), a peak
    (500 Hz, +2.5 dB, :math:`Q = 1.5/\sqrt 2`) and two low-passes of 6 dB per octave at
    10 kHz, as bilinear filters.

    Args:
        frequency: Hz, any shape; above 22.05 kHz the response is 0.

    Returns:
        Same shape, power: ``10 * log10`` of it is in dB.

    Example:
        >>> (10 * np.log10(hearing(np.array([50.0, 3000.0, 10000.0])))).round(1)
        array([-15.3,   4.2,  -1. ])
        >>> np.sqrt(hearing(np.array([0.0, 500.0, 3000.0]))).round(2)  # of amplitudes
        array([0.  , 1.34, 1.63])

    Reference:
        Fenton and Lee 2017; Jordal, log-wmse-audio-quality; the filters are those of
        Bristow-Johnson's audio equalizer cookbook and of Butterworth.
    """
    angle = np.pi * np.minimum(frequency, DESIGNED / 2) / DESIGNED

    def warped(corner: float) -> np.ndarray:
        return np.tan(angle) / np.tan(np.pi * corner / DESIGNED)

    with np.errstate(over="ignore", divide="ignore"):
        high = 1 / (1 + warped(120.0) ** -4.0)
        low = 1 / (1 + warped(10000.0) ** 2) ** 2
        boosts = _shelf(warped(1500.0), 5.0) * _peak(warped(500.0), 2.5)
    response = np.where(frequency > 0, high * low, 0.0) * boosts
    return np.where(frequency < DESIGNED / 2, response, 0.0)


def _shelf(w: np.ndarray, gain: float, q: float = 0.5**0.5) -> np.ndarray:
    """Power of a shelf that lifts what lies above the analog frequency 1."""
    a, w = 10 ** (gain / 40), np.minimum(w, 1e6)
    upper = (a * (a * w**2 - 1)) ** 2 + a**3 * w**2 / q**2
    return upper / ((w**2 - a) ** 2 + a * w**2 / q**2)


def _peak(w: np.ndarray, gain: float, q: float = 1.5 * 0.5**0.5) -> np.ndarray:
    """Power of a peak at the analog frequency 1."""
    a, w = 10 ** (gain / 40), np.minimum(w, 1e6)
    bell = (1 - w**2) ** 2
    return (bell + (a * w / q) ** 2) / (bell + (w / (a * q)) ** 2)


def mel_bank(
    sample_rate: float, size: int, count: int, *, slaney: bool = False
) -> np.ndarray:
    """Triangles between ``count + 2`` points that are equally spaced in mel.

    Args:
        sample_rate: Hz.
        size: of the transform, samples.
        count: bands from 0 Hz to half the sample rate.
        slaney: Slaney's scale (linear below 1 kHz) and triangles of area 1 Hz;
            otherwise ``2595 log10(1 + f / 700)`` and peaks of 1.

    Returns:
        ``(size // 2 + 1, count)`` weights.

    Example:
        >>> bank = mel_bank(8000, 512, 20)
        >>> bank.shape, bool(np.allclose(bank[20:200].sum(1), 1))
        ((257, 20), True)
    """
    top = sample_rate / 2
    if slaney:
        step = np.log(6.4) / 27
        mel = 15 + np.log(top / 1000) / step if top > 1000 else top * 3 / 200
        points = np.linspace(0, mel, count + 2)
        high = 1000 * np.exp((points - 15) * step)
        edges = np.where(points < 15, points * 200 / 3, high)
    else:
        points = np.linspace(0, np.log10(1 + top / 700), count + 2)
        edges = 700 * (10**points - 1)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    frequency = np.linspace(0, top, size // 2 + 1)[:, None]
    sides = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
    triangles = np.maximum(0, np.minimum(*sides))
    return triangles * 2 / (high - low) if slaney else triangles
