"""Temporal convolutional network of Conv-TasNet, as pure functions.

A network is a dictionary of arrays whose leading axis counts the blocks, so that
:func:`tcn` can scan over them: one block is compiled, whatever the depth. Blocks of
a stack differ only by their dilation, which is data.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from sepjax.functional.norms import cumulative_norm, global_norm, group_norm, prelu

Norm = Literal["global", "cumulative", "group"]


def receptive_field(layers: int, stacks: int, width: int = 3) -> int:
    """Frames of the input on which one frame of the output depends.

    1 + stacks * (width - 1) * (2**layers - 1)

    Example:
        >>> receptive_field(layers=8, stacks=3)
        1531
    """
    return 1 + stacks * (width - 1) * (2**layers - 1)


def init_tcn(
    key: PRNGKeyArray,
    *,
    layers: int,
    stacks: int,
    bottleneck: int,
    hidden: int,
    width: int = 3,
) -> dict:
    """Draw the parameters of a network of ``stacks * layers`` blocks.

    Kernels and their biases are uniform within 1 / sqrt(fan in), as in PyTorch's
    convolutions; norms are the identity and PReLU slopes are 0.25.

    Args:
        key: Source of randomness.
        layers: Blocks per stack; dilations are 1, 2, 4, ...
        stacks: Repetitions of the stack.
        bottleneck: Channels of input, residual and skip paths.
        hidden: Channels inside a block.
        width: Taps of the depthwise convolution.

    Returns:
        Arrays with a leading axis over blocks; ``output`` maps hidden to residual
        and skip channels side by side, in this order.

    Example:
        >>> params = init_tcn(
        ...     jax.random.key(0), layers=2, stacks=3, bottleneck=4, hidden=8
        ... )
        >>> params["output"]["kernel"].shape
        (6, 8, 8)
    """
    blocks = layers * stacks
    keys = iter(jax.random.split(key, 6))

    def uniform(shape: tuple[int, ...], fan_in: int) -> Array:
        return jax.random.uniform(
            next(keys), (blocks, *shape), minval=-(fan_in**-0.5), maxval=fan_in**-0.5
        )

    def dense(fan_in: int, fan_out: int) -> dict:
        return {
            "kernel": uniform((fan_in, fan_out), fan_in),
            "bias": uniform((fan_out,), fan_in),
        }

    def norm() -> dict:
        shape = (blocks, hidden)
        return {"gain": jnp.ones(shape), "bias": jnp.zeros(shape)}

    return {
        "input": dense(bottleneck, hidden),
        "prelu_1": jnp.full(blocks, 0.25),
        "norm_1": norm(),
        "depthwise": {
            "kernel": uniform((width, hidden), width),
            "bias": uniform((hidden,), width),
        },
        "prelu_2": jnp.full(blocks, 0.25),
        "norm_2": norm(),
        "output": dense(hidden, 2 * bottleneck),
    }


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

    A sum of shifted products: XLA's grouped convolutions are 20 to 60 times slower
    on CPU. Shifts are slices at offsets that may be traced.

    Args:
        x: Activations.
        taps: Kernel, oldest frame first (cross-correlation, as PyTorch).
        dilation: Distance of taps in frames, at most ``max_dilation``; may be traced.
        max_dilation: Bound that sets the padding.
        causal: Look only at the present and the past.

    Example:
        >>> x = jnp.array([[[1.0], [2.0], [3.0]]])
        >>> taps = jnp.array([[1.0], [0.0], [10.0]])
        >>> depthwise_conv(x, taps, 1, max_dilation=1)[0, :, 0].tolist()
        [20.0, 31.0, 2.0]
    """
    frames, width = x.shape[1], taps.shape[0]
    left = width - 1 if causal else (width - 1) // 2
    right = width - 1 - left
    padded = jnp.pad(x, ((0, 0), (left * max_dilation, right * max_dilation), (0, 0)))

    def shifted(tap: int) -> Array:
        start = left * max_dilation + (tap - left) * dilation
        return jax.lax.dynamic_slice_in_dim(padded, start, frames, axis=1)

    return sum(shifted(tap) * taps[tap] for tap in range(width))


