"""Depthwise dilated convolution over frames, as a sum of shifted products.

XLA's grouped convolutions are 20 to 60 times slower on CPU, and on GPU they slow
down with dilation. Shifts are slices of a padded array at offsets that may be traced,
so that a scan over blocks of different dilation compiles one block.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def depthwise_conv(
    x: Float[Array, "batch frames channels"],
    taps: Float[Array, "width channels"],
    dilation: int | Array,
    *,
    max_dilation: int,
    causal: bool = False,
) -> Float[Array, "batch frames channels"]:
    """Convolve every channel with its own dilated taps, keeping the frames.

    y[t] = sum_i taps[i] * x[t + (i - (width - 1) / 2) * dilation], zeros outside; the
    causal form has no frames of the future: x[t + (i - (width - 1)) * dilation].

    ``dilation`` may be traced; ``max_dilation`` bounds it and sets the padding.

    Example:
        >>> x = jnp.array([[[1.0], [2.0], [3.0]]])
        >>> taps = jnp.array([[1.0], [0.0], [10.0]])
        >>> depthwise_conv(x, taps, 1, max_dilation=1)[0, :, 0].tolist()
        [20.0, 31.0, 2.0]
    """
    offsets = tap_offsets(len(taps), dilation, causal=causal)
    left, right = reach(len(taps), max_dilation, causal=causal)
    padded = pad_frames(x, left, right)
    return sum(
        window(padded, left + offset, x.shape[1]) * tap
        for tap, offset in zip(taps[:, None, None], offsets, strict=True)
    )


def depthwise_conv_step(
    past: Float[Array, "batch past channels"],
    x: Float[Array, "batch frames channels"],
    taps: Float[Array, "width channels"],
    dilation: int,
) -> tuple[Float[Array, "batch past channels"], Float[Array, "batch frames channels"]]:
    """Convolve the next frames as the causal :func:`depthwise_conv` does a whole.

    ``past`` holds the ``(width - 1) * dilation`` frames before, zeros in the beginning.

    Example:
        >>> past, taps = jnp.zeros((1, 2, 1)), jnp.array([[1.0], [0.0], [10.0]])
        >>> past, y = depthwise_conv_step(past, jnp.array([[[1.0], [2.0]]]), taps, 1)
        >>> depthwise_conv_step(past, jnp.array([[[3.0]]]), taps, 1)[1].item()
        31.0
    """
    frames, joined = x.shape[1], jnp.concatenate([past, x], axis=1)
    y = jnp.zeros_like(x)
    for tap, kernel in enumerate(taps[:, None, None]):
        y += joined[:, tap * dilation :][:, :frames] * kernel
    return joined[:, frames:], y


def tap_offsets(width: int, dilation: int | Array, *, causal: bool) -> list:
    """Frames between every tap, oldest first, and the frame that it contributes to.

    Example:
        >>> tap_offsets(3, 4, causal=False), tap_offsets(3, 4, causal=True)
        ([-4, 0, 4], [-8, -4, 0])
    """
    center = width - 1 if causal else (width - 1) // 2
    return [(tap - center) * dilation for tap in range(width)]


def reach(width: int, max_dilation: int, *, causal: bool) -> tuple[int, int]:
    """Frames before and after the present that taps can look at.

    Example:
        >>> reach(3, 4, causal=False), reach(3, 4, causal=True)
        ((4, 4), (8, 0))
    """
    offsets = tap_offsets(width, max_dilation, causal=causal)
    return -offsets[0], offsets[-1]


def pad_frames(
    x: Float[Array, "batch frames channels"], left: int, right: int
) -> Float[Array, "batch padded channels"]:
    """Frames of zeros before and after."""
    return jnp.pad(x, ((0, 0), (left, right), (0, 0)))


def window(
    padded: Float[Array, "batch padded channels"], start: int | Array, frames: int
) -> Float[Array, "batch frames channels"]:
    """The ``frames`` frames from ``start`` on."""
    return jax.lax.dynamic_slice_in_dim(padded, start, frames, axis=1)
