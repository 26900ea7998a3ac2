"""All blocks of the network, with the backward pass written by hand.

One block is, with * for the depthwise convolution and norms as affine maps::

    a = x @ W1 + b1          p = prelu(a)       n = scale1 * p + offset1
    d = taps * n + bd        q = prelu(d)       u = scale2 * q + offset2
    z = u @ W2 + b2          x += residual half of z,  skips += skip half

Written out, the derivative needs far fewer passes over memory than autodiff finds:

* The second norm is folded into the 1x1 behind it, the first one into the taps.
* The sums over frames that a norm's gradient needs fall out of gradients of weights:
  sum_t du q is the diagonal of W2 (q^T dz)^T, sum_t dn p = sum_i taps_i sum_t dd p_i.
* Only ``x`` is kept, and ``x @ W1`` where memory allows (``remat=False``); all else is
  recomputed without a further matmul.
* A block's parameters travel in the scan's carry. As slices of the stacked arrays they
  would be read, index and all, inside of every elementwise loop (5 times slower).

Measurements: docs/decisions/0003-tcn-form.md.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.norms import EPSILON, prelu
from sepjax.functional.tcn.depthwise import pad_frames, reach, tap_offsets, window


class Form(NamedTuple):
    """The facts that are fixed at compile time."""

    max_dilation: int
    groups: int = 1
    remat: bool = True


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def fused_tcn(
    form: Form,
    params: dict,
    dilations: Array,
    x: Float[Array, "batch frames bottleneck"],
) -> tuple[Float[Array, "batch frames bottleneck"], Float[Array, "batch frames skip"]]:
    """Return the last residual and the sum of skips, with global or group norms.

    Differentiable in reverse mode only. ``params`` are those of
    :func:`sepjax.functional.tcn.init_tcn`, biases included; matmuls and stored
    activations have the type of ``x``.
    """
    return _forward(form, params, dilations, x)[0]


def _forward(form: Form, params: dict, dilations: Array, x: Array) -> tuple:
    def body(carry: tuple, block: tuple[dict, Array], _: None) -> tuple:
        residual, skips = carry
        output, saved = _block(form, *block, residual)
        out, skip = jnp.split(output, [x.shape[-1]], axis=-1)
        return (residual + out, skips + skip), saved

    skip_channels = params["output"]["kernel"].shape[-1] - x.shape[-1]
    skips = jnp.zeros((*x.shape[:-1], skip_channels), x.dtype)
    outputs, saved = _scan_blocks(body, (x, skips), (params, dilations), None)
    return outputs, (params, dilations, saved)


def _backward(form: Form, kept: tuple, cotangents: tuple[Array, Array]) -> tuple:
    params, dilations, saved = kept
    d_residual, d_skips = cotangents
    skip_total = _frame_sum(d_skips)

    def body(d_x: Array, block: tuple[dict, Array], saved: tuple) -> tuple:
        d_output = jnp.concatenate([d_x, d_skips], axis=-1)
        total = jnp.concatenate([_frame_sum(d_x), skip_total], axis=-1)
        gradients, change = _block_backward(form, *block, saved, d_output, total)
        return d_x + change, gradients

    d_x, gradients = _scan_blocks(
        body, d_residual, (params, dilations), saved, reverse=True
    )
    return gradients, None, d_x


fused_tcn.defvjp(_forward, _backward)


def _scan_blocks(
    body: Callable, carry: Any, blocks: Any, xs: Any, *, reverse: bool = False
) -> tuple:
    """``lax.scan`` whose body sees one block's parameters out of the carry."""
    start, shift = (-1, 1) if reverse else (0, -1)
    first = jax.tree.map(lambda leaf: leaf[start], blocks)
    following = jax.tree.map(lambda leaf: jnp.roll(leaf, shift, 0), blocks)

    def step(state: tuple, x: tuple) -> tuple:
        carry, block = state
        carry, y = body(carry, block, x[1])
        return (carry, x[0]), y

    ys: Any  # of the body
    (carry, _), ys = jax.lax.scan(
        step, (carry, first), (following, xs), reverse=reverse
    )
    return carry, ys


def _block(form: Form, params: dict, dilation: Array, x: Array) -> tuple[Array, tuple]:
    pre = x @ params["input"]["kernel"].astype(x.dtype)
    active_1 = _from_input(params, pre)[1]
    norm_1 = _statistics(active_1, params["norm_1"], form.groups)
    depthwise = _to_depthwise(form, params, dilation, active_1, norm_1)[1]
    active_2 = prelu(depthwise, params["prelu_2"]).astype(x.dtype)
    norm_2 = _statistics(active_2, params["norm_2"], form.groups)
    kernel, bias = params["output"]["kernel"], params["output"]["bias"]
    output = jnp.einsum("bfh,bho->bfo", active_2, _folded(norm_2, kernel, x.dtype))
    output += (norm_2.offset @ kernel + bias[None])[:, None].astype(x.dtype)
    return output, (x, None if form.remat else pre, norm_1, norm_2)


