"""The network of Open-Unmix for one source, as a pure function; channels before bins.

Reference: Stöter, Uhlich, Liutkus and Mitsufuji 2019, "Open-Unmix - a reference
implementation for music source separation"; open-unmix-pytorch 1.3.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from sepjax.functional.recurrent import LstmState, init_lstm, lstm, lstm_step
from sepjax.functional.training import batch_norm, drop, item_keys

NORMS = ("bn1", "bn2", "bn3")

Params = Mapping[str, Mapping[str, Array] | Array]
Statistics = Mapping[str, Mapping[str, Array]]


def magnitude_network_parts(
    *,
    bins: int,
    heard: int,
    channels: int = 2,
    hidden: int = 512,
    layers: int = 3,
    bidirectional: bool = True,
) -> dict[str, Callable[[PRNGKeyArray], dict[str, Array] | Array]]:
    r"""Return, for each part of the parameters, the function that draws the part.

    Matrices are uniform within :math:`\pm 1 / \sqrt{fan\ in}`, norms the identity, and
    so is the standardization of the input until statistics of music are put there.

    Args:
        bins: of the spectra.
        heard: number of bins that the network uses, the lowest ones.
        channels: of the audio.
        hidden: channels inside; each of two directions has half as many.
        layers: of the recurrent network.
        bidirectional: False: the network uses the past only.

    Raises:
        ValueError: two directions of an odd number of hidden channels.

    Example:
        >>> parts = magnitude_network_parts(bins=9, heard=5, hidden=4, layers=1)
        >>> list(parts)[:5]
        ['input_mean', 'input_scale', 'output_scale', 'output_mean', 'fc1']
        >>> parts["fc1"](jax.random.key(0))["kernel"].shape
        (10, 4)
    """
    directions = 2 if bidirectional else 1
    if hidden % directions:
        raise ValueError(f"hidden={hidden} must be even for two directions")

    def linear(inputs: int, outputs: int) -> Callable:
        def draw(key: PRNGKeyArray) -> dict[str, Array]:
            span = dict(minval=-(inputs**-0.5), maxval=inputs**-0.5)
            return {"kernel": jax.random.uniform(key, (inputs, outputs), **span)}

        return draw

    def norm(width: int) -> Callable:
        return lambda key: {"gain": jnp.ones(width), "bias": jnp.zeros(width)}

    def recurrent(key: PRNGKeyArray) -> dict[str, Array]:
        width = hidden // directions
        return init_lstm(key, inputs=hidden, hidden=width, directions=directions)

    return {
        "input_mean": lambda key: jnp.zeros(heard),
        "input_scale": lambda key: jnp.ones(heard),
        "output_scale": lambda key: jnp.ones(bins),
        "output_mean": lambda key: jnp.ones(bins),
        "fc1": linear(channels * heard, hidden),
        "bn1": norm(hidden),
        **{f"lstm_{layer}": recurrent for layer in range(layers)},
        "fc2": linear(2 * hidden, hidden),
        "bn2": norm(hidden),
        "fc3": linear(hidden, channels * bins),
        "bn3": norm(channels * bins),
    }


def magnitude_network(
    params: Params,
    statistics: Statistics,
    magnitudes: Float[Array, "batch frames channels bins"],
    *,
    train: bool = False,
    dropout: float = 0.0,
    key: PRNGKeyArray | None = None,
    axis_name: str | None = None,
    dtype: jnp.dtype | str = "float32",
) -> tuple[Float[Array, "batch frames channels bins"], Statistics]:
    r"""Estimate the magnitudes of a source with a mask of at least zero.

    .. math::
        z &= \tanh(\mathrm{BN}_1(W_1 \, \mathrm{vec}((X + \mu_{in}) s_{in}))), \quad
        l = \mathrm{LSTM}(z) \\
        m &= \mathrm{BN}_3(W_3 \, \mathrm{relu}(\mathrm{BN}_2(W_2 [z; l]))), \quad
        Y = \mathrm{relu}(m \, s_{out} + \mu_{out}) \odot X

    where the input's offset and scale start as minus the mean of music and one over
    its standard deviation; all four are trained.

    Args:
        params: of :func:`magnitude_network_parts`, drawn.
        statistics: mean and variance of every norm, as
            :func:`~sepjax.functional.training.initial_statistics`.
        magnitudes: of the mixture.
        train: norms use the statistics of this batch, and there is dropout.
        dropout: share of the channels left out between recurrent layers.
        key: randomness of the dropout; what an item gets depends on its place in the
            whole batch.
        axis_name: the axis of ``pmap`` or ``shard_map`` along which the batch is split,
            if it is: norms then use the statistics of the whole batch.
        dtype: of matmuls and activations; norms, and what scales the magnitudes, are
            float32.

    Returns:
        The estimates, and the statistics, new ones if it trains.

    Example:
        >>> from sepjax.functional.training import initial_statistics
        >>> parts = magnitude_network_parts(bins=9, heard=5, hidden=4)
        >>> @jax.jit
        ... def magnitudes(key, mixture):
        ...     params = {name: draw(key) for name, draw in parts.items()}
        ...     return magnitude_network(params, initial_statistics(params), mixture)[0]
        >>> magnitudes(jax.random.key(0), jnp.ones((1, 7, 2, 9))).shape
        (1, 7, 2, 9)
    """
    keys = None
    if train and dropout:
        keys = item_keys(key, len(magnitudes), axis_name)
    recurrent = functools.partial(_recurrent, params, dropout=dropout, keys=keys)
    how = dict(train=train, axis_name=axis_name, dtype=dtype)
    return _network(params, statistics, magnitudes, recurrent, **how)


def magnitude_network_step(
    params: Params,
    statistics: Statistics,
    state: list[LstmState],
    magnitudes: Float[Array, "batch frames channels bins"],
    valid: Bool[Array, " frames"],
    *,
    dtype: jnp.dtype | str = "float32",
) -> tuple[list[LstmState], Float[Array, "batch frames channels bins"]]:
    """Estimate the next frames as :func:`magnitude_network` does those of a whole.

    Args:
        params: of a network of one direction.
        statistics: of every norm.
        state: of every recurrent layer, zeros before the first frame.
        magnitudes: of the mixture.
        valid: frames that belong to the signal; others leave the state as it is.
        dtype: of matmuls, activations and states.

    Example:
        >>> from sepjax.functional.recurrent import lstm_state
        >>> from sepjax.functional.training import initial_statistics
        >>> sizes = dict(bins=9, heard=5, hidden=4, layers=1, bidirectional=False)
        >>> parts = magnitude_network_parts(**sizes)
        >>> params = {name: draw(jax.random.key(0)) for name, draw in parts.items()}
        >>> known = params, initial_statistics(params)
        >>> frames, valid = jnp.ones((1, 7, 2, 9)), jnp.ones(7, bool)
        >>> state = [lstm_state(1, 4)]
        >>> state, found = magnitude_network_step(*known, state, frames, valid)
        >>> bool(jnp.allclose(found, magnitude_network(*known, frames)[0]))
        True
    """
    new = []

    def recurrent(x: Array) -> Array:
        for layer, before in enumerate(state):
            after, x = lstm_step(params[f"lstm_{layer}"], before, x, valid)
            new.append(after)
        return x

    estimates, _ = _network(params, statistics, magnitudes, recurrent, dtype=dtype)
    return new, estimates


def _network(
    params: Params,
    statistics: Statistics,
    magnitudes: Array,
    recurrent: Callable[[Array], Array],
    *,
    train: bool = False,
    axis_name: str | None = None,
    dtype: jnp.dtype | str,
) -> tuple[Array, Statistics]:
    """The network around its recurrent layers."""
    moments = {}

    def norm(name: str, x: Array) -> Array:
        x, moments[name] = batch_norm(
            params[name], statistics[name], x, train=train, axis_name=axis_name
        )
        return x

    def dense(name: str, x: Array) -> Array:
        kernel = params[name]["kernel"].astype(dtype)
        return (x.astype(dtype) @ kernel).astype(magnitudes.dtype)

    bins = params["input_mean"].shape[0]
    x = magnitudes[..., :bins] + params["input_mean"][None, None, None]
    x = x * params["input_scale"][None, None, None]
    x = x.reshape(*x.shape[:2], -1)
    x = jnp.tanh(norm("bn1", dense("fc1", x)).astype(dtype))
    x = jnp.concatenate([x, recurrent(x)], axis=-1)
    x = jax.nn.relu(norm("bn2", dense("fc2", x)).astype(dtype))
    x = norm("bn3", dense("fc3", x)).reshape(magnitudes.shape)
    x = x * params["output_scale"][None, None, None]
    x = x + params["output_mean"][None, None, None]
    return jax.nn.relu(x) * magnitudes, moments


def _recurrent(params: Params, x: Array, dropout: float, keys: Array | None) -> Array:
    for layer in range(sum(name.startswith("lstm_") for name in params)):
        if keys is not None and layer:
            x = drop(x, dropout, keys, layer)
        x = lstm(params[f"lstm_{layer}"], x)
    return x
