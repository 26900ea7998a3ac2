"""Normalizations and the activation of the temporal convolutional network.

All take ``x`` as (batch, frames, channels) and a gain and a bias per channel.
Statistics are always computed in float32, whatever the type of ``x``.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

EPSILON = 1e-8


def prelu(x: Float[Array, "*shape"], slope: Float[Array, ""]) -> Float[Array, "*shape"]:
    """Parametric ReLU with one slope: x where x >= 0, slope * x elsewhere.

    Example:
        >>> prelu(jnp.array([-2.0, 4.0]), jnp.array(0.25)).tolist()
        [-0.5, 4.0]
    """
    return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


def _affine(normed: Array, gain: Array, bias: Array) -> Array:
    gain, bias = (leaf.astype(normed.dtype)[None, None] for leaf in (gain, bias))
    return normed * gain + bias


def _standardized(x: Array, axes: tuple[int, ...]) -> Array:
    """Zero mean and unit (biased) variance over the axes."""
    mean = x.mean(axes, keepdims=True)
    variance = jnp.square(x - mean).mean(axes, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + EPSILON)


def group_norm(
    x: Float[Array, "batch frames channels"],
    gain: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    groups: int,
) -> Float[Array, "batch frames channels"]:
    """Normalize every group of neighboring channels over its channels and all frames.

    Raises:
        ValueError: the groups do not divide the channels.

    Reference: Wu & He, "Group normalization", 2018; biased variance, as PyTorch.
    """
    batch, frames, channels = x.shape
    if channels % groups:
        raise ValueError(f"{channels} channels do not divide into {groups} groups")
    grouped = x.astype(jnp.float32).reshape(batch, frames, groups, channels // groups)
    normed = _standardized(grouped, (1, 3)).reshape(x.shape)
    return _affine(normed, gain, bias).astype(x.dtype)


def global_norm(
    x: Float[Array, "batch frames channels"],
    gain: Float[Array, " channels"],
    bias: Float[Array, " channels"],
) -> Float[Array, "batch frames channels"]:
    """Normalize each item over all its frames and channels (gLN, one group).

    Example:
        >>> x = jnp.array([[[1.0, 3.0], [5.0, 7.0]]])
        >>> normed = global_norm(x, jnp.ones(2), jnp.zeros(2))
        >>> round(float(normed.mean()), 5), round(float(normed.std()), 5)
        (0.0, 1.0)

    Reference: Luo & Mesgarani, "Conv-TasNet", 2019, eq. 12.
    """
    return group_norm(x, gain, bias, groups=1)


def frame_norm(
    x: Float[Array, "batch frames channels"],
    gain: Float[Array, " channels"],
    bias: Float[Array, " channels"],
) -> Float[Array, "batch frames channels"]:
    """Normalize every frame over its channels (layer norm, elsewhere called cLN too).

    Example:
        >>> frame_norm(jnp.array([[[1.0, 3.0]]]), jnp.ones(2), jnp.zeros(2)).tolist()
        [[[-1.0, 1.0]]]
    """
    normed = _standardized(x.astype(jnp.float32), (-1,))
    return _affine(normed, gain, bias).astype(x.dtype)


def cumulative_norm(
    x: Float[Array, "batch frames channels"],
    gain: Float[Array, " channels"],
    bias: Float[Array, " channels"],
) -> Float[Array, "batch frames channels"]:
    """Normalize frame k by the statistics of all channels of frames 0..k (cLN).

    Reference: Luo & Mesgarani, "Conv-TasNet", 2019, eq. 14; nothing of the future
    is used, so the network can run on a stream.
    """
    values = x.astype(jnp.float32)
    channels = x.shape[-1]
    count = channels * jnp.arange(1.0, x.shape[1] + 1)[None, :, None]
    mean = jnp.cumsum(values.sum(-1, keepdims=True), 1) / count
    power = jnp.cumsum(jnp.square(values).sum(-1, keepdims=True), 1) / count
    variance = jnp.maximum(power - jnp.square(mean), 0.0)
    normed = (values - mean) / jnp.sqrt(variance + EPSILON)
    return _affine(normed, gain, bias).astype(x.dtype)
