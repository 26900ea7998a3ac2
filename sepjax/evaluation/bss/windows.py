"""Windows of an evaluation: where they lie, what is silent in them, and their checks.

NumPy arrays are read piece by piece, so that a track is never copied as a whole; traced
arrays take the same way through ``jax.numpy``.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

PANNED = 1e-12  # energy of a residual to another channel that float32 explains
SILENCE = ("drop", "source", "museval")
Silence = Literal["drop", "source", "museval"]
_PIECE = 1 << 20  # samples looked at in one go


class Blocks(NamedTuple):
    """How a stretch of samples is cut for the FFT."""

    block: int  # new samples in each block
    fft_size: int  # at least block + filters - 1
    count: int  # blocks in one step
    steps: int


def windows(length: int, window: float, hop: float) -> list[slice]:
    """Return the samples of every window, as museval cuts them.

    ``floor((length - window + hop) / hop)`` windows; a rest shorter than a window is
    left out. A signal that is no longer than the window is one, shorter, window.

    Example:
        >>> windows(10, 4, 2.5)
        [slice(0, 4, None), slice(2, 6, None), slice(5, 9, None)]
        >>> windows(10, math.inf, math.inf)
        [slice(0, 10, None)]
    """
    for name, value in (("window", window), ("hop", hop)):
        if not value >= 1:
            raise ValueError(f"{name}={value!r} must be at least one sample")
    if not (window < length and hop < math.inf):
        return [slice(0, int(min(window, length)))]
    count = math.floor((length - window + hop) / hop)
    return [
        slice(math.floor(t * hop), math.floor(min(t * hop + window, length)))
        for t in range(count)
    ]


def plan_blocks(length: int, filters: int, most: int) -> Blocks:
    """Plan blocks that cover ``length`` samples, at most ``most`` of them in one step.

    Fifteen filter lengths of new samples in each keep the overlap cheap and a block of
    all channels in the processor's cache. Short stretches have blocks of equal length
    rather than a last one that is nearly empty; long ones have the same blocks whatever
    their length, so that songs share compiled programs.
    """
    samples = max(15 * filters + 1, 2048)
    total = math.ceil(length / samples)
    steps = math.ceil(total / most)
    count = math.ceil(total / steps)
    if steps <= 3:
        samples = math.ceil(length / (count * steps))
    else:
        count = most
    fft_size = _fast_length(samples + filters - 1)
    block = fft_size - filters + 1
    return Blocks(block, fft_size, count, math.ceil(length / (count * block)))


def _fast_length(least: int) -> int:
    """The next length that has no prime factor above 5.

    Example:
        >>> _fast_length(8191), _fast_length(121)
        (8192, 125)
    """
    # SciPy knows it, too, but takes longer to be imported than a song to be scored.
    most = 2 ** (least - 1).bit_length()
    odd = [3**a * 5**b for a in range(24) for b in range(16) if 3**a * 5**b <= most]
    return min(n << max(0, (-(-least // n) - 1).bit_length()) for n in odd)


def segment(wave: Any, start: int, stop: int, bounds: slice) -> Any:
    """``wave[:, start:stop]`` with zeros wherever that lies outside ``bounds``."""
    low = min(max(start, bounds.start), bounds.stop)
    high = min(max(stop, low), bounds.stop)
    if low == start and high == stop:
        return wave[:, start:stop]
    padding = ((0, 0), (low - start, stop - high), (0, 0))
    return numpy_of(wave).pad(wave[:, low:high], padding)


def panned(wave: Any) -> bool:
    """Return whether every source has one signal, louder or softer on each channel.

    Example:
        >>> one = np.random.default_rng(0).normal(size=(3, 10, 1))
        >>> panned(one * np.array([1.0, 0.5])), panned(one * np.array([1.0, 0.0]))
        (True, False)
    """
    if numpy_of(wave) is not np or wave.shape[2] == 1:
        return False
    for source in wave:
        products = np.einsum("tc,td->cd", source, source, dtype=np.float64)
        power = np.diagonal(products)
        if not power.any():
            continue
        rest = power[0] * power - np.square(products[0])
        if not power.all() or (rest > PANNED * power[0] * power).any():
            return False
    return True


def numpy_of(*waves: Any) -> Any:
    """Return ``jax.numpy`` for traced values, NumPy where all values are known."""
    return jnp if any(isinstance(wave, jax.core.Tracer) for wave in waves) else np


def sounding(wave: Any, part: slice) -> Any:
    """``(sources,)``, whether the sum of the channels is not zero all the time.

    That is museval's rule: a source with L = -R counts as silent.
    """
    xp = numpy_of(wave)
    heard = xp.zeros(wave.shape[0], bool)
    # Most sources are heard at once: small pieces spare us the rest.
    piece = 8192 if xp is np else part.stop - part.start
    for start in range(part.start, part.stop, piece):
        samples = wave[:, start : min(start + piece, part.stop)]
        heard = heard | (samples.sum(-1, dtype=np.float64) != 0).any(-1)
        if xp is np and heard.all():
            break
    return heard


def scored_pairs(
    sounds: Any, parts: Any, silence: Silence, permute: bool
) -> Iterator[Any]:
    """Yield for every window which (reference, estimate) pairs have scores.

    From two ``(sources,)``, what sounds in references and estimates at all, and in each
    window: ``(sources, sources)`` with ``permute``, otherwise ``(sources, 1)``.
    """
    whole_pair = _pairs(*sounds, permute)
    for reference, estimate in parts:
        if silence == "source":
            yield _pairs(reference, estimate, permute)
        else:
            # One silent source takes the window from all, except a source that is
            # silent in every window: it would take the whole track.
            complete = (reference | ~sounds[0]).all() & (estimate | ~sounds[1]).all()
            yield whole_pair & complete


def _pairs(reference: Any, estimate: Any, permute: bool) -> Any:
    others = estimate[None] if permute else estimate[:, None]
    return numpy_of(reference).logical_and(reference[:, None], others)


def check(reference: Any, estimate: Any) -> tuple[Any, Any]:
    """Convert both to (sources, time, channels), or raise an error that says why."""
    arrays = []
    for name, wave in (("reference", reference), ("estimate", estimate)):
        if not isinstance(wave, jax.core.Tracer):
            wave = np.asarray(wave)
        if wave.ndim != 3 or 0 in wave.shape:
            raise ValueError(
                f"{name} has shape {wave.shape}; give (sources, time, channels), none "
                "of them 0 (mono: one channel)"
            )
        if not jnp.issubdtype(wave.dtype, jnp.floating) and wave.dtype != np.int16:
            raise ValueError(f"{name} is {wave.dtype}; give floats or 16-bit integers")
        arrays.append(wave)
    reference, estimate = arrays
    if reference.shape != estimate.shape:
        raise ValueError(_mismatch(reference.shape, estimate.shape))
    if numpy_of(*arrays) is np:
        _check_finite("reference", reference)
        _check_finite("estimate", estimate)
    return reference, estimate


def _mismatch(reference: tuple[int, ...], estimate: tuple[int, ...]) -> str:
    axis = int(np.argmax(np.not_equal(reference, estimate)))
    hint = "; cut the estimate or pad it with zeros at its end, as museval does"
    return (
        f"reference {reference} and estimate {estimate} differ in "
        f"{('sources', 'samples', 'channels')[axis]}: {reference[axis]} and "
        f"{estimate[axis]}{hint * (axis == 1)}"
    )


def _check_finite(name: str, wave: np.ndarray) -> None:
    for start in range(0, wave.shape[1], _PIECE):
        piece = wave[:, start : start + _PIECE]
        # A sum is finite unless a sample is not; looking at each sample costs more.
        if np.isfinite(piece.sum(dtype=np.float64)):
            continue
        bad = np.argwhere(~np.isfinite(piece))
        if len(bad):
            source, sample, channel = bad[0]
            raise ValueError(
                f"{name} is not finite: source {source}, sample {start + sample}, "
                f"channel {channel} is {piece[source, sample, channel]}"
            )


def check_silence(silence: str, sounds: Any) -> None:
    """Raise museval's error on a silent source, if ``silence`` is "museval"."""
    if silence not in SILENCE:
        raise ValueError(f"silence={silence!r} must be one of {', '.join(SILENCE)}")
    if silence != "museval" or numpy_of(*sounds) is not np:
        return
    for name, heard in zip(("reference", "estimate"), sounds):
        if not heard.all():
            raise ValueError(
                f"{name} {int(np.argmin(heard))} is silent throughout, which museval "
                "refuses; silence='drop' leaves it out and scores the others"
            )
