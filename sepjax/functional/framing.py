"""Waveforms to frames and back: the linear maps around every encoder.

An encoder frame ``k`` sees the samples ``k * stride - left ... + length - 1`` with
``left = (length - stride) // 2``, so there are ``ceil(time / stride)`` frames whatever
the kernel length, and frames stay centred on the stride they stand for.

Public Conv-TasNets pad in other ways, which ``padding`` names; their statistics and so
their outputs depend on it:

- ``"center"``: as above, the default.
- ``"none"``: only complete frames; what is left over is zero after decoding (asteroid,
  kaituoxu, Demucs). A signal shorter than one frame is padded to one.
- ``"naplab"``: ``stride`` zeros at both ends, before them a tail of 1 to ``length``
  zeros.
- ``"torchaudio"``: ``stride`` zeros at both ends, before them the least tail with
  which the frames fit.
"""

import functools
import math
from typing import Any, Literal, get_args, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Padding = Literal["center", "none", "naplab", "torchaudio"]


@overload
def frames_for(
    time: int, stride: int, *, length: int = ..., padding: Padding = ...
) -> int: ...
@overload
def frames_for(
    time: Array, stride: int, *, length: int = ..., padding: Padding = ...
) -> Array: ...
def frames_for(
    time: Any, stride: int, *, length: int = 0, padding: Padding = "center"
) -> Any:
    """Number of encoder frames of a signal, ``ceil(time / stride)`` by default.

    The other paddings need the kernel's ``length`` as well. The time may be traced.

    Example:
        >>> frames_for(64000, 20), frames_for(64001, 20)
        (3200, 3201)
        >>> frames_for(1234, 8, length=16, padding="naplab")
        156
    """
    if padding == "center":
        return -(-time // stride)
    return (_extent(time, length, stride, padding)[1] - length) // stride + 1


def _extent(time: Any, length: int, stride: int, padding: Padding) -> tuple[int, Any]:
    """Zeros before the signal, and samples that the frames may see altogether."""
    if padding == "center":
        left = max(length - stride, 0) // 2
        return left, (frames_for(time, stride) - 1) * stride + length
    if padding == "none":
        return 0, length + (time - length) * (time > length)
    if padding == "naplab":
        tail = length - (stride + time) % length
        return stride, stride + time + tail + stride
    if padding == "torchaudio":
        tail = -(time - length % 2) % stride
        return stride, stride + time + tail + stride
    raise ValueError(f"padding={padding!r} is none of {', '.join(get_args(Padding))}")


def reach_of(
    length: int, stride: int, *, padding: Padding = "center"
) -> tuple[int, int]:
    """Samples of a frame before its place ``k * stride``, and from there on.

    Example:
        >>> reach_of(32, 16), reach_of(32, 16, padding="none")
        ((8, 24), (0, 32))
    """
    left, _ = _extent(length, length, stride, padding)
    return left, length - left


def frame(
    wave: Float[Array, "*batch time"], length: int, stride: int
) -> Float[Array, "*batch frames length"]:
    """Cut a signal into overlapping frames, ``y[k, n] = x[k * stride + n]``.

    Only complete frames are returned, ``frames = (time - length) // stride + 1``. The
    frames are concatenated from ``ceil(length / stride)`` shifted reshapes, so no
    gather is needed, and with ``length == stride`` it is a reshape alone.

    Raises:
        ValueError: the signal is shorter than one frame.

    Example:
        >>> frame(jnp.arange(6.0), 4, 2)
        Array([[0., 1., 2., 3.],
               [2., 3., 4., 5.]], dtype=float32)
    """
    *batch, time = wave.shape
    frames = (time - length) // stride + 1
    if frames < 1:
        raise ValueError(f"a signal of {time} samples has no frame of {length}")
    hops = math.ceil(length / stride)
    total = (frames + hops - 1) * stride
    wave = fit(wave, total).reshape(*batch, frames + hops - 1, stride)
    shifted = [wave[..., hop : hop + frames, :] for hop in range(hops)]
    return jnp.concatenate(shifted, axis=-1)[..., :length]


def overlap_add(
    frames: Float[Array, "*batch frames length"], stride: int
) -> Float[Array, "*batch time"]:
    """Adjoint of :func:`frame`: ``x[t] = sum of y[k, n] over k * stride + n = t``.

    The result has ``(frames - 1) * stride + length`` samples.

    Example:
        >>> overlap_add(jnp.ones((2, 4)), 2)
        Array([1., 1., 2., 2., 1., 1.], dtype=float32)
    """
    *batch, count, length = frames.shape
    hops = math.ceil(length / stride)
    blocks = fit(frames, hops * stride).reshape(*batch, count, hops, stride)
    no_pad = [(0, 0)] * len(batch)
    shifted = (
        jnp.pad(blocks[..., hop, :], [*no_pad, (hop, hops - 1 - hop), (0, 0)])
        for hop in range(hops)
    )
    wave = functools.reduce(jnp.add, shifted)
    wave = wave.reshape(*batch, (count + hops - 1) * stride)
    return wave[..., : (count - 1) * stride + length]


def analyze(
    wave: Float[Array, "*batch time"],
    kernel: Float[Array, "length latent"],
    stride: int,
    *,
    padding: Padding = "center",
    part: tuple[int, int] | None = None,
) -> Float[Array, "*batch frames latent"]:
    """Strided correlation with a bank of filters: an encoder without activation.

    ``y[k, c] = sum_n x[k * stride - left + n] kernel[n, c]``, zeros outside the signal,
    ``ceil(time / stride)`` frames. The product has the type of the wave. The wave may
    be a piece of a signal: ``part`` is the place of a frame in it, and the number of
    frames from there on, all of whose samples the piece holds.

    Example:
        >>> analyze(jnp.ones((1, 10)), jnp.ones((4, 3)), stride=2).shape
        (1, 5, 3)
    """
    length = kernel.shape[0]
    if part is None:
        padded = pad_to_frames(wave, length, stride, padding=padding)
    else:
        first = part[0] - reach_of(length, stride, padding=padding)[0]
        padded = wave[..., first : first + (part[1] - 1) * stride + length]
    return frame(padded, length, stride) @ kernel.astype(wave.dtype)


def synthesize(
    latent: Float[Array, "*batch frames latent"],
    kernel: Float[Array, "latent length"],
    stride: int,
    *,
    time: int,
    padding: Padding = "center",
    before: int = 0,
) -> Float[Array, "*batch time"]:
    """Overlap-add of weighted synthesis filters: a decoder.

    ``x[t] = sum_k sum_c y[k, c] kernel[c, t - k * stride + left]``, ``time`` samples;
    ``synthesize(·, kernel.T)`` is the adjoint of ``analyze(·, kernel)``. The product
    has the type of the latent, the sum of frames that overlap at least float32. The
    result begins ``before`` samples before the place of the first frame.

    Example:
        >>> synthesize(jnp.ones((1, 5, 3)), jnp.ones((3, 4)), stride=2, time=10).shape
        (1, 10)
    """
    left = reach_of(kernel.shape[-1], stride, padding=padding)[0] - before
    frames = latent @ kernel.astype(latent.dtype)
    frames = frames.astype(np.promote_types(latent.dtype, jnp.float32))
    wave = overlap_add(frames, stride)
    if left < 0:
        wave = jnp.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(-left, 0)])
    return fit(wave[..., max(left, 0) :], time)


