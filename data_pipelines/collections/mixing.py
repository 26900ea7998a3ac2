r"""Recorded tracks to the stems of classes and a mixture: four procedures.

Class c has the tracks :math:`u_{c,k}`, :math:`k = 1 \dots K_c`, all of one shape
(time, channels), int16 or float at full scale 1. The largest sample is M, 32767 or
:math:`1 - 2^{-15}`, and peak is the largest magnitude over time *and* channels, so that
a factor never moves the stereo image. Nothing is accumulated in 16 bits, where sums
would wrap around: sat() clips, and what it clips is counted.

========= ================================= ==================================
procedure stem s_c                          mixture
========= ================================= ==================================
summing   sat(sum_k u)                      sat(sum_c s_c)
averaging (1/K_c) sum_k u                   (1/C) sum_c s_c, C: also silent ones
scaling   b_c sum_k u, b_c = min(1, M/peak) b sum_c s_c, b likewise
adaptive  a b_c sum_k u                     a sum_c b_c sum_k u, a = min(1, M/peak)
========= ================================= ==================================

Only summing (while nothing clips) and adaptive keep mixture = sum of stems.

Reference:
    Chapter 4 of the thesis "Musical source separation" (EPFL and Logitech, 2020).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sepjax.registry import Registry, nearest

Tracks = Sequence[Sequence[np.ndarray]]  # class -> track -> (time, channels)
BETA = ("when_needed", "always", "never")  # when classes are scaled to full scale
GUARDS = ("total", "all")  # whose peak adaptive mixing keeps: the mixture's, or all
BLOCK = 1 << 18  # samples at a time where a whole song would be copied


class Gains(NamedTuple):
    """Factors of the sums of the classes."""

    factors: np.ndarray  # (classes,) of the stems
    mixture: float = 1.0  # and of their sum, the mixture
    clip_first: bool = False  # the mixture is the sum of stems that were clipped


class Mix(NamedTuple):
    """A song that is ready to be separated; its dtype is that of its tracks."""

    mixture: np.ndarray  # (time, channels)
    stems: np.ndarray  # (classes, time, channels)
    clipped: np.ndarray  # (classes,) samples of each stem that were clipped
    mixture_clipped: int  # samples of the mixture that were clipped
    factors: np.ndarray  # (classes,) each stem over the sum of its tracks
    mixture_factor: float  # the mixture over the sum of the stems


class Sums(NamedTuple):
    """The sum of each class's tracks: the only input of a procedure."""

    waves: np.ndarray  # (classes, time, channels), int32 or float64
    counts: Sequence[int]  # tracks of each class
    full: float  # the largest sample M of the stems

    def peak(self, factors: np.ndarray) -> float:
        """Peak of the weighted sum, a block at a time."""
        time = self.waves.shape[1]
        blocks = (self.waves[:, i : i + BLOCK] for i in range(0, time, BLOCK))
        return max((_peak(_weighted(block, factors)) for block in blocks), default=0.0)


PROCEDURES: Registry = Registry("mixing procedure")


def mix(
    tracks: Tracks, procedure: str, *, beta: str = "when_needed", guard: str = "total"
) -> Mix:
    """Mix by the name of a procedure.

    Args:
        tracks: of every class; a class without tracks is silent.
        procedure: one of ``PROCEDURES``.
        beta: of scaling and adaptive: "when_needed" turns classes down whose sum
            exceeds full scale, "always" brings every class to full scale, "never"
            leaves all as they are.
        guard: of adaptive: "all" turns down as far as no stem exceeds full scale
            either, which "never" allows where classes cancel.

    Raises:
        ValueError: an unknown name, or tracks of unequal shape or dtype.

    Example:
        >>> song = [[np.full((2, 1), 20000, np.int16)] * 2, [], [np.ones((2, 1), "i2")]]
        >>> mix(song, "summing").clipped.tolist()
        [2, 0, 0]
        >>> mix(song, "adaptive").stems[:, 0, 0].tolist()
        [32766, 0, 1]
    """
    waves, dtype = _sums(tracks)
    sums = Sums(waves, [len(group) for group in tracks], full_scale(dtype))
    return render(waves, gains_of(sums, procedure, beta=beta, guard=guard), dtype)