def tcn_block(
    params: dict,
    x: Float[Array, "batch frames bottleneck"],
    dilation: int | Array,
    *,
    max_dilation: int,
    causal: bool = False,
    norm: Norm = "global",
    groups: int = 8,
) -> tuple[Float[Array, "batch frames bottleneck"], Float[Array, "batch frames skip"]]:
    """One block: 1x1, PReLU, norm, depthwise, PReLU, norm, 1x1 to residual and skip.

    Args:
        params: Parameters of one block, of the type of ``x``.
        x: Input of the block.
        dilation: Distance of taps in frames; may be traced.
        max_dilation: Largest dilation of the network.
        causal: Look only at the present and the past.
        norm: Which statistics the norms use; causal networks need "cumulative".
        groups: Groups of ``norm="group"``.

    Returns:
        What is to be added to ``x``, and to the sum of skips.
    """
    normalize = {
        "global": global_norm,
        "cumulative": cumulative_norm,
        "group": functools.partial(group_norm, groups=groups),
    }[norm]
    hidden = x @ params["input"]["kernel"] + params["input"]["bias"]
    hidden = normalize(prelu(hidden, params["prelu_1"]), **params["norm_1"])
    hidden = depthwise_conv(
        hidden,
        params["depthwise"]["kernel"],
        dilation,
        max_dilation=max_dilation,
        causal=causal,
    )
    hidden = hidden + params["depthwise"]["bias"]
    hidden = normalize(prelu(hidden, params["prelu_2"]), **params["norm_2"])
    output = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    return output[..., : x.shape[-1]], output[..., x.shape[-1] :]


def tcn(
    params: dict,
    x: Float[Array, "batch frames bottleneck"],
    *,
    layers: int,
    stacks: int,
    causal: bool = False,
    norm: Norm = "global",
    groups: int = 8,
    remat: bool = True,
) -> Float[Array, "batch frames skip"]:
    """Sum of the skips of ``stacks`` times ``layers`` blocks of dilation 1, 2, 4, ...

    Matmuls and activations have the type of ``x``, to which parameters are cast;
    the statistics of norms are float32.

    Args:
        params: As :func:`init_tcn` makes them.
        x: Input, for example the encoded mixture after the bottleneck.
        layers: Blocks per stack.
        stacks: Repetitions of the stack.
        causal: Look only at the present and the past.
        norm: Which statistics the norms use; causal networks need "cumulative".
        groups: Groups of ``norm="group"``.
        remat: Recompute the blocks' insides in the backward pass instead of
            storing them.

    Raises:
        ValueError: If a causal network has norms that see the future.

    Example:
        >>> params = init_tcn(
        ...     jax.random.key(0), layers=2, stacks=1, bottleneck=4, hidden=8
        ... )
        >>> tcn(params, jnp.ones((1, 10, 4)), layers=2, stacks=1).shape
        (1, 10, 4)

    Reference: Luo & Mesgarani, "Conv-TasNet", 2019, section II-C.
    """
    if causal and norm != "cumulative":
        raise ValueError(f"norm={norm!r} sees the future: causal needs 'cumulative'")
    block = functools.partial(
        tcn_block,
        max_dilation=2 ** (layers - 1),
        causal=causal,
        norm=norm,
        groups=groups,
    )
    if remat:
        block = jax.checkpoint(block, prevent_cse=False)

    def body(carry: tuple[Array, Array], block_params: tuple) -> tuple:
        residual, skips = carry
        out, skip = block(*block_params[:1], residual, block_params[1])
        return (residual + out, skips + skip), None

    params = jax.tree.map(lambda leaf: leaf.astype(x.dtype), params)
    dilations = jnp.tile(2 ** jnp.arange(layers), stacks)
    skip_channels = params["output"]["kernel"].shape[-1] - x.shape[-1]
    skips = jnp.zeros((*x.shape[:-1], skip_channels), x.dtype)
    (_, skips), _ = jax.lax.scan(body, (x, skips), (params, dilations))
    return skips
