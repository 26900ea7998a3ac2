"""Normalizations and activations.

Norms take ``x`` as (batch, frames, channels) and a gain and a bias per channel.
Statistics are always computed in float32, whatever the type of ``x``.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

EPSILON = 1e-8


def prelu(x: Float[Array, "*shape"], slope: Float[Array, ""]) -> Float[Array, "*shape"]:
    """Parametric ReLU with one slope: x where x >= 0, slope * x elsewhere.

    Example:
        >>> prelu(jnp.array([-2.0, 4.0]), jnp.array(0.25)).tolist()
        [-0.5, 4.0]
    """
    return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Gaussian error linear unit, :math:`x (1 + \mathrm{erf}(x / \sqrt 2)) / 2`.

    As PyTorch computes it. That of jax is exact for values far below zero, where this
    one rounds to zero, and takes twice as long.

    Example:
        >>> gelu(jnp.array([-1.0, 2.0])).round(4).tolist()
        [-0.15869998931884766, 1.9544999599456787]

    Reference: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """
    return x * (1 + jax.lax.erf(x * 0.5**0.5)) / 2


def _affine(normed: Array, gain: Array, bias: Array) -> Array:
    gain, bias = (leaf.astype(normed.dtype)[None, None] for leaf in (gain, bias))
    return normed * gain + bias


def _standardized(x: Array, axes: tuple[int, ...], epsilon: float = EPSILON) -> Array:
    """Zero mean and unit (biased) variance over the axes."""
    mean = x.mean(axes, keepdims=True)
    variance = jnp.square(x - mean).mean(axes, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + epsilon)


def group_norm(
    x: Float[Array, "batch frames channels"],
    gain: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    groups: int,
    epsilon: float = EPSILON,
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
    normed = _standardized(grouped, (1, 3), epsilon).reshape(x.shape)
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
    epsilon: float = EPSILON,
) -> Float[Array, "batch frames channels"]:
    """Normalize every frame over its channels (layer norm, elsewhere called cLN too).

    Example:
        >>> frame_norm(jnp.array([[[1.0, 3.0]]]), jnp.ones(2), jnp.zeros(2)).tolist()
        [[[-1.0, 1.0]]]
    """
    normed = _standardized(x.astype(jnp.float32), (-1,), epsilon)
    return _affine(normed, gain, bias).astype(x.dtype)


def place_norm(
    x: Float[Array, "batch frames places channels"],
    gain: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    epsilon: float = EPSILON,
) -> Float[Array, "batch frames places channels"]:
    """Normalize every place over its channels and all frames.

    Example:
        >>> x = jnp.array([[[[1.0], [5.0]], [[3.0], [5.0]]]])
        >>> place_norm(x, jnp.ones(1), jnp.zeros(1)).tolist()
        [[[[-1.0], [0.0]], [[1.0], [0.0]]]]
    """
    gain, bias = (leaf.astype(jnp.float32)[None, None, None] for leaf in (gain, bias))
    return _place_norm(x.astype(jnp.float32), gain, bias, epsilon).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _place_norm(x: Array, gain: Array, bias: Array, epsilon: float) -> Array:
    return _forward(x, gain, bias, epsilon)[0]


def _forward(
    x: Array, gain: Array, bias: Array, epsilon: float
) -> tuple[Array, tuple[Array, Array, Array]]:
    centered = x - x.mean((1, 3), keepdims=True)
    variance = jnp.square(centered).mean((1, 3), keepdims=True)
    scale = 1 / jnp.sqrt(variance + epsilon)
    normed = centered * scale
    return normed * gain + bias, (normed, scale, gain)