def pad_to_frames(
    wave: Float[Array, "*batch time"],
    length: int,
    stride: int,
    *,
    padding: Padding = "center",
) -> Float[Array, "*batch padded"]:
    """Zero-pad so that :func:`frame` yields the frames of :func:`frames_for`.

    Example:
        >>> pad_to_frames(jnp.ones(5), 4, 2)
        Array([0., 1., 1., 1., 1., 1., 0., 0.], dtype=float32)
    """
    time = wave.shape[-1]
    left, total = _extent(time, length, stride, padding)
    ends = (left, max(total - left - time, 0))
    return jnp.pad(wave, [(0, 0)] * (wave.ndim - 1) + [ends])[..., :total]


def fit(x: Array, size: int) -> Array:
    """Crop or zero-pad the last axis to ``size``.

    Example:
        >>> fit(jnp.ones(2), 3).tolist(), fit(jnp.ones(3), 1).tolist()
        ([1.0, 1.0, 0.0], [1.0])
    """
    missing = size - x.shape[-1]
    if missing > 0:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])
    return x[..., :size]


def center(x: Float[Array, "*shape"], size: int, *, axis: int) -> Float[Array, "..."]:
    """The middle of an axis; of an odd rest the greater part is cut at the end.

    Example:
        >>> center(jnp.arange(5.0), 2, axis=0).tolist()
        [1.0, 2.0]
    """
    start = (x.shape[axis] - size) // 2
    return jax.lax.slice_in_dim(x, start, start + size, axis=axis)
