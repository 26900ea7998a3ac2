"""Masks of the classical systems: from the magnitudes of a mixture to its parts."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.functional import factorization, repetition
from sepjax.functional.medians import median_filter, median_of, windows
from sepjax.models.classical.config import (
    AdaptiveConfig,
    ClassicalConfig,
    KernelConfig,
    MedianConfig,
    ProjectiveConfig,
    RepetitionConfig,
    SimilarityConfig,
    VoiceConfig,
)

Frames = Float[Array, "frames bins"]


class Grid:
    """Frames and bins in seconds and Hz."""

    def __init__(self, config: ClassicalConfig, sample_rate: int):
        self.n_fft = 2 ** max(round(math.log2(config.window * sample_rate)), 3)
        self.hop = max(self.n_fft // config.overlap, 1)
        self.sample_rate = sample_rate
        self.hz = np.linspace(0, sample_rate / 2, self.n_fft // 2 + 1)

    def frames(self, seconds: float) -> int:
        """Frames in some seconds, at least one."""
        return max(round(seconds * self.sample_rate / self.hop), 1)

    def bins(self, hz: float) -> int:
        """Bins in some Hz, at least one."""
        return max(round(hz * self.n_fft / self.sample_rate), 1)


def odd(number: int) -> int:
    """The nearest odd number, of two the larger."""
    return number // 2 * 2 + 1


def shares(parts: list[Frames]) -> list[Frames]:
    """Each part over the sum of all; equal shares of silence."""
    total = sum(parts)
    even = 1 / len(parts)
    return [
        jnp.where(total > 0, p / jnp.where(total > 0, total, 1), even) for p in parts
    ]


def hpss(v: Frames, config: MedianConfig, grid: Grid) -> list[Frames]:
    """A median along frequency against one along time."""
    harmonic = median_filter(v, odd(grid.frames(config.harmonic_seconds)), axis=0)
    percussive = median_filter(v, odd(grid.bins(config.percussive_hz)), axis=1)

    def mask(one: Frames, other: Frames) -> Frames:
        return shares([one**config.power, (config.margin * other) ** config.power])[0]

    masks = [mask(percussive, harmonic), mask(harmonic, percussive)]
    if config.margin > 1:
        silent = jnp.maximum(percussive, harmonic) == 0
        masks = [jnp.where(silent, 0, m) for m in masks]
        masks.append(1 - masks[0] - masks[1])
    return masks


def repet(v: Frames, config: RepetitionConfig, grid: Grid) -> list[Frames]:
    """What is louder than what comes again, and the rest."""
    low, high = grid.frames(config.period_low), grid.frames(config.period_high)
    if isinstance(config, SimilarityConfig):
        distance = grid.frames(config.distance)
        again = repetition.similar_median(v, config.count, distance)
    elif isinstance(config, AdaptiveConfig):
        length = grid.frames(config.excerpt_seconds)
        periods = repetition.local_periods(v, low, high, length)
        again = repetition.periodic_median(v, periods, config.reach)
    else:
        beats, count = repetition.beat_spectrum(v), repetition.sounding_frames(v)
        period = repetition.find_period(beats, low, high, count)
        again = repetition.repeating_segment(v, period, low)
    mask = jnp.where(v > 0, jnp.minimum(again, v) / jnp.where(v > 0, v, 1), 1.0)
    mask = jnp.where(jnp.asarray(grid.hz < config.highpass)[None], 1.0, mask)
    return [1 - mask, mask]


def kam(v: Frames, config: KernelConfig, grid: Grid) -> list[Frames]:
    """Median filters of each kernel's Wiener estimate of the power, in turn."""
    low, high = grid.frames(config.period_low), grid.frames(config.period_high)
    length = grid.frames(config.excerpt_seconds)
    periods = repetition.local_periods(v, low, high, length)
    tall, long = grid.bins(config.percussive_hz), grid.frames(config.harmonic_seconds)
    arms = odd(grid.frames(config.smooth_seconds)), odd(grid.bins(config.smooth_hz))
    heard = jnp.asarray(grid.hz >= config.highpass, v.dtype)[None]

    def smooth(x: Frames) -> Frames:
        beside = windows(x, arms[1], 1)
        cross = beside[: arms[1] // 2] + beside[arms[1] // 2 + 1 :]
        return median_of(windows(x, arms[0], 0) + cross) * heard

    kernels: dict[str, Callable[[Frames], Frames]] = {
        "percussive": lambda x: median_filter(x, odd(tall)),
        "harmonic": lambda x: median_filter(x, odd(long), axis=0),
        "repetitive": lambda x: repetition.periodic_median(x, periods, config.reach),
        "smooth": smooth,
    }
    names = [name for entry in config.kernels for name in entry.split("+")]

    def step(models: list[Frames], _: None) -> tuple:
        estimates = [jnp.square(v * mask) for mask in shares(models)]
        return [kernels[name](x) for name, x in zip(names, estimates)], None

    start = [jnp.square(v)] * len(names)
    models, _ = jax.lax.scan(step, start, length=config.iterations)
    masks = iter(shares(models))
    return [sum(next(masks) for _ in entry.split("+")) for entry in config.kernels]


def bumps(grid: Grid, count: int) -> np.ndarray:
    """Overlapping Hann bumps over mel frequencies, (count, bins); their sum is one."""
    mel = np.log1p(grid.hz / 700)
    place = mel / mel[-1] * (count - 1) - np.arange(count)[:, None]
    return np.where(np.abs(place) < 1, 0.5 + 0.5 * np.cos(np.pi * place), 0.0)


def projective(v: Frames, config: ProjectiveConfig, grid: Grid) -> list[Frames]:
    """What falls on templates of held tones, and the rest as bumps: percussion."""
    v = v / jnp.maximum(v.max(), 1e-12)
    size = odd(grid.frames(config.harmonic_seconds))
    held = functools.reduce(jnp.add, windows(v, size, 0)) / size
    bands = jnp.asarray(bumps(grid, config.bands), v.dtype)
    w = first_templates(config.rank, grid)
    w = w / jnp.linalg.norm(w, axis=1, keepdims=True) / math.sqrt(config.rank)
    parts = factorization.project(v, held, w, bands, steps=config.steps)
    return shares([jnp.square(part) for part in reversed(parts)])


def first_templates(rank: int, grid: Grid) -> Float[Array, "rank bins"]:
    """Templates to begin with, the same for every song."""
    return jax.random.uniform(jax.random.key(0), (rank, len(grid.hz)))


def combs(grid: Grid, lowest: float, highest: float) -> np.ndarray:
    """Harmonics of pitches a quarter of a tone apart, (pitches, bins), each of sum 1.

    Amplitudes fall as 1 / n, as those of a glottal source do by 6 dB per octave.
    """
    count = int(24 * math.log2(highest / lowest)) + 1
    pitch = lowest * 2.0 ** (np.arange(count) / 24)
    wide = 2 * grid.sample_rate / grid.n_fft  # the main lobe of a Hann window
    rows = np.zeros((count, len(grid.hz)))
    for n in range(1, int(grid.sample_rate / 2 / lowest) + 1):
        place = np.clip((grid.hz - n * pitch[:, None]) / wide, -1, 1)
        rows += (0.5 + 0.5 * np.cos(np.pi * place)) ** 2 / n**2
    return rows / rows.sum(1, keepdims=True)


def source_filter(v: Frames, config: VoiceConfig, grid: Grid) -> list[Frames]:
    """A voice of any pitches, then once more of pitches near its melody alone."""
    power = jnp.square(v / jnp.maximum(v.max(), 1e-12))
    pitches = jnp.asarray(combs(grid, config.lowest, config.highest), v.dtype)
    filters = jnp.asarray(bumps(grid, config.filters), v.dtype)
    w = first_templates(config.rank, grid)
    facts = dict(beta=config.beta, steps=config.steps)
    *_, heights = factorization.source_filter(power, pitches, filters, w, **facts)
    near = melody(heights, reach=2)
    how = facts | {"allowed": near}
    voice, rest, _ = factorization.source_filter(power, pitches, filters, w, **how)
    return shares([voice, rest])


def melody(
    heights: Float[Array, "frames pitches"], reach: int
) -> Float[Array, "frames pitches"]:
    """One within ``reach`` pitches of the best path, whose leaps cost, else zero.

    Viterbi's path: a step of p pitches costs as much as a height lower by the factor
    ``exp(p / 4)``.
    """
    count = heights.shape[1]
    level = jnp.log(heights / jnp.maximum(heights.max(1, keepdims=True), 1e-12) + 1e-4)
    leap = jnp.asarray(np.abs(np.arange(count)[:, None] - np.arange(count)) / 4.0)
    leap = leap.astype(heights.dtype)

    def forward(best: Array, now: Array) -> tuple:
        through = best[:, None] - leap
        return through.max(0) + now, through.argmax(0)

    best, before = jax.lax.scan(forward, level[0], level[1:])
    last = best.argmax()

    def backward(place: Array, row: Array) -> tuple:
        return row[place], row[place]

    _, path = jax.lax.scan(backward, last, before, reverse=True)
    path = jnp.concatenate([path, last[None]])
    away = jnp.abs(jnp.arange(count)[None] - path[:, None])
    return (away <= reach).astype(heights.dtype)


METHODS: dict[str, Callable[..., list[Frames]]] = {
    "hpss": hpss,
    "repet": repet,
    "adaptive_repet": repet,
    "repet_sim": repet,
    "kam": kam,
    "projective_nmf": projective,
    "source_filter_nmf": source_filter,
}
"""Name of a system -> its masks: ``(magnitudes, config, grid) -> one per class``."""
