"""Scales with which estimates sum to a mixture, by least squares, block by block."""

import numpy as np

SAMPLES = 1 << 18  # at once: float64 copies stay small
CONDITION = 1e-6  # estimates more alike than this share their scale


class ScaleFit:
    r"""Least-squares scales :math:`c_j` of :math:`|\sum_j c_j \hat s_j - x|^2`.

    Those of each channel; solved on estimates of norm one. Where some are nearly the
    same, the smallest solution, which shares the scale among them. A silent estimate
    stays silent.

    Example:
        >>> fit = ScaleFit()
        >>> wave = np.arange(6, dtype=np.float32).reshape(6, 1)
        >>> fit.add(np.stack([wave % 2, wave // 2]), 3 * (wave % 2) - wave // 2)
        >>> fit.solved().round(3).tolist()
        [[3.0], [-1.0]]

    Reference:
        Samuel et al. 2020 (Meta-TasNet), scale fit of the evaluation.
    """

    def __init__(self) -> None:
        self.gram, self.target = 0.0, 0.0

    def add(self, estimates: np.ndarray, mixture: np.ndarray) -> None:
        """Take ``(sources, time, channels)`` and ``(time, channels)`` that belong."""
        for start in range(0, len(mixture), SAMPLES):
            place = slice(start, start + SAMPLES)
            # (channels, sources, time): each channel alone, and contiguous.
            piece = np.moveaxis(estimates[:, place], -1, 0).astype(np.float64, "C")
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
