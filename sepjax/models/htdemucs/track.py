"""Separation of a track as the public tool does it, chunk by chunk.

:func:`sepjax.separate` cross-fades linearly and is the one to use; this is to compare.

Reference: ``apply_model`` of facebookresearch/demucs 4.1.
"""

import functools

import jax
import numpy as np
from jaxtyping import Array, Float

from sepjax.models.contract import Variables
from sepjax.models.htdemucs.model import HybridDemucs

SHIFT = 0.5  # seconds, the longest


def separate_track(
    model: HybridDemucs,
    variables: Variables,
    track: Float[np.ndarray, "channels time"],
    *,
    length: int = 0,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
    normalize: bool = True,
) -> Float[np.ndarray, "sources channels time"]:
    r"""Separate a track at the model's rate by overlapping chunks under triangles.

    .. math:: \hat s = \sum_k w_k \hat s_k / \sum_k w_k

    Chunks begin every ``(1 - overlap) * length`` samples. One that ends with the track
    is heard in the middle of ``length`` samples, of which those before it are the
    track's, and others zero.

    Args:
        model: what separates.
        variables: its parameters.
        track: samples.
        length: of a chunk, samples; 0: those that the model is padded to.
        overlap: share of a chunk that the next one hears as well, in [0, 1).
        shifts: times that the track is heard, each a random part of half a second
            later; 0: as it is.
        seed: of the shifts.
        normalize: subtract mean and divide by deviation of the mean of all channels.

    Raises:
        ValueError: there is no length, or an argument is out of range.
    """
    length = length or model.segment
    if length < 2 or not 0 <= overlap < 1 or shifts < 0:
        raise ValueError(
            f"length={length} must be 2 samples or more, overlap={overlap} in [0, 1), "
            f"shifts={shifts} 0 or more"
        )
    mean, scale = 0.0, 1.0
    if normalize:
        mono = track.mean(0)
        mean, scale = mono.mean(), mono.std(ddof=1) + 1e-8
    wave, time = (track - mean) / scale, track.shape[-1]
    apply = functools.partial(estimate_chunk, model, variables)
    options = dict(length=length, stride=max(int((1 - overlap) * length), 1))
    options["padded"] = model.segment > 0
    if not shifts:
        return _chunked(apply, wave, 0, time, **options) * scale + mean
    most = int(SHIFT * model.sample_rate)
    wave, total = np.pad(wave, ((0, 0), (most, most))), 0.0
    for offset in np.random.default_rng(seed).integers(0, most, shifts, endpoint=True):
        stems = _chunked(apply, wave, offset, most + time - offset, **options)
        total = total + stems[..., most - offset :]
    return total / shifts * scale + mean


@functools.partial(jax.jit, static_argnums=0)
def estimate_chunk(
    model: HybridDemucs, variables: Variables, wave: Float[Array, "channels time"]
) -> Float[Array, "sources channels time"]:
    """Estimate the sources of one chunk."""
    wave = wave if model.audio_channels > 1 else wave[0]
    estimates = model.apply(variables, wave[None]).estimates
    return estimates.reshape(len(model.sources), model.audio_channels, -1)


def _chunked(apply, wave, start, time, *, length, stride, padded) -> np.ndarray:
    """Sources of ``time`` samples from a place of a track on."""
    ramp = np.arange(1, length // 2 + 1)
    window = np.concatenate([ramp, np.arange(length - length // 2, 0, -1)])
    window = (window / window.max()).astype(np.float32)
    weight, total = np.zeros(time, np.float32), 0.0
    for offset in range(0, time, stride):
        size = min(length, time - offset)
        before = (length - size) // 2 if padded else 0
        first = start + offset - before
        last = first + (length if padded else size)
        heard = wave[:, max(first, 0) : last]
        ends = max(-first, 0), max(last - wave.shape[-1], 0)
        heard = np.pad(heard, ((0, 0), ends)).astype(np.float32)
        stems = np.asarray(apply(heard))[..., before : before + size]
        if not offset:
            total = np.zeros((*stems.shape[:2], time), np.float32)
        place = slice(offset, offset + size)
        total[..., place] += stems * window[:size]
        weight[place] += window[:size]
    return total / weight
