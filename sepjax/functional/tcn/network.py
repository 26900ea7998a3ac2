"""Temporal convolutional network of Conv-TasNet, as pure functions.

A network is a dictionary of arrays whose leading axis counts the blocks, so that
:func:`tcn` can scan over them: one block is compiled, whatever the depth. Blocks of
a stack differ only by their dilation, which is data.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from sepjax.functional.norms import (
    cumulative_norm,
    frame_norm,
    global_norm,
    group_norm,
    prelu,
)
from sepjax.functional.tcn.depthwise import depthwise_conv
from sepjax.functional.tcn.fused import Form, fused_tcn

Norm = Literal["global", "cumulative", "group", "frame"]
FUSED = ("global", "group")
"""Norms of the fused network."""


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
    skip: bool = True,
    bias: bool = True,
) -> dict:
    """Draw the parameters of a network of ``stacks * layers`` blocks.

    Kernels and their biases are uniform within 1 / sqrt(fan in), as in PyTorch's
    convolutions; norms are the identity and PReLU slopes are 0.25.

    Args:
        key: Of all draws.
        layers: Blocks per stack.
        stacks: Repetitions of the stack.
        bottleneck: Channels of input, residual and skip paths.
        hidden: Channels inside a block.
        width: Taps of the depthwise convolution.
        skip: Without a skip path the network's output is the last residual.
        bias: Whether the convolutions have biases.

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

    def convolution(shape: tuple[int, int], fan_in: int) -> dict:
        kernel = {"kernel": uniform(shape, fan_in)}
        return kernel | ({"bias": uniform(shape[1:], fan_in)} if bias else {})

    def norm() -> dict:
        shape = (blocks, hidden)
        return {"gain": jnp.ones(shape), "bias": jnp.zeros(shape)}

    return {
        "input": convolution((bottleneck, hidden), bottleneck),
        "prelu_1": jnp.full(blocks, 0.25, jnp.float32),
        "norm_1": norm(),
        "depthwise": convolution((width, hidden), width),
        "prelu_2": jnp.full(blocks, 0.25, jnp.float32),
        "norm_2": norm(),
        "output": convolution((hidden, bottleneck * (2 if skip else 1)), hidden),
    }


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

    ``params`` are those of one block, of the type of ``x``, ``max_dilation`` is the
    network's; other arguments as for :func:`tcn`.

    Returns:
        What is to be added to ``x``, and to the sum of skips.
    """
    norms: dict[str, Callable[..., Array]] = {
        "global": global_norm,
        "cumulative": cumulative_norm,
        "frame": frame_norm,
        "group": functools.partial(group_norm, groups=groups),
    }

    def convolve(hidden: Array, taps: Array) -> Array:
        reach: dict[str, Any] = dict(max_dilation=max_dilation, causal=causal)
        return depthwise_conv(hidden, taps, dilation, **reach)

    def normalize(name: str, hidden: Array) -> Array:
        return norms[norm](hidden, **params[name])

    return through_block(params, x, normalize, convolve)


def through_block(
    params: dict,
    x: Float[Array, "batch frames bottleneck"],
    normalize: Callable[[str, Array], Array],
    convolve: Callable[[Array, Array], Array],
) -> tuple[Float[Array, "batch frames bottleneck"], Float[Array, "batch frames skip"]]:
    """One block of any norms and convolution.

    ``normalize`` takes the name of a norm's parameters and frames, ``convolve`` frames
    and taps.
    """
    hidden = _with_bias(x @ params["input"]["kernel"], params["input"])
    hidden = normalize("norm_1", prelu(hidden, params["prelu_1"]))
    hidden = convolve(hidden, params["depthwise"]["kernel"])
    hidden = _with_bias(hidden, params["depthwise"])
    hidden = normalize("norm_2", prelu(hidden, params["prelu_2"]))
    output = _with_bias(hidden @ params["output"]["kernel"], params["output"])
    return output[..., : x.shape[-1]], output[..., x.shape[-1] :]


def _with_bias(x: Array, params: dict) -> Array:
    return x + params["bias"][None, None] if "bias" in params else x


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
        x: Input.
        layers: Blocks per stack.
        stacks: Repetitions of the stack.
        causal: Look only at the present and the past.
        norm: Which statistics the norms use. A causal network hears nothing of the
            future only with "cumulative" or "frame"; configurations insist on it.
        groups: Groups of ``norm="group"``.
        remat: Keep only the inputs of blocks for the backward pass. Without, the first
            1x1's output is kept too (in a scanned network, everything).

    The form of the norms ``global`` and ``group`` has a backward pass of its own: it is
    differentiated in reverse (``grad``, ``vjp``), not forward (``jvp``).

    Raises:
        ValueError: the input or the parameters have other axes or sizes, or the norm is
            not known, or the groups do not divide the hidden channels.

    Example:
        >>> params = init_tcn(
        ...     jax.random.key(0), layers=2, stacks=1, bottleneck=4, hidden=8
        ... )
        >>> tcn(params, jnp.ones((1, 10, 4)), layers=2, stacks=1).shape
        (1, 10, 4)

    Reference: Luo & Mesgarani, "Conv-TasNet", 2019, section II-C.
    """
    check_tcn(params, x, layers, stacks, norm)
    dilations = jnp.tile(2 ** jnp.arange(layers), stacks)
    widest = 2 ** (layers - 1)
    if causal or norm not in FUSED:
        block = functools.partial(
            tcn_block, max_dilation=widest, causal=causal, norm=norm, groups=groups
        )
        residual, skips = _scan(block, params, dilations, x, remat)
    else:
        groups = groups if norm == "group" else 1
        if (hidden := params["input"]["kernel"].shape[-1]) % groups:
            raise ValueError(f"{hidden} channels do not divide into {groups} groups")
        form = Form(widest, groups, remat)
        residual, skips = fused_tcn(form, _with_biases(params), dilations, x)
    return skips if skips.shape[-1] else residual


