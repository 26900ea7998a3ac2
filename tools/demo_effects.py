"""Circular effects: a loop goes in, a loop comes out."""

from collections.abc import Callable

import numpy as np
import soxr


def _filter(
    wave: np.ndarray, response: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Multiply the loop's spectrum; ``response`` maps cycles per sample to gain."""
    frequency = np.fft.rfftfreq(len(wave))
    return np.fft.irfft(np.fft.rfft(wave) * response(frequency), len(wave))


def color(wave: np.ndarray, tilt: float, sample_rate: int) -> np.ndarray:
    """Tilt the spectrum by ``tilt`` dB per octave around 700 Hz; drop below 30 Hz."""

    def response(frequency: np.ndarray) -> np.ndarray:
        hertz = np.maximum(frequency * sample_rate, 1.0)
        octaves = np.clip(np.log2(hertz / 700), -4, 4)
        return 10 ** (tilt * octaves / 20) / (1 + (30 / hertz) ** 4)

    return _filter(wave, response)


def high_pass(wave: np.ndarray, cutoff: float, sample_rate: int) -> np.ndarray:
    """Drop what lies below ``cutoff`` Hz, 48 dB per octave."""
    return _filter(
        wave, lambda f: 1 / (1 + (cutoff / np.maximum(f * sample_rate, 1)) ** 8)
    )


def tame_kick(wave: np.ndarray, sample_rate: int, share: float = 0.4) -> np.ndarray:
    """Turn what lies below 150 Hz down to ``share`` of the energy, if it has more."""
    low = _filter(wave, lambda f: 1 / (1 + (f * sample_rate / 150) ** 8))
    rest = wave - low
    most = np.sqrt(share / (1 - share) * (rest**2).sum() / (low**2).sum())
    return rest + min(1.0, most) * low


def amplifier(wave: np.ndarray, drive: float, sample_rate: int) -> np.ndarray:
    """A saturated stage and the band of a loudspeaker, 90 Hz to 4.5 kHz."""
    driven = np.tanh(drive * wave / np.abs(wave).max())

    def cabinet(frequency: np.ndarray) -> np.ndarray:
        hertz = np.maximum(frequency * sample_rate, 1.0)
        return 1 / ((1 + (90 / hertz) ** 4) * (1 + (hertz / 4500) ** 6))

    return _filter(driven, cabinet)


def compress(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Halve the differences of loudness, in dB, between moments of 60 ms."""
    window = np.hanning(2 * int(0.06 * sample_rate) + 1)
    kernel = np.zeros(len(wave))
    kernel[: len(window)] = window / window.sum()
    kernel = np.roll(kernel, -(len(window) // 2))
    spectrum = np.fft.rfft(kernel)
    power = np.maximum(_filter(wave**2, lambda _: spectrum), 0.0)
    return wave / np.sqrt(np.sqrt(power) + 0.1 * np.sqrt(power.max()))


def room(
    wave: np.ndarray,
    wet: float,
    decay: float,
    sample_rate: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Add a diffuse room that decays 60 dB in ``decay`` seconds, at level ``wet``."""
    time = np.arange(len(wave)) / sample_rate
    tail = rng.standard_normal(len(wave)) * 10 ** (-3 * time / decay)
    tail[time < 0.008] = 0.0  # the direct sound comes first
    tail /= np.sqrt((tail**2).sum())
    spectrum = np.fft.rfft(tail)
    return wave + wet * _filter(wave, lambda _: spectrum)


def resample_loop(wave: np.ndarray, old_rate: int, new_rate: int) -> np.ndarray:
    """Resample a loop whose length is whole at both rates."""
    step = old_rate // np.gcd(old_rate, new_rate)
    pad = 20 * step
    if len(wave) % step:
        raise ValueError(f"a loop of {len(wave)} samples is not whole at {new_rate} Hz")
    wrapped = np.concatenate([wave[-pad:], wave, wave[:pad]])
    long = soxr.resample(wrapped, old_rate, new_rate, "VHQ")
    new_pad, frames = pad * new_rate // old_rate, len(wave) * new_rate // old_rate
    return long[new_pad : new_pad + frames]


def limit(wave: np.ndarray, level: float, peak: float) -> np.ndarray:
    """Bring the loop to the RMS ``level`` with no peak above ``peak``.

    Peaks count between the samples, too: another rate may have samples there. The gain
    is the minimum over, then the mean of, a window around each sample: it never exceeds
    what the sample allows and never jumps.
    """
    width = 80
    for _ in range(8):  # limiting costs level, which costs peaks
        wave = wave * (level / np.sqrt((wave**2).mean()))
        between = 4 * np.fft.irfft(np.fft.rfft(wave), 4 * len(wave))
        height = np.abs(between).reshape(-1, 4).max(1)
        if height.max() <= peak:
            break
        gain = np.minimum(1.0, 0.97 * peak / np.maximum(height, 1e-9))
        wrapped = np.concatenate([gain[-2 * width :], gain, gain[: 2 * width]])
        windows = np.lib.stride_tricks.sliding_window_view(wrapped, 2 * width + 1)
        least = windows.min(1)
        mean = np.convolve(least, np.full(2 * width + 1, 1 / (2 * width + 1)), "valid")
        wave = wave * mean
    return wave