def _backward(
    epsilon: float, kept: tuple[Array, ...], change: Array
) -> tuple[Array, Array, Array]:
    # Of mean, variance, quotient and gain one by one it would take thrice the passes:
    # two sums over the frames tell all that is needed.
    normed, scale, gain = kept
    count = normed.shape[1] * normed.shape[3]
    sums = [x.sum(1, keepdims=True) for x in (change, change * normed)]
    mean, along = ((x * gain).sum(-1, keepdims=True) / count for x in sums)
    bias, own = (x.sum((0, 1, 2), keepdims=True) for x in sums)
    return scale * (change * gain - mean - normed * along), own, bias


_place_norm.defvjp(_forward, _backward)


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
    frames = 1 + jnp.arange(x.shape[1])
    count = channels * frames.astype(jnp.float32)[None, :, None]
    mean = jnp.cumsum(values.sum(-1, keepdims=True), 1) / count
    power = jnp.cumsum(jnp.square(values).sum(-1, keepdims=True), 1) / count
    variance = jnp.maximum(power - jnp.square(mean), 0.0)
    normed = (values - mean) / jnp.sqrt(variance + EPSILON)
    return _affine(normed, gain, bias).astype(x.dtype)


def cumulative_norm_state(batch: int) -> dict[str, Array]:
    """Return the state of :func:`cumulative_norm_step` before the first frame.

    Example:
        >>> {name: leaf.shape for name, leaf in cumulative_norm_state(3).items()}
        {'count': (), 'sums': (2, 2, 3)}
    """
    return {"count": jnp.int32(0), "sums": jnp.zeros((2, 2, batch))}


def cumulative_norm_step(
    state: dict[str, Array],
    x: Float[Array, "batch frames channels"],
    gain: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    valid: Bool[Array, " frames"],
) -> tuple[dict[str, Array], Float[Array, "batch frames channels"]]:
    """Normalize the next frames as :func:`cumulative_norm` does those of a whole.

    The sums of all values and of their squares are kept in two floats each, the sum and
    what its rounding lost (Knuth's two-sum), and frames are counted by integers, so
    that the statistics of hours are as exact as those of seconds. After 2**30 frames,
    weeks, the newest frames weigh as if they were the 2**30th.

    Args:
        state: of :func:`cumulative_norm_state`, or of the frames before.
        x: frames.
        gain: of every channel.
        bias: likewise.
        valid: frames that belong to the signal; others change no statistics.

    Example:
        >>> state, x = cumulative_norm_state(1), jnp.array([[[1.0, 3.0], [5.0, 7.0]]])
        >>> affine, valid = (jnp.ones(2), jnp.zeros(2)), jnp.ones(1, bool)
        >>> whole = cumulative_norm(x, *affine)
        >>> state, first = cumulative_norm_step(state, x[:, :1], *affine, valid)
        >>> _, second = cumulative_norm_step(state, x[:, 1:], *affine, valid)
        >>> bool(jnp.allclose(jnp.concatenate([first, second], 1), whole))
        True
    """
    values = x.astype(jnp.float32)
    kept = jnp.where(valid[None, :, None], values, 0)
    moments = jnp.stack([kept.sum(-1), jnp.square(kept).sum(-1)])
    prefix = jnp.cumsum(moments, -1)
    total, lost = state["sums"]
    frames = state["count"] + jnp.cumsum(valid.astype(jnp.int32))
    count = x.shape[-1] * jnp.maximum(frames, 1).astype(jnp.float32)
    mean, power = (total[..., None] + (lost[..., None] + prefix)) / count[None, None]
    variance = jnp.maximum(power - jnp.square(mean), 0.0)
    normed = (values - mean[..., None]) / jnp.sqrt(variance + EPSILON)[..., None]
    state = {
        "count": jnp.minimum(frames[-1], 1 << 30),
        "sums": _two_sum(total, lost + prefix[..., -1]),
    }
    return state, _affine(normed, gain, bias).astype(x.dtype)


def _two_sum(a: Array, b: Array) -> Array:
    """The rounded sum and what rounding lost, side by side (Knuth 1969)."""
    total = a + b
    other = total - a
    return jnp.stack([total, (a - (total - other)) + (b - other)])
