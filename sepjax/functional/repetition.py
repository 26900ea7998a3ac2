"""What repeats in a spectrogram: its beat, its period, and the median over repetitions.

A trailing silence, as of a chunk that was filled up, counts for nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sepjax.functional.medians import median_of

Frames = Float[Array, "frames bins"]


def sounding_frames(magnitude: Frames) -> Int[Array, ""]:
    """Number of frames up to the last one that is not silent."""
    places = jnp.arange(1, len(magnitude) + 1)
    return jnp.max(jnp.where(magnitude.max(1) > 0, places, 0))


def beat_spectrum(magnitude: Frames) -> Float[Array, " frames"]:
    r"""Mean autocorrelation of the power of all bins, by lag in frames, 1 at lag 0.

    .. math:: b_l = \frac{1}{T - l} \sum_{t,f} V_{t,f}^2 V_{t+l,f}^2

    Example:
        >>> loop = jnp.tile(jnp.array([[1.0], [0.0], [0.0]]), (4, 1))
        >>> [round(float(beat), 2) for beat in jax.jit(beat_spectrum)(loop)[:4]]
        [1.0, 0.0, 0.0, 1.07]

    Reference:
        Rafii and Pardo 2013, REpeating Pattern Extraction Technique (REPET).
    """
    count, total = sounding_frames(magnitude), len(magnitude)
    power = jnp.square(magnitude / jnp.maximum(magnitude.max(), 1e-12))
    spectra = jnp.abs(jnp.fft.rfft(power, 2 * total, axis=0)) ** 2
    beats = jnp.fft.irfft(spectra.sum(1), 2 * total)[:total]
    pairs = jnp.maximum(count - jnp.arange(total), 1)
    beats = jnp.maximum(beats, 0) / pairs.astype(beats.dtype)
    return beats / jnp.maximum(beats[0], 1e-12)


def find_period(
    beats: Float[Array, " frames"], low: int, high: int, count: Int[Array, ""]
) -> Int[Array, ""]:
    """Period in frames whose multiples stand out of the beat spectrum.

    The worth of a period ``p`` is the mean over its multiples of the highest beat
    within two frames, minus the mean beat within ``3 p / 4``. The longest quarter of
    the lags, of which little is known, is left out, and a period comes three times.

    Args:
        beats: of :func:`beat_spectrum`.
        low: shortest period, frames.
        high: longest period, frames.
        count: frames of the excerpt that sound.

    Example:
        >>> beats = jnp.array([1.0] + [0.0, 0, 0, 0, 0, 0, 1] * 9)
        >>> find = jax.jit(find_period, static_argnums=(1, 2))
        >>> int(find(beats, 4, 20, jnp.array(63)))
        7

    Reference:
        Rafii and Pardo 2013, algorithm 1, but for its test that both windows have the
        same highest beat.
    """
    last = jnp.maximum(3 * count // 4, 1)
    heights = jax.lax.reduce_window(
        jnp.where(jnp.arange(len(beats)) < last, beats, 0.0),
        *(-jnp.inf, jax.lax.max, (5,), (1,), "SAME"),
    )
    sums = jnp.concatenate([jnp.zeros(1), jnp.cumsum(beats)])
    periods = np.arange(low, max(high, low) + 1)[:, None]
    # One place at least: an excerpt may be shorter than any period.
    places = periods * np.arange(1, max(len(beats) // low, 1) + 1)
    around = 3 * periods // 4
    first, stop = jnp.maximum(places - around, 1), jnp.minimum(places + around, last)
    width = jnp.maximum(stop - first, 1).astype(beats.dtype)
    mean = (sums[stop] - sums[jnp.minimum(first, stop)]) / width
    known = places < last
    worth = heights[jnp.minimum(places, len(beats) - 1)] - mean
    total = jnp.mean(worth, 1, where=known)
    possible = (periods[:, 0] * 3 <= count) & known.any(1)
    best = low + jnp.argmax(jnp.where(possible, total, -jnp.inf))
    near = jnp.clip(best + jnp.arange(-2, 3), 1, len(beats) - 1)
    return near[jnp.argmax(beats[near])]


def masked_median(
    values: Float[Array, "count ..."], known: Bool[Array, "count ..."]
) -> Float[Array, "..."]:
    """Median along the first axis of the values that are known, 0 where none is.

    Example:
        >>> values = jnp.array([[7.0], [1.0], [9.0]])
        >>> float(masked_median(values, jnp.array([[True], [False], [True]]))[0])
        9.0
    """
    # What is not known goes to both ends in turn, and so leaves the middle.
    turn = (jnp.cumsum(~known, axis=0) + len(values)) % 2 == 1
    filled = jnp.where(known, values, jnp.where(turn, -jnp.inf, jnp.inf))
    return jnp.where(known.any(0), median_of([*filled]), 0.0)


def repeating_segment(magnitude: Frames, period: Int[Array, ""], low: int) -> Frames:
    """Median over the repetitions of each frame of a period, for every frame (REPET).

    Args:
        magnitude: spectrogram.
        period: frames, a third of the excerpt at most.
        low: the shortest that the period may be; how often it comes is static.
    """
    count, total = sounding_frames(magnitude), len(magnitude)
    place = jnp.arange(max(total // 3, low) + 3)  # a period's end is found within two
    index = place[None] + period * jnp.arange(-(-total // low))[:, None]
    known = (index < count) & (place < period)[None]
    taken = magnitude[jnp.minimum(index, total - 1)]
    segment = masked_median(taken, known[..., None])
    return segment[jnp.arange(total) % jnp.maximum(period, 1)]


def periodic_median(
    magnitude: Frames, period: Int[Array, " frames"], reach: int
) -> Frames:
    """Median over frames that lie 0 to ``reach`` periods before and after.

    Args:
        magnitude: spectrogram.
        period: of every frame, or one for all.
        reach: periods to either side.

    Reference:
        Liutkus, Rafii, Badeau, Pardo and Richard 2012, Adaptive filtering for music/
        voice separation exploiting the repeating musical structure.
    """
    steps = jnp.arange(-reach, reach + 1)[:, None]
    index = jnp.arange(len(magnitude))[None] + steps * period[None]
    known = (index >= 0) & (index < sounding_frames(magnitude))
    taken = magnitude[jnp.clip(index, 0, len(magnitude) - 1)]
    return masked_median(taken, known[..., None])


def local_periods(
    magnitude: Frames, low: int, high: int, length: int
) -> Int[Array, " frames"]:
    """Period of each frame, from excerpts of ``length`` frames that overlap by half."""
    hop, total = max(length // 2, 1), len(magnitude)
    starts = np.minimum(np.arange(0, max(total - hop, 1), hop), max(total - length, 0))

    def period(start: Array) -> Array:
        excerpt = jax.lax.dynamic_slice_in_dim(magnitude, start, min(length, total))
        count = sounding_frames(excerpt)
        return find_period(beat_spectrum(excerpt), low, high, count)

    periods = jax.lax.map(period, jnp.asarray(starts))
    centres = starts + min(length, total) / 2
    nearest = np.abs(np.arange(total)[:, None] - centres).argmin(1)
    return periods[nearest]


def similar_median(
    magnitude: Frames,
    count: int,
    distance: int,
    threshold: float = 0.0,
    block: int = 64,
) -> Frames:
    """Median over the frames most alike to each frame (REPET-SIM).

    Frames are alike by the cosine of their magnitudes. Only a block of rows of the
    matrix of all pairs exists at a time.

    Args:
        magnitude: spectrogram.
        count: frames whose median is taken, at most.
        distance: frames of the same kind lie at least so far apart.
        threshold: the least cosine of a frame that counts.
        block: rows at a time.

    Reference:
        Rafii and Pardo 2012, Music/voice separation using the similarity matrix.
    """
    total = len(magnitude)
    norm = jnp.linalg.norm(magnitude, axis=1, keepdims=True)
    unit = magnitude / jnp.maximum(norm, 1e-12)
    sounds = jnp.arange(total) < sounding_frames(magnitude)

    def rows(piece: Frames) -> Frames:
        alike = jnp.where(sounds[None], piece @ unit.T, -1.0)
        shape = (1, 2 * distance + 1), (1, 1), "SAME"
        peaks = jax.lax.reduce_window(alike, -jnp.inf, jax.lax.max, *shape)
        alike = jnp.where(alike >= peaks, alike, -1.0)
        value, index = jax.lax.top_k(alike, min(count, total))
        known = (value >= threshold) & sounds[index]
        return masked_median(jnp.moveaxis(magnitude[index], 1, 0), known.T[..., None])

    padded = jnp.pad(unit, ((0, -total % block), (0, 0)))
    blocks = jax.lax.map(rows, padded.reshape(-1, block, unit.shape[1]))
    return blocks.reshape(-1, unit.shape[1])[:total]