class _Norm(NamedTuple):
    """A norm as scale * x + offset, each (batch, channels) in float32."""

    mean: Array
    rstd: Array
    scale: Array
    offset: Array


def _statistics(x: Array, params: dict, groups: int) -> _Norm:
    count = x.shape[1] * x.shape[2] // groups
    mean = _over_group(_frame_sum(x), groups) / count
    power = _over_group(_frame_dot(x, x), groups) / count
    rstd = jax.lax.rsqrt(jnp.maximum(power - jnp.square(mean), 0.0) + EPSILON)
    scale = rstd * params["gain"][None]
    return _Norm(mean, rstd, scale, params["bias"][None] - mean * scale)


def _frame_sum(x: Array) -> Array:
    return jnp.sum(x, axis=1, dtype=jnp.float32)


def _frame_dot(x: Array, y: Array) -> Array:
    return jnp.einsum("bfc,bfc->bc", x, y, preferred_element_type=jnp.float32)


def _masked_sums(masks: Array, x: Array) -> Array:
    """Sums over the frames of each mask: (masks, batch, channels).

    With the masks repeated for every item it is a matmul without a transposed copy.
    """
    repeated = jnp.broadcast_to(masks.T, (x.shape[0], *masks.T.shape))
    if x.dtype == jnp.bfloat16:  # under vmap, XLA's CPU wants both to have its axis
        repeated = repeated + 0 * x[..., :1]
    sums = jnp.einsum("bfi,bfc->bic", repeated, x, preferred_element_type=jnp.float32)
    return sums.swapaxes(0, 1)


def _over_group(x: Array, groups: int) -> Array:
    """Sum (batch, channels) over each group, repeated for its channels."""
    grouped = x.reshape(x.shape[0], groups, -1)
    sums = grouped.sum(-1, keepdims=True)
    return jnp.broadcast_to(sums, grouped.shape).reshape(x.shape)


def _folded(norm: _Norm, kernel: Array, dtype: jnp.dtype) -> Array:
    """The 1x1's kernel behind the norm, one per item."""
    return (norm.scale[..., None] * kernel[None]).astype(dtype)


def _inside(offset: Array, frames: int) -> Array:
    """(frames, 1): 1 where the frame at this offset exists."""
    position = jnp.arange(frames) + offset
    return ((position >= 0) & (position < frames)).astype(jnp.float32)[:, None]


def _from_input(params: dict, pre: Array) -> tuple[Array, Array]:
    """From ``x @ W1`` to the first activation: (a, p)."""
    biased = _f32(pre) + params["input"]["bias"][None, None]
    return biased, prelu(biased, params["prelu_1"]).astype(pre.dtype)


def _to_depthwise(
    form: Form, params: dict, dilation: Array, active: Array, norm: _Norm
) -> tuple[Array, Array]:
    """From the first activation to the depthwise convolution: (padded p, d)."""
    frames, taps = active.shape[1], params["depthwise"]["kernel"][:, None]
    left, right = reach(len(taps), form.max_dilation, causal=False)
    padded = pad_frames(active, left, right)
    total = params["depthwise"]["bias"][None, None]
    for tap, offset in zip(taps, tap_offsets(len(taps), dilation, causal=False)):
        scale, constant = norm.scale * tap, norm.offset * tap
        total += _window(padded, left + offset, frames) * scale[:, None]
        total += _inside(offset, frames)[None] * constant[:, None]
    return padded, total


def _block_backward(
    form: Form,
    params: dict,
    dilation: Array,
    saved: tuple,
    d_output: Array,
    total: Array,
) -> tuple[dict, Array]:
    """Gradients of one block's parameters and of its input."""
    x, pre, norm_1, norm_2 = saved
    input_kernel = params["input"]["kernel"].astype(x.dtype)
    pre = x @ input_kernel if form.remat else pre
    biased, active = _from_input(params, pre)
    padded, depthwise = _to_depthwise(form, params, dilation, active, norm_1)
    d_depthwise, gradients = _output_backward(
        form, params, norm_2, depthwise, d_output, total
    )
    d_biased, more = _depthwise_backward(
        form, params, dilation, (biased, padded, norm_1), d_depthwise
    )
    kernel_gradient = _flat(x).T @ _flat(d_biased)
    bias_gradient = _frame_sum(d_biased).sum(0)
    gradients |= more | {"input": {"kernel": kernel_gradient, "bias": bias_gradient}}
    gradients = jax.tree.map(lambda g, p: g.astype(p.dtype), gradients, params)
    return gradients, d_biased @ input_kernel.T


