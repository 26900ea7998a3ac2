"""Scores that weigh errors as hearing does: by frequency bands, in float64.

All take a reference and an estimate, ``(time, channels)`` at full scale 1, and give one
number in which higher is better. Shapes that differ are a ValueError.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sepjax.functional.hearing import hearing, mel_bank

TAIL = 4000  # samples of zeros after a signal: the weighting filter rings on
BLOCK = 256  # frames transformed at once


class Bleeding(NamedTuple):
    """Both from 0 to 100; 100 where nothing is too loud, or nothing too soft."""

    bleedless: float
    fullness: float


def log_wmse(
    reference: np.ndarray,
    estimate: np.ndarray,
    *,
    mixture: np.ndarray,
    sample_rate: float,
) -> float:
    r"""Logarithm of the frequency-weighted error, relative to the mixture ("logWMSE").

    With :math:`W` the energy after
    :func:`~sepjax.functional.hearing.hearing` and the mixture :math:`x`,

    .. math:: -4 \ln\left(\frac{W(\hat s - s)}{W(x)} + 10^{-8}\right)

    of every channel, then the mean over channels. Silence as a reference is scored as
    well; the highest score, of a perfect estimate, is 73.68. The weights are those of
    44.1 kHz at any sample rate (Hz); nothing above 22.05 kHz counts.

    Example:
        >>> wave = np.random.default_rng(0).normal(size=(8000, 1))
        >>> score = log_wmse(wave, 0.9 * wave, mixture=wave, sample_rate=8000)
        >>> print(f"{score:.2f}, which is {-4 * np.log(0.01):.2f}")
        18.42, which is 18.42

    Reference:
        I. Jordal, "logWMSE", github.com/nomonosound/log-wmse-audio-quality, without its
        threshold for single samples, as torch-log-wmse 1.1.
    """
    from scipy import fft

    _check(reference, estimate, mixture)
    size = fft.next_fast_len(len(reference) + TAIL, real=True)
    weights = hearing(np.arange(size // 2 + 1) * (sample_rate / size))
    weights[1 : (size + 1) // 2] *= 2  # each stands for its negative frequency, too

    def energy(wave: np.ndarray) -> float:
        spectrum = fft.rfft(np.asarray(wave, np.float64), size)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        return float(power @ weights) / size

    floor = 1e-16 * len(reference)  # a mixture at -160 dB of full scale
    ratios = [
        energy(e.astype(np.float64) - s) / max(energy(x), floor)
        for s, e, x in zip(reference.T, estimate.T, mixture.T)
    ]
    return float(np.mean(-4 * np.log(np.add(ratios, 1e-8))))


def bleeding(
    reference: np.ndarray, estimate: np.ndarray, *, sample_rate: float
) -> Bleeding:
    r"""Measure how little an estimate adds, and how little it lacks, in mel bands.

    With :math:`d` the difference in dB, estimate minus reference, of the magnitudes of
    512 mel bands (Slaney's scale and areas) in frames of 4096 samples, 1024 apart,
    levels below 80 dB under the loudest of either signal raised to that,

    .. math:: \text{bleedless} = \frac{100}{1 + \overline{d_{d > 0}}}, \qquad
        \text{fullness} = \frac{100}{1 - \overline{d_{d < 0}}}

    over all channels together. The sample rate is in Hz.

    Example:
        >>> wave = np.random.default_rng(0).normal(size=(16000, 1))
        >>> louder = bleeding(wave, 10 ** (1 / 20) * wave, sample_rate=16000)
        >>> f"{louder.bleedless:.2f} {louder.fullness:.2f}"
        '50.00 100.00'

    Reference:
        ZFTurbo's Music-Source-Separation-Training, ``bleedless`` and ``fullness``.
    """
    _check(reference, estimate)
    bank = mel_bank(sample_rate, 4096, 512, slaney=True)
    levels = []
    for wave in (reference, estimate):
        bands = np.concatenate([*_frames(wave, 4096, 1024, bank, 1, "constant")])
        level = 20 * np.log10(np.maximum(bands, 1e-10))
        levels.append(np.maximum(level, level.max() - 80))
    difference = levels[1] - levels[0]
    parts = difference[difference > 0], -difference[difference < 0]
    excess = (part.mean() if part.size else 0.0 for part in parts)
    return Bleeding(*(float(100 / (1 + mean)) for mean in excess))


def multi_mel_snr(
    reference: np.ndarray, estimate: np.ndarray, *, sample_rate: float
) -> float:
    r"""Signal-to-noise ratio of mel power spectra of three resolutions, in dB.

    With :math:`M` the power in mel bands (O'Shaughnessy's scale, peaks of 1) and
    :math:`\alpha = \langle s, \hat s\rangle / |\hat s|^2`,

    .. math:: 10 \log_{10} \frac{\sum M(s)^2}
        {\sum (M(s) - M(\alpha \hat s))^2 + 10^{-8}}

    averaged over frames of 512, 1024 and 2048 samples (half overlapping) with 80, 128
    and 192 bands, and over the channels in which the reference sounds. The estimate may
    have any scale; the sample rate is in Hz.

    Example:
        >>> wave = np.random.default_rng(0).normal(size=(16000, 1))
        >>> multi_mel_snr(wave, 0.5 * wave, sample_rate=16000) > 100
        True

    Reference:
        MSRBench of the Music Source Restoration Challenge, "Multi-Mel-SNR".
    """
    _check(reference, estimate)
    values = []
    for size, count in ((512, 80), (1024, 128), (2048, 192)):
        bank = mel_bank(sample_rate, size, count)
        for s, e in zip(reference.T.astype(np.float64), estimate.T.astype(np.float64)):
            if not s.any():
                continue
            scaled = (s @ e) / (e @ e + 1e-8) * e
            how = size, size // 2, bank, 2, "reflect"
            sides = (_frames(wave[:, None], *how) for wave in (s, scaled))
            signal, noise = 0.0, 1e-8
            for left, right in zip(*sides):
                signal += np.square(left).sum()
                noise += np.square(left - right).sum()
            values.append(10 * np.log10(signal / noise))
    return float(np.mean(values)) if values else float("nan")


def _frames(
    wave: np.ndarray, size: int, hop: int, bank: np.ndarray, power: int, padding: Any
) -> Iterator[np.ndarray]:
    """Yield ``(channels, frames, bands)`` of a padded signal, in blocks of frames."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    pad = [(size // 2, size // 2), (0, 0)]
    padded = np.pad(np.asarray(wave, np.float64), pad, mode=padding)
    views = np.lib.stride_tricks.sliding_window_view(padded, size, 0)[::hop]
    for start in range(0, len(views), BLOCK):
        part = views[start : start + BLOCK].swapaxes(0, 1)
        magnitude = np.abs(np.fft.rfft(part * window))
        yield magnitude**power @ bank


def _check(reference: np.ndarray, *others: np.ndarray) -> None:
    for wave in others:
        if reference.ndim != 2 or reference.shape != wave.shape:
            raise ValueError(
                f"shapes {reference.shape} and {wave.shape} must be the same (time, "
                "channels)"
            )
