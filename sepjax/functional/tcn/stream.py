"""The causal network on a stream: the tails of its convolutions and norms are state."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sepjax.functional.norms import (
    cumulative_norm_state,
    cumulative_norm_step,
    frame_norm,
)
from sepjax.functional.tcn.depthwise import depthwise_conv_step
from sepjax.functional.tcn.network import Norm, check_tcn, through_block

CAUSAL_NORMS = ("cumulative", "frame")
TcnState = list[dict[str, Any]]
"""State of each layer, of all stacks along the leading axis."""


def init_tcn_state(
    batch: int,
    *,
    layers: int,
    stacks: int,
    hidden: int,
    width: int = 3,
    norm: Norm = "cumulative",
    dtype: Any = "float32",
) -> TcnState:
    """Return the state of a causal network before its first frame.

    Layer l remembers ``(width - 1) 2**l`` frames; other arguments as for
    :func:`sepjax.functional.tcn.init_tcn`.

    Example:
        >>> state = init_tcn_state(1, layers=3, stacks=2, hidden=8)
        >>> [layer["past"].shape for layer in state]
        [(2, 1, 2, 8), (2, 1, 4, 8), (2, 1, 8, 8)]
    """
    state = []
    for layer in range(layers):
        past = (width - 1) * 2**layer
        one: dict[str, Any] = {"past": jnp.zeros((batch, past, hidden), dtype)}
        for name in ("norm_1", "norm_2") if norm == "cumulative" else ():
            one[name] = cumulative_norm_state(batch)
        state.append(one)
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * stacks), state)


def tcn_step(
    params: dict,
    state: TcnState,
    x: Float[Array, "batch frames bottleneck"],
    valid: Bool[Array, " frames"],
    *,
    stacks: int,
    norm: Norm = "cumulative",
) -> tuple[TcnState, Float[Array, "batch frames skip"]]:
    """Run the next frames through a causal network, as :func:`tcn` runs a whole.

    Args:
        params: as :func:`sepjax.functional.tcn.init_tcn` makes them.
        state: of :func:`init_tcn_state`, or of the frames before.
        x: frames.
        valid: frames that belong to the signal; others leave no trace in the state.
        stacks: repetitions of the stack.
        norm: "cumulative" or "frame".

    Raises:
        ValueError: arrays do not fit, or the norm hears the future.

    Example:
        >>> from sepjax.functional.tcn import init_tcn, tcn
        >>> shape, sizes = dict(layers=2, stacks=2), dict(bottleneck=4, hidden=8)
        >>> params = init_tcn(jax.random.key(0), **shape, **sizes)
        >>> x = jax.random.normal(jax.random.key(1), (1, 10, 4))
        >>> state = init_tcn_state(1, **shape, hidden=8)
        >>> state, first = tcn_step(params, state, x[:, :5], jnp.ones(5) > 0, stacks=2)
        >>> _, second = tcn_step(params, state, x[:, 5:], jnp.ones(5) > 0, stacks=2)
        >>> whole = tcn(params, x, **shape, causal=True, norm="cumulative")
        >>> bool(jnp.allclose(jnp.concatenate([first, second], 1), whole, atol=1e-5))
        True
    """
    layers = len(state)
    check_tcn(params, x, layers, stacks, norm)
    if norm not in CAUSAL_NORMS:
        raise ValueError(f"norm={norm!r} hears the future: no stream")
    skip_channels = params["output"]["kernel"].shape[-1] - x.shape[-1]

    def stack(carry: tuple[Array, Array], xs: tuple[dict, TcnState]) -> tuple:
        (residual, skips), (each, before) = carry, xs
        after = []
        for layer in range(layers):
            one = jax.tree.map(lambda leaf, layer=layer: leaf[layer], each)
            new, out, skip = _block(one, before[layer], residual, valid, 2**layer)
            residual, skips = residual + out, skips + skip
            after.append(new)
        return (residual, skips), after

    parts = jax.tree.map(
        lambda leaf: leaf.astype(x.dtype).reshape(stacks, layers, *leaf.shape[1:]),
        params,
    )
    start = x, jnp.zeros((*x.shape[:-1], skip_channels), x.dtype)
    (residual, skips), state = jax.lax.scan(stack, start, (parts, state))
    return state, skips if skip_channels else residual


def _block(
    params: dict, state: dict[str, Any], x: Array, valid: Array, dilation: int
) -> tuple[dict[str, Any], Array, Array]:
    """State, residual and skip of one block; the norm is known by its state."""
    new: dict[str, Any] = {}

    def normalize(name: str, hidden: Array) -> Array:
        if name not in state:
            return frame_norm(hidden, **params[name])
        how = hidden, params[name]["gain"], params[name]["bias"], valid
        new[name], normed = cumulative_norm_step(state[name], *how)
        return normed

    def convolve(hidden: Array, taps: Array) -> Array:
        # Before the signal there is nothing, not the bias of a norm.
        hidden = jnp.where(valid[None, :, None], hidden, 0)
        new["past"], y = depthwise_conv_step(state["past"], hidden, taps, dilation)
        return y

    out, skip = through_block(params, x, normalize, convolve)
    return new, out, skip
