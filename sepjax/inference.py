"""Separate music of any length, rate and number of channels.

The device sees chunks of one size; the host holds the track and its stems.

A track is resampled to the model's rate, every channel is normalised by its standard
deviation, unless the model wants it as loud as it is, and cut into chunks of one fixed
length, which are separated one batch after the other and cross-faded. The estimates of
a model trained on SI-SDR have no scale of their own, so that they are finally fitted to
the mixture.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FIT_SAMPLES = 1 << 18  # of the least squares at once: float64 copies stay small
FIT_CONDITION = 1e-6  # estimates more alike than this share their scale


def separate(
    model: Any,
    variables: Any,
    mixture: np.ndarray,
    *,
    sample_rate: int,
    chunk: float = 8.0,
    overlap: float = 0.25,
    normalize: bool = True,
    rescale: bool = True,
    references: np.ndarray | None = None,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    r"""Separate a track into its sources.

    Args:
        model: a module with ``sources``, ``sample_rate`` and ``apply(variables,
            (batch, time))`` whose result has ``estimates (batch, sources, time)``.
            With ``audio_channels = 2`` it takes ``(batch, 2, time)`` and estimates
            ``(batch, sources, 2, time)``.
        variables: its parameters.
        mixture: ``(time, channels)`` or ``(time,)``, floats at full scale 1; every
            channel is separated on its own, except by a stereo model.
        sample_rate: of the mixture, Hz. Where it is not the model's, the track is
            resampled there and back; what lies above the model's band is lost.
        chunk: seconds separated at once.
        overlap: share of a chunk that is cross-faded with the next, in [0, 1).
        normalize: divide every channel, or both of a stereo model, by the standard
            deviation first. Without, the model hears the mixture as loud as it is, as
            it did in training with ``data.normalize=False``.
        rescale: fit the scales :math:`c_j` of every channel so that
            :math:`\sum_j c_j \hat s_j` is nearest to the mixture.
        references: ``(sources, time, channels)``, for ideal masks, which need them.
        progress: show a progress bar on stderr.

    Returns:
        Source name -> array of the mixture's shape, float32. Silent channels and
        silent chunks of the mixture give silence.

    Raises:
        ValueError: the mixture is no finite audio, or an argument is out of range.
        FloatingPointError: an estimate is not finite; the message names the source.

    Example:
        >>> import flax.linen as nn
        >>> from types import SimpleNamespace
        >>> class Halves(nn.Module):
        ...     sources: tuple = ("one", "two")
        ...     sample_rate: int = 8000
        ...     def __call__(self, mixture):
        ...         estimates = mixture[:, None].repeat(2, axis=1) / 2
        ...         return SimpleNamespace(estimates=estimates)
        >>> stereo = np.ones((44101, 2), np.float32)
        >>> stems = separate(Halves(), {}, stereo, sample_rate=44100)
        >>> stems["two"].shape
        (44101, 2)

    Reference:
        Samuel et al. 2020 (Meta-TasNet), scale fit of the evaluation.
    """
    wave = _checked(mixture, sample_rate)
    if not (chunk > 0 and 0 <= overlap < 1):
        raise ValueError(f"chunk={chunk} must be positive, overlap={overlap} in [0, 1)")
    width = _width(model)
    inputs = _widen(_resample(wave, sample_rate, model.sample_rate), width)
    scale = _scale(inputs, width) if normalize else np.ones_like(inputs[0])
    aside = None
    if getattr(model, "oracle", False):
        aside = _checked_references(model, references, wave.shape)
        aside = _resample_all(aside, sample_rate, model.sample_rate)
        aside = np.stack([_widen(source, width) / scale for source in aside])
    length = max(round(chunk * model.sample_rate), 1)
    hop = max(length - round(overlap * length), 1)
    estimates = _cross_fade(
        model, variables, inputs / scale, aside, length, hop, progress
    )
    if rescale:
        scale = np.stack(
            [_fit_scales(estimates[..., c], x) for c, x in enumerate(inputs.T)], -1
        )[:, None]
    estimates *= scale
    if inputs.shape[1] > wave.shape[1]:
        estimates = estimates.mean(-1, keepdims=True)
    estimates = _resample_all(estimates, model.sample_rate, sample_rate, len(wave))
    return {
        name: estimate.reshape(mixture.shape)
        for name, estimate in zip(model.sources, estimates)
    }


def _checked(mixture: np.ndarray, sample_rate: int) -> np.ndarray:
    """The mixture as float32 (time, channels), or an error that says what is wrong."""
    if not np.issubdtype(mixture.dtype, np.floating):
        raise ValueError(f"the mixture is {mixture.dtype}: give floats at full scale 1")
    if mixture.ndim not in (1, 2) or 0 in mixture.shape:
        raise ValueError(f"the mixture {mixture.shape} must be (time, channels)")
    if sample_rate <= 0:
        raise ValueError(f"sample_rate={sample_rate} must be positive")
    wave = mixture.reshape(len(mixture), -1)
    bad = ~np.isfinite(wave).all(1)
    if bad.any():
        raise ValueError(
            f"{bad.sum()} of {len(bad)} samples are NaN or infinite, the first at "
            f"{bad.argmax() / sample_rate:.3f} s: repair or cut the recording"
        )
    return wave.astype(np.float32)


def _checked_references(
    model: Any, references: np.ndarray | None, shape: tuple[int, int]
) -> np.ndarray:
    expected = (len(model.sources), *shape)
    if references is None or references.shape != expected:
        raise ValueError(
            "an ideal mask needs the true references (sources, time, channels) "
            f"{expected}; it cannot separate a recording without them"
        )
    return references


def _width(model: Any) -> int:
    """How many channels the model separates together."""
    encoder = getattr(model, "encoder", None)
    return getattr(model, "audio_channels", getattr(encoder, "channels", 1))


def _widen(wave: np.ndarray, width: int) -> np.ndarray:
    """Both channels of a stereo model hear a mono recording."""
    if width > 1 and wave.shape[1] == 1:
        return wave.repeat(width, axis=1)
    if wave.shape[1] % width:
        raise ValueError(
            f"the model separates {width} channels together, the mixture has "
            f"{wave.shape[1]}: mix it down to 1 or {width}"
        )
    return wave


def _resample(
    wave: np.ndarray, rate: int, target: int, time: int | None = None
) -> np.ndarray:
    """(time, channels) at another rate, cut or zero-padded to ``time`` samples."""
    if rate != target:
        import soxr

        wave = soxr.resample(wave, rate, target, quality="VHQ")
    time = max(len(wave), 1) if time is None else time
    return np.pad(wave[:time], ((0, max(time - len(wave), 0)), (0, 0)))


def _resample_all(
    waves: np.ndarray, rate: int, target: int, time: int | None = None
) -> np.ndarray:
    if rate == target and time in (None, waves.shape[1]):
        return waves
    return np.stack([_resample(wave, rate, target, time) for wave in waves])


def _scale(wave: np.ndarray, width: int) -> np.ndarray:
    """Standard deviation of each group of ``width`` channels; 1 where it is silent."""
    groups = wave.reshape(len(wave), -1, width)
    deviation = groups.std((0, 2), dtype=np.float64)
    # A constant has no deviation: its level keeps the quotient of moderate size.
    scale = np.maximum(deviation, 1e-4 * np.abs(groups).max((0, 2)))
    return np.where(scale > 0, scale, 1).repeat(width).astype(np.float32)


def _cross_fade(
    model: Any,
    variables: Any,
    wave: np.ndarray,
    references: np.ndarray | None,
    length: int,
    hop: int,
    progress: bool,
) -> np.ndarray:
    """(time, channels) -> (sources, time, channels): chunks, linearly cross-faded."""
    time, channels = wave.shape
    chunks = max(-(-(time - length) // hop), 0) + 1
    padded = (chunks - 1) * hop + length
    wave = np.pad(wave, ((0, padded - time), (0, 0)))
    if references is not None:
        references = np.pad(references, ((0, 0), (0, padded - time), (0, 0)))
    window = _window(length, length - hop)
    total = np.zeros((len(model.sources), padded, channels), np.float32)
    weight = np.zeros(padded, np.float32)
    for start in range(0, padded - length + 1, hop):
        weight[start : start + length] += window
    width = _width(model)
    places = [
        (slice(start, start + length), slice(channel, channel + width))
        for start in range(0, padded - length + 1, hop)
        for channel in range(0, channels, width)
        if wave[start : start + length, channel : channel + width].any()
    ]
    outputs = _run(model, variables, wave, references, places)
    for place, estimate in zip(_bar(places, progress), outputs):
        _check_finite(model, estimate, *place)
        total[:, *place] += estimate * window[:, None]
    total /= weight[:, None]
    return total[:, :time]


def _window(length: int, fade: int) -> np.ndarray:
    """Trapezoid: linear ramps of ``fade`` samples, whose overlap sums to one."""
    ramp = (np.arange(length, dtype=np.float32) + 0.5) / max(fade, 0.5)
    return np.minimum(np.minimum(ramp, ramp[::-1]), 1)


def _run(
    model: Any,
    variables: Any,
    wave: np.ndarray,
    references: np.ndarray | None,
    places: list[tuple[slice, slice]],
) -> Iterator[np.ndarray]:
    """Estimates (sources, length, width) of each place, in batches of one shape."""
    # Batches keep an accelerator busy; on a CPU a part-filled batch is only waste.
    size = 1 if jax.default_backend() == "cpu" else 8
    for first in range(0, len(places), size):
        group = places[first : first + size]
        full = [*group, *group[:1] * (size - len(group))]
        inputs = [np.stack([wave[place] for place in full])]
        if references is not None:
            inputs.append(np.stack([references[:, *place] for place in full]))
        estimates = np.asarray(_apply(model, variables, *inputs))
        yield from estimates[: len(group)]


@functools.partial(jax.jit, static_argnums=0)
def _apply(model: Any, variables: Any, *inputs: jax.Array) -> jax.Array:
    """Channel-last in and out: (batch, length, width), (batch, sources, ...)."""
    mono = inputs[0].shape[-1] == 1
    waves = [
        wave[..., 0] if mono else jnp.swapaxes(wave, -1, -2)
        for wave in map(jnp.asarray, inputs)
    ]
    estimates = model.apply(variables, *waves).estimates.astype(jnp.float32)
    return estimates[..., None] if mono else jnp.swapaxes(estimates, -1, -2)


def _bar(places: list[tuple[slice, slice]], progress: bool) -> Any:
    if not progress:
        return places
    from tqdm import tqdm

    return tqdm(places, unit="chunk", leave=False)


def _check_finite(
    model: Any, estimate: np.ndarray, times: slice, channels: slice
) -> None:
    for name, wave in zip(model.sources, estimate):
        if not np.isfinite(wave).all():
            first, last = (t / model.sample_rate for t in (times.start, times.stop))
            raise FloatingPointError(
                f"the estimate of {name!r} is not finite between {first:.1f} and "
                f"{last:.1f} s of channel {channels.start}: the model overflows here; "
                "try another checkpoint, or float32 if it computes in bfloat16"
            )


def _fit_scales(estimates: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """Least-squares scales ``c`` of ``|sum_j c_j e_j - x|^2``, float32 (sources,).

    Solved on unit-norm estimates; where some are nearly the same, the smallest
    solution, which shares the scale among them. A silent estimate stays silent.
    """
    gram = np.zeros((len(estimates), len(estimates)))
    target = np.zeros(len(estimates))
    for start in range(0, len(mixture), FIT_SAMPLES):
        piece = estimates[:, start : start + FIT_SAMPLES].astype(np.float64)
        gram += piece @ piece.T
        target += piece @ mixture[start : start + FIT_SAMPLES]
    norm = np.sqrt(np.diag(gram))
    inverse = np.divide(1, norm, out=np.zeros_like(norm), where=norm > 0)
    unit = gram * inverse * inverse[:, None]
    scales, *_ = np.linalg.lstsq(unit, target * inverse, rcond=FIT_CONDITION)
    return (scales * inverse).astype(np.float32)