def check_tcn(params: dict, x: Array, layers: int, stacks: int, norm: str) -> None:
    """Check that the parameters are those of such a network, and the input fits.

    Raises:
        ValueError: see :func:`tcn`.
    """
    blocks, channels, _ = params["input"]["kernel"].shape
    if x.ndim != 3 or x.shape[-1] != channels:
        raise ValueError(
            f"x {x.shape} must be (batch, frames, {channels}): the parameters have "
            f"{channels} bottleneck channels"
        )
    if min(layers, stacks) < 1 or layers * stacks != blocks:
        raise ValueError(
            f"layers={layers} times stacks={stacks} must be {blocks}, the blocks of "
            "the parameters"
        )
    if norm not in (known := get_args(Norm)):
        raise ValueError(f"norm={norm!r} must be one of {', '.join(known)}")


def _scan(
    block: Callable, params: dict, dilations: Array, x: Array, remat: bool
) -> tuple[Array, Array]:
    """The network as a plain scan, differentiated automatically."""
    if remat:
        block = jax.checkpoint(block, prevent_cse=False)

    def body(carry: tuple[Array, Array], xs: tuple[dict, Array]) -> tuple:
        out, skip = block(xs[0], carry[0], xs[1])
        return (carry[0] + out, carry[1] + skip), None

    params = jax.tree.map(lambda leaf: leaf.astype(x.dtype), params)
    skip_channels = params["output"]["kernel"].shape[-1] - x.shape[-1]
    skips = jnp.zeros((*x.shape[:-1], skip_channels), x.dtype)
    return jax.lax.scan(body, (x, skips), (params, dilations))[0]


def _with_biases(params: dict) -> dict:
    """Zeros where a convolution has no bias."""
    convolutions = {name: params[name] for name in ("input", "depthwise", "output")}
    return params | {
        name: {"bias": jnp.zeros_like(own["kernel"][:, 0])} | own
        for name, own in convolutions.items()
    }