def _output_backward(
    form: Form,
    params: dict,
    norm: _Norm,
    depthwise: Array,
    d_output: Array,
    total: Array,
) -> tuple[Array, dict]:
    """Through the 1x1, the norm and the PReLU behind the depthwise convolution."""
    dtype, slope = d_output.dtype, params["prelu_2"]
    kernel = params["output"]["kernel"]
    active = prelu(depthwise, slope).astype(dtype)
    product = jnp.einsum(
        "bfh,bfo->bho", active, d_output, preferred_element_type=jnp.float32
    )
    norm_gradient, shift, pull = _norm_backward(
        norm,
        params["norm_2"],
        total @ kernel.T,
        (product * kernel[None]).sum(-1),
        form,
        depthwise.shape[1],
    )
    back = jnp.einsum("bfo,bho->bfh", d_output, _folded(norm, kernel, dtype))
    d_active = _f32(back) + shift[:, None] + pull[:, None] * _f32(active)
    kernel_gradient = jnp.einsum("bh,bho->ho", norm.scale, product)
    kernel_gradient += norm.offset.T @ total
    return _prelu_backward(depthwise, slope, d_active, dtype), {
        "prelu_2": _slope_gradient(depthwise, d_active),
        "norm_2": norm_gradient,
        "output": {"kernel": kernel_gradient, "bias": total.sum(0)},
    }


def _depthwise_backward(
    form: Form, params: dict, dilation: Array, inputs: tuple, d_depthwise: Array
) -> tuple[Array, dict]:
    """Through the depthwise convolution, the norm and the PReLU before it."""
    biased, padded, norm = inputs
    frames, dtype = biased.shape[1], d_depthwise.dtype
    taps, slope = params["depthwise"]["kernel"][:, None], params["prelu_1"]
    left, right = reach(len(taps), form.max_dilation, causal=False)
    offsets = tap_offsets(len(taps), dilation, causal=False)
    products = [
        _frame_dot(d_depthwise, window(padded, left + offset, frames))
        for offset in offsets
    ]
    masks = jnp.stack([jnp.ones((frames, 1)), *(_inside(o, frames) for o in offsets)])
    bias, *totals = _masked_sums(masks[..., 0].astype(dtype), d_depthwise)
    norm_gradient, shift, pull = _norm_backward(
        norm,
        params["norm_1"],
        sum(tap * total for tap, total in zip(taps, totals)),
        sum(tap * product for tap, product in zip(taps, products)),
        form,
        frames,
    )
    behind = pad_frames(d_depthwise, right, left)
    d_active = shift[:, None] + pull[:, None] * _window(padded, left, frames)
    for tap, offset in zip(taps, offsets):
        scale = norm.scale * tap
        d_active += _window(behind, right - offset, frames) * scale[:, None]
    tap_gradients = [
        (norm.scale * product + norm.offset * total).sum(0)
        for product, total in zip(products, totals)
    ]
    return _prelu_backward(biased, slope, d_active, dtype), {
        "prelu_1": _slope_gradient(biased, d_active),
        "norm_1": norm_gradient,
        "depthwise": {"kernel": jnp.stack(tap_gradients), "bias": bias.sum(0)},
    }


def _norm_backward(
    norm: _Norm, params: dict, total: Array, product: Array, form: Form, frames: int
) -> tuple[dict, Array, Array]:
    """Gradients of gain and bias, and (shift, pull) of the input's gradient.

    That is scale * output's gradient + shift + pull * input. ``total`` is the sum over
    frames of the output's gradient, ``product`` that of this gradient times the input.
    """
    gain = params["gain"][None]
    count = frames * norm.mean.shape[-1] // form.groups
    normed = norm.rstd * (product - norm.mean * total)
    mean_total = _over_group(gain * total, form.groups) / count
    mean_normed = _over_group(gain * normed, form.groups) / count
    pull = -jnp.square(norm.rstd) * mean_normed
    shift = -norm.rstd * mean_total - pull * norm.mean
    return {"gain": normed.sum(0), "bias": total.sum(0)}, shift, pull


def _prelu_backward(x: Array, slope: Array, gradient: Array, dtype: jnp.dtype) -> Array:
    gradient = jnp.where(x >= 0, gradient, slope * gradient).astype(dtype)
    # Else XLA, free to leave out pairs of casts, stores it and others in float32.
    return gradient if dtype == x.dtype else jax.lax.optimization_barrier(gradient)


def _slope_gradient(x: Array, gradient: Array) -> Array:
    return jnp.where(x < 0, x * gradient, 0.0).sum(1).sum()


def _f32(x: Array) -> Array:
    return x.astype(jnp.float32)


def _window(padded: Array, start: int | Array, frames: int) -> Array:
    return _f32(window(padded, start, frames))


def _flat(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])