def gains_of(
    sums: Sums, procedure: str, *, beta: str = "when_needed", guard: str = "total"
) -> Gains:
    """Gains of the sums of the classes by a procedure; options as in :func:`mix`.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> sums = Sums(np.full((2, 1, 1), 30000), (1, 1), 32767.0)
        >>> gains_of(sums, "adaptive").factors.round(3).tolist()
        [0.546, 0.546]
    """
    for name, value, known in (("beta", beta, BETA), ("guard", guard, GUARDS)):
        if value not in known:
            raise ValueError(f"unknown {name} {value!r}: {nearest(value, known)}")
    return PROCEDURES.build(procedure, sums, beta, guard)


def render(waves: np.ndarray, gains: Gains, dtype: np.dtype) -> Mix:
    """Stems and mixture of a song or of any part of it.

    The sums of the classes, (classes, time, channels), become int16 or float by gains
    that :func:`gains_of` finds in the whole recording.

    Example:
        >>> render(np.full((2, 1, 1), 30000), Gains(np.full(2, 0.5)), np.int16).mixture
        array([[30000]], dtype=int16)
    """
    stems, clipped = np.empty(waves.shape, dtype), np.zeros(len(waves), int)
    for index, (wave, factor) in enumerate(zip(waves, gains.factors)):
        stems[index], clipped[index] = saturate(factor * wave, dtype)
    if gains.clip_first:
        total = _weighted(stems, np.ones(len(stems)))
    else:
        total = _weighted(waves, gains.factors)
    mixture, over = saturate(gains.mixture * total, dtype)
    return Mix(mixture, stems, clipped, over, gains.factors, gains.mixture)


@PROCEDURES.register("summing")
def summing(sums: Sums, beta: str = "", guard: str = "") -> Gains:
    """``s_c = sat(sum_k u_ck)``, ``x = sat(sum_c s_c)``: what overflows is clipped."""
    return Gains(np.ones(len(sums.waves)), 1.0, clip_first=True)


@PROCEDURES.register("averaging")
def averaging(sums: Sums, beta: str = "", guard: str = "") -> Gains:
    """``s_c = (1 / K_c) sum_k u_ck``, ``x = (1 / C) sum_c s_c``: nothing overflows.

    C counts all classes, also those without tracks, so x is not the sum of stems.
    """
    factors = np.array([1 / max(count, 1) for count in sums.counts])
    return Gains(factors, 1 / len(sums.waves))


@PROCEDURES.register("scaling")
def scaling(sums: Sums, beta: str = "when_needed", guard: str = "") -> Gains:
    """``s_c = b_c sum_k u_ck`` and ``x = b sum_c s_c``, each turned down on its own."""
    factors = _class_factors(sums, beta)
    return Gains(factors, _factor(sums.peak(factors), sums.full, beta))


@PROCEDURES.register("adaptive")
def adaptive(sums: Sums, beta: str = "when_needed", guard: str = "total") -> Gains:
    """``s_c = a b_c sum_k u_ck`` and ``x = sum_c s_c``: one more factor for all.

    Before samples are rounded to 16 bits the mixture is exactly the sum of the stems;
    after it, to (C + 1) / 2 steps: half a step of each rounding.
    """
    factors = _class_factors(sums, beta)
    peaks = [sums.peak(factors)]
    if guard == "all":
        peaks += [f * _peak(wave) for f, wave in zip(factors, sums.waves)]
    return Gains(min(_factor(peak, sums.full) for peak in peaks) * factors)


