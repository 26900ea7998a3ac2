"""How hard a song is to separate, before anything is trained: numbers of one song.

Activity and level say whether a class is there to be learned, the scores of the ideal
ratio mask how far a mask on a spectrogram could go, and the overlap of those masks
which classes stand in each other's way.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sepjax.evaluation import masks, masks_wiener
from sepjax.evaluation.averages import median
from sepjax.evaluation.bss import sdr_frames
from sepjax.evaluation.masks import BLOCK_FRAMES, fft_size
from sepjax.evaluation.metrics import ROUNDING
from sepjax.evaluation.whole_track import si_sdr
from sepjax.functional import spectral

MASKS = {
    "ratio": masks.ideal_ratio_mask,
    "binary": masks.ideal_binary_mask,
    "wiener": masks_wiener.ideal_wiener_filter,
}
ACTIVE_PEAK = -60.0  # dBFS; what is quieter is noise between the notes
ACTIVE_SECONDS = 0.1  # length of the blocks that are active or not


class Activity(NamedTuple):
    """How long and how loud a class sounds in a song."""

    seconds: float  # during which it sounds
    share: float  # of the song
    level: float  # dBFS, while it sounds; NaN if it never does


def activity(wave: np.ndarray, sample_rate: int) -> Activity:
    """Measure when and how loud a class sounds.

    A block of 0.1 s is active if its peak exceeds -60 dBFS. The level is the root mean
    square over samples and channels of the active blocks, -3 dBFS for a full sine. The
    wave is ``(time, channels)`` at full scale 1, the sample rate in Hz.

    Example:
        >>> wave = np.concatenate([np.zeros((8000, 1)), np.full((8000, 1), 0.1)])
        >>> [round(value, 3) for value in activity(wave, 8000)]
        [1.0, 0.5, -20.0]
    """
    block = max(1, round(ACTIVE_SECONDS * sample_rate))
    starts = np.arange(0, len(wave), block)
    lengths = np.minimum(block, len(wave) - starts)
    peaks = np.maximum.reduceat(np.abs(wave).max(axis=1), starts)
    energies = np.add.reduceat(np.square(wave, dtype=np.float64).mean(axis=1), starts)
    active = peaks > 10 ** (ACTIVE_PEAK / 20)
    frames = int(lengths[active].sum())
    power = float(energies[active].sum() / frames) if frames else 0.0
    level = 10 * math.log10(power) if power else math.nan
    return Activity(frames / sample_rate, frames / len(wave), level)


def oracle_scores(
    stems: np.ndarray,
    mixture: np.ndarray,
    *,
    sample_rate: int,
    power: float = 2.0,
    window: float = 6.0,
    mask: str = "ratio",
) -> dict[str, list[float]]:
    """Score ideal masks on a song, per class.

    Args:
        stems: ``(classes, time, channels)``, float at full scale 1.
        mixture: ``(time, channels)``; need not be the sum of the stems.
        sample_rate: Hz; the transform is as long as 2048 samples at 44.1 kHz.
        power: the exponent of the ratio mask.
        window: seconds of a window of SDR; windows follow one another.
        mask: one of :data:`MASKS`.

    Returns:
        ``si_sdr`` of the whole song and ``sdr``, the median over the windows in which
        the class sounds, in dB. NaN for a class that is silent, or alone in the song or
        window: there is nothing to separate, and what is left is rounding noise.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (2, 16000, 1))
        >>> scores = oracle_scores(noise, noise.sum(0), sample_rate=8000, window=1.0)
        >>> {name: len(values) for name, values in scores.items()}
        {'si_sdr': 2, 'sdr': 2}

    Reference:
        Thesis, chapter 4: power 2, SDR in windows of 6 s.
    """
    if np.any(stems, axis=(1, 2)).sum() < 2:
        return dict.fromkeys(("si_sdr", "sdr"), [math.nan] * len(stems))
    n_fft = fft_size(sample_rate)
    options = {"power": power} if mask == "ratio" else {}
    estimates = MASKS[mask](stems, mixture, n_fft=n_fft, **options)
    # One class at a time: scores are in float64, which a whole song would feel.
    whole = [float(si_sdr(s, e)) for s, e in zip(stems, estimates)]
    frames = max(1, round(window * sample_rate))
    windows = sdr_frames(stems, estimates, window=frames, hop=frames, silence="source")
    whole = [math.nan if value > ROUNDING else value for value in whole]
    windows = np.where(windows > ROUNDING, np.nan, windows)
    return {"si_sdr": whole, "sdr": [median(row) for row in windows]}


def overlap(stems: np.ndarray, *, sample_rate: int, power: float = 2.0) -> np.ndarray:
    r"""Measure how much classes mask each other: the common part of their oracle masks.

    With the ratio masks :math:`M_a = |Y_a|^\alpha / \sum_k |Y_k|^\alpha` and the energy
    :math:`E = \sum_k |Y_k|^2` of every bin of every channel,

    .. math:: O_{ab} = \frac{\sum E \min(M_a, M_b)}
        {\min\left(\sum E M_a, \sum E M_b\right)}

    For :math:`\alpha = 2`, :math:`E M_a = |Y_a|^2`: the share of the quieter class's
    energy that lies under the other. 0: they never meet. 1: it is covered completely.

    Arguments and transform are those of :func:`oracle_scores`.

    Returns:
        ``(classes, classes)``, symmetric, 1 on the diagonal; NaN for silent classes.

    Example:
        >>> time = np.arange(8000)
        >>> tones = [np.sin(0.3 * time), 0.1 * np.sin(0.3 * time), np.sin(1.2 * time)]
        >>> overlap(np.stack(tones)[..., None], sample_rate=8000).round(2)
        array([[1., 1., 0.],
               [1., 1., 0.],
               [0., 0., 1.]])
    """
    n_fft = fft_size(sample_rate)
    block = BLOCK_FRAMES * n_fft // 2
    common = np.zeros((len(stems), len(stems)))
    for start in range(0, stems.shape[1], block):
        # Every block reaches half a window into the next, so that each bin counts once.
        piece = stems[:, start : start + block + n_fft // 2].astype(np.float32)
        rest = block + n_fft // 2 - piece.shape[1]
        waves = np.pad(np.moveaxis(piece, -1, 1), ((0, 0), (0, 0), (0, rest)))
        common += np.asarray(_common_energy(waves, power, n_fft), np.float64)
    own = np.diagonal(common)
    least = np.minimum(own[:, None], own[None])
    return np.divide(common, least, where=least > 0, out=np.full(common.shape, np.nan))


@functools.partial(jax.jit, static_argnames=("power", "n_fft"))
def _common_energy(waves: jax.Array, power: float, n_fft: int) -> jax.Array:
    """(classes, channels, time) -> sums of E min(M_a, M_b) (classes, classes)."""
    spectra = spectral.stft(waves, n_fft=n_fft, hop=n_fft // 2, center=False)
    magnitude = jnp.abs(spectra).reshape(len(waves), -1)
    energy = jnp.square(magnitude).sum(0, keepdims=True)
    weight = magnitude**power
    total = weight.sum(0, keepdims=True)
    masks = weight / jnp.where(total > 0, total, 1.0)
    parts = masks * energy
    return jax.lax.map(lambda part: jnp.minimum(part[None], parts).sum(1), parts)
