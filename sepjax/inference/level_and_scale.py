"""The level of a track, and the scales with which estimates sum to it, in blocks."""

import numpy as np

SAMPLES = 1 << 18  # at once: float64 copies stay small
CONDITION = 1e-6  # estimates more alike than this share their scale


class Level:
    """Standard deviation of groups of channels, gathered block by block."""

    def __init__(self) -> None:
        self.count = 0
        self.mean, self.squares, self.peak = np.zeros((3, 1))  # grow to the channels

    def add(self, wave: np.ndarray, width: int) -> None:
        """Take ``(time, channels)``, of which ``width`` belong together."""
        groups = wave.reshape(len(wave), -1, width)
        count = len(wave) * width
        mean = groups.mean((0, 2), dtype=np.float64)
        total, shift = self.count + count, mean - self.mean
        self.squares = self.squares + groups.var((0, 2), dtype=np.float64) * count
        self.squares = self.squares + shift**2 * (self.count * count / total)
        self.mean, self.count = self.mean + shift * (count / total), total
        self.peak = np.maximum(self.peak, np.abs(groups).max((0, 2)))

    def scale(self, width: int) -> np.ndarray:
        """Deviation of each channel; 1 where it is silent."""
        deviation = np.sqrt(self.squares / max(self.count, 1))
        # A constant has no deviation: its level keeps the quotient of moderate size.
        scale = np.maximum(deviation, 1e-4 * self.peak)
        return np.where(scale > 0, scale, 1).repeat(width).astype(np.float32)


class ScaleFit:
    r"""Least-squares scales :math:`c_j` of :math:`|\sum_j c_j \hat s_j - x|^2`.

    Each channel has its own scales, solved on estimates of norm one. Where estimates
    are nearly the same, the smallest solution shares the scale among them. A silent
    estimate stays silent.

    Example:
        >>> fit = ScaleFit()
        >>> wave = np.arange(6, dtype=np.float32).reshape(6, 1)
        >>> fit.add(np.stack([wave % 2, wave // 2], 1), 3 * (wave % 2) - wave // 2)
        >>> fit.solved().round(3).tolist()
        [[3.0], [-1.0]]

    Reference:
        Samuel et al. 2020 (Meta-TasNet), scale fit of the evaluation.
    """

    def __init__(self) -> None:
        self.gram, self.target = np.zeros((1, 1, 1)), np.zeros((1, 1))

    def add(self, estimates: np.ndarray, mixture: np.ndarray) -> None:
        """Take ``(time, sources, channels)`` and their ``(time, channels)``."""
        for start in range(0, len(mixture), SAMPLES):
            place = slice(start, start + SAMPLES)
            # (channels, sources, time): each channel alone, and contiguous.
            piece = estimates[place].transpose(2, 1, 0).astype(np.float64, "C")
            x = mixture[place].T.astype(np.float64, "C")
            self.gram = self.gram + np.stack([part @ part.T for part in piece])
            self.target = self.target + np.stack([a @ b for a, b in zip(piece, x)])

    def solved(self) -> np.ndarray:
        """Return the scales, float32 (sources, channels)."""
        scales = [_solved(*pair) for pair in zip(self.gram, self.target)]
        return np.stack(scales, -1).astype(np.float32)


def _solved(gram: np.ndarray, target: np.ndarray) -> np.ndarray:
    norm = np.sqrt(np.diag(gram))
    inverse = np.divide(1, norm, out=np.zeros_like(norm), where=norm > 0)
    unit = gram * inverse * inverse[:, None]
    scales, *_ = np.linalg.lstsq(unit, target * inverse, rcond=CONDITION)
    return scales * inverse
