"""Long short-term memory over frames, in both directions.

The products of the inputs are one matmul over all frames, outside of the scan.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray


def init_lstm(
    key: PRNGKeyArray, *, inputs: int, hidden: int, directions: int = 2
) -> dict[str, Array]:
    r"""Draw the parameters of an LSTM layer.

    All are uniform within :math:`\pm 1 / \sqrt{hidden}`, as PyTorch draws them.

    Args:
        key: of all draws.
        inputs: channels of a frame.
        hidden: channels of each direction's state.
        directions: 1, forward, or 2, forward and backward.

    Returns:
        Arrays with a leading axis over directions: ``input`` (directions, inputs,
        4 hidden), ``state`` (directions, hidden, 4 hidden) and ``input_bias`` and
        ``state_bias`` (directions, 4 hidden), with the gates input, forget, cell and
        output side by side. One bias would do; there are two, as in PyTorch.

    Example:
        >>> layer = init_lstm(jax.random.key(0), inputs=3, hidden=5)
        >>> layer["input"].shape, layer["state"].shape
        ((2, 3, 20), (2, 5, 20))
    """
    shapes = {
        "input": (directions, inputs, 4 * hidden),
        "state": (directions, hidden, 4 * hidden),
        "input_bias": (directions, 4 * hidden),
        "state_bias": (directions, 4 * hidden),
    }
    bound = hidden**-0.5
    keys = jax.random.split(key, len(shapes))
    return {
        name: jax.random.uniform(k, shape, minval=-bound, maxval=bound)
        for k, (name, shape) in zip(keys, shapes.items())
    }


def lstm(
    params: Mapping[str, Array], x: Float[Array, "batch frames inputs"]
) -> Float[Array, "batch frames states"]:
    r"""Run an LSTM layer from a state of zeros.

    .. math:: c_t = \sigma(f_t) c_{t-1} + \sigma(i_t) \tanh(g_t), \quad
              h_t = \sigma(o_t) \tanh(c_t)

    with the gates :math:`(i, f, g, o)_t = W x_t + U h_{t-1} + b`.

    Args:
        params: as :func:`init_lstm` makes them, with one direction or two.
        x: frames, whose type is that of matmuls and states; parameters are cast to it.
            Gates and cells are at least float32.

    Returns:
        The states of all frames; those of the backward direction, which hears the
        frames from the last to the first, follow the forward ones.

    Example:
        >>> layer = init_lstm(jax.random.key(0), inputs=3, hidden=5)
        >>> lstm(layer, jnp.ones((1, 7, 3))).shape
        (1, 7, 10)

    Reference:
        Hochreiter and Schmidhuber 1997; gates as in PyTorch.
    """
    bias = params["input_bias"] + params["state_bias"]
    outputs: list[Array] = []
    for kernel, state, b in zip(params["input"], params["state"], bias):
        gates, start = _gates(x, kernel, b), lstm_state(x.shape[0], len(state), x.dtype)
        states = _scan(gates, state, start, reverse=len(outputs) == 1)[1]
        outputs.append(jnp.swapaxes(states, 0, 1))
    return jnp.concatenate(outputs, axis=-1)


LstmState = tuple[Array, Array]
"""Hidden states and cells, (batch, hidden) each."""


def lstm_state(batch: int, hidden: int, dtype: Any = "float32") -> LstmState:
    """Return the state before the first frame: zeros.

    Example:
        >>> [leaf.shape for leaf in lstm_state(3, 5)]
        [(3, 5), (3, 5)]
    """
    # A forget gate near one needs more than the eight bits of bfloat16.
    wide = np.promote_types(dtype, jnp.float32)
    return jnp.zeros((batch, hidden), dtype), jnp.zeros((batch, hidden), wide)


def lstm_step(
    params: Mapping[str, Array],
    state: LstmState,
    x: Float[Array, "batch frames inputs"],
    valid: Bool[Array, " frames"],
) -> tuple[LstmState, Float[Array, "batch frames states"]]:
    """Run the next frames through a layer of one direction, as :func:`lstm` a whole.

    Frames that are not ``valid`` do not change the state.

    Raises:
        ValueError: the layer has two directions.

    Example:
        >>> layer = init_lstm(jax.random.key(0), inputs=3, hidden=5, directions=1)
        >>> x, valid = jnp.ones((1, 4, 3)), jnp.ones(4, bool)
        >>> state, first = lstm_step(layer, lstm_state(1, 5), x, valid)
        >>> _, second = lstm_step(layer, state, x, valid)
        >>> whole = lstm(layer, jnp.ones((1, 8, 3)))
        >>> bool(jnp.allclose(jnp.concatenate([first, second], 1), whole))
        True
    """
    if len(params["input"]) != 1:
        raise ValueError("a layer of two directions hears the future: no stream")
    bias = params["input_bias"] + params["state_bias"]
    gates = _gates(x, params["input"][0], bias[0])
    state, states = _scan(gates, params["state"][0], state, valid=valid)
    return state, jnp.swapaxes(states, 0, 1)


def _gates(x: Array, kernel: Array, bias: Array) -> Float[Array, "frames batch gates"]:
    """What the inputs add to the gates, of all frames at once."""
    gates = jnp.swapaxes(x, 0, 1) @ kernel.astype(x.dtype)
    return gates + bias.astype(x.dtype)[None, None]


def _scan(
    gates: Float[Array, "frames batch gates"],
    kernel: Float[Array, "hidden gates"],
    start: LstmState,
    *,
    reverse: bool = False,
    valid: Bool[Array, " frames"] | None = None,
) -> tuple[LstmState, Float[Array, "frames batch hidden"]]:
    dtype, wide = gates.dtype, start[1].dtype

    def step(carry: LstmState, frame: Array) -> tuple[LstmState, Array]:
        hidden, cell = carry
        # Cast here, so that the kernel's gradient is summed over frames in its type.
        total = (frame + hidden @ kernel.astype(dtype)).astype(wide)
        i, f, g, o = jnp.split(total, 4, axis=-1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = (jax.nn.sigmoid(o) * jnp.tanh(cell)).astype(dtype)
        return (hidden, cell), hidden

    def step_if_valid(carry: LstmState, xs: tuple[Array, Array]) -> tuple:
        new, hidden = step(carry, xs[0])
        return jax.tree.map(lambda a, b: jnp.where(xs[1], a, b), new, carry), hidden

    if valid is not None:
        return jax.lax.scan(step_if_valid, start, (gates, valid))
    return jax.lax.scan(step, start, gates, reverse=reverse)