def full_scale(dtype: np.dtype) -> float:
    """The largest sample M of a kind of audio.

    Example:
        >>> full_scale(np.dtype("int16")), 1 - full_scale(np.dtype("float32"))
        (32767.0, 3.0517578125e-05)
    """
    return 32767.0 if dtype == np.int16 else 1 - 2.0**-15


def align(tracks: Tracks, channels: int) -> list[list[np.ndarray]]:
    """Bring the tracks to one length and number of channels, ready to be mixed.

    Shorter tracks are followed by zeros. Mono tracks, and the mean over the channels
    of tracks with any other number of them, go to all ``channels``.

    Example:
        >>> song = [[np.ones((3, 1), np.int16)], [np.full((2, 3), 7, np.int16)]]
        >>> [group[0].tolist() for group in align(song, 2)]
        [[[1, 1], [1, 1], [1, 1]], [[7, 7], [7, 7], [0, 0]]]
    """
    time = max((len(track) for group in tracks for track in group), default=0)
    return [[_aligned(track, time, channels) for track in group] for group in tracks]


def _aligned(track: np.ndarray, time: int, channels: int) -> np.ndarray:
    if track.shape[1] not in (1, channels):
        mean = track.mean(axis=1, keepdims=True, dtype=np.float64)
        mean = np.rint(mean) if track.dtype == np.int16 else mean
        track = mean.astype(track.dtype)
    track = np.broadcast_to(track, (len(track), channels))
    return np.pad(track, ((0, time - len(track)), (0, 0)))


def saturate(wave: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """Round to the given kind of audio and clip; also return how many samples clipped.

    Example:
        >>> saturate(np.array([40000.0, -0.6, -32768.0]), np.dtype("int16"))
        (array([ 32767,     -1, -32768], dtype=int16), 1)
    """
    high = full_scale(dtype)
    low = -high - 1 if dtype == np.int16 else -1.0
    if dtype == np.int16:
        wave = np.rint(wave)
    # A factor of M / peak may miss M by the last bit of a float, which is no clipping.
    slack = 1e-9 * high
    clipped = np.count_nonzero((wave > high + slack) | (wave < low - slack))
    return np.clip(wave, low, high).astype(dtype), int(clipped)


def _sums(tracks: Tracks) -> tuple[np.ndarray, np.dtype]:
    """The sum of each class, int32 or float64 (classes, time, channels)."""
    every = [track for group in tracks for track in group]
    if not every:
        raise ValueError("nothing to mix: no class has a track")
    shape, dtype = every[0].shape, every[0].dtype
    if dtype != np.int16 and not np.issubdtype(dtype, np.floating):
        raise ValueError(f"tracks are int16 or float, not {dtype}")
    for track in every:
        if (track.shape, track.dtype) != (shape, dtype):
            raise ValueError(
                f"tracks of unequal kind: {shape} {dtype} and {track.shape} "
                f"{track.dtype}; align() gives them one length and width"
            )
    sums = np.zeros(
        (len(tracks), *shape), np.int32 if dtype == np.int16 else np.float64
    )
    for total, group in zip(sums, tracks):
        for track in group:
            total += track
    return sums, dtype


def _weighted(sums: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """``sum_c factor_c sums_c`` in float64, one class at a time to save memory."""
    total = np.zeros(sums.shape[1:])
    for wave, factor in zip(sums, factors):
        total += factor * wave
    return total


def _class_factors(sums: Sums, beta: str) -> np.ndarray:
    return np.array([_factor(_peak(wave), sums.full, beta) for wave in sums.waves])


def _peak(wave: np.ndarray) -> float:
    return max(float(wave.max()), -float(wave.min())) if wave.size else 0.0


def _factor(peak: float, full: float, beta: str = "when_needed") -> float:
    """``min(1, M / peak)``, or ``M / peak`` always; 1 for silence."""
    if peak == 0 or beta == "never":
        return 1.0
    return full / peak if beta == "always" else min(1.0, full / peak)
