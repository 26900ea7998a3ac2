"""Spectrogram thumbnails: power on a mel frequency axis, in dB."""

import numpy as np

ROWS = 96
COLUMNS = 320
WINDOW_SECONDS = 0.06  # resolves the harmonics of a voice
LOWEST = 60.0  # Hz; below lies little music and much of a thumbnail's height


def mel(frequency: np.ndarray | float) -> np.ndarray:
    """Perceptual pitch of a frequency in Hz: 2595 log10(1 + f / 700)."""
    return 2595 * np.log10(1 + np.asarray(frequency) / 700)


def mel_place(frequency: float, sample_rate: float) -> float:
    """Height of a frequency in a thumbnail, 0 at the bottom to 1 at the top.

    Example:
        >>> mel_place(4000.0, 8000.0), mel_place(LOWEST, 8000.0)
        (1.0, 0.0)
    """
    low, high = mel(LOWEST), mel(sample_rate / 2)
    return float((mel(frequency) - low) / (high - low))


def spectrogram(wave: np.ndarray, sample_rate: float) -> np.ndarray:
    """Power (ROWS, columns) of a wave (time,) on a mel axis, lowest frequency first.

    In dB: a full-scale sine is near 0, silence is -200.
    """
    length = 2 ** round(np.log2(WINDOW_SECONDS * sample_rate))
    wave = np.pad(wave, (length // 2, length // 2 + max(0, length - len(wave))))
    hop = max(1, (len(wave) - length) // COLUMNS)
    frames = np.lib.stride_tricks.sliding_window_view(wave, length)[::hop]
    window = np.hanning(length)
    spectra = np.abs(np.fft.rfft(frames * window, axis=1)) * 2 / window.sum()
    levels = 20 * np.log10(np.maximum(spectra, 1e-10))
    pitches = np.linspace(mel(LOWEST), mel(sample_rate / 2), ROWS)
    bins = 700 * (10 ** (pitches / 2595) - 1) * length / sample_rate
    low = np.minimum(bins.astype(int), levels.shape[1] - 2)
    part = bins - low
    between = levels[:, low] * (1 - part) + levels[:, low + 1] * part
    # High rows span several bins: the loudest counts, or a tone would slip through.
    return np.maximum(between, np.maximum.reduceat(levels, low, axis=1)).T
