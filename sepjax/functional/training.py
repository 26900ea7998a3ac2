"""What networks do in training only: norms by statistics of the batch, and dropout."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped


def item_keys(
    key: PRNGKeyArray, count: int, axis_name: str | None = None
) -> Shaped[Array, "items ..."]:
    """Return a key for every item, by its number in the whole batch.

    Args:
        key: of the batch.
        count: items of this part of the batch.
        axis_name: the axis of devices along which the batch is split, if it is.

    Example:
        >>> item_keys(jax.random.key(0), 3).shape
        (3,)
    """
    items = jnp.arange(count)
    if axis_name is not None:
        items = items + count * jax.lax.axis_index(axis_name)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, items)


def drop(
    x: Float[Array, "items *shape"],
    share: float,
    keys: Shaped[Array, "items ..."],
    layer: int,
) -> Float[Array, "items *shape"]:
    """Leave out a share of the values at random, and scale up the rest (dropout).

    Args:
        x: an image or a sequence of each item.
        share: of the values, below 1.
        keys: of :func:`item_keys`.
        layer: number of the layer, so that each draws its own.

    Example:
        >>> keys = item_keys(jax.random.key(0), 2)
        >>> sorted(set(drop(jnp.ones((2, 99)), 0.5, keys, 1).ravel().tolist()))
        [0.0, 2.0]

    Reference:
        Srivastava et al. 2014, Dropout.
    """

    def kept(key: PRNGKeyArray) -> Array:
        key = jax.random.fold_in(key, layer)
        return jax.random.bernoulli(key, 1 - share, x.shape[1:])

    return jnp.where(jax.vmap(kept)(keys), x / (1 - share), 0.0)


def initial_statistics(
    params: Mapping[str, Mapping[str, Array] | Array],
) -> dict[str, dict[str, Array]]:
    """Return mean zero and variance one for every norm: each part with a gain.

    Example:
        >>> statistics = initial_statistics({"norm": {"gain": jnp.ones(2)}})
        >>> statistics["norm"]["var"].tolist()
        [1.0, 1.0]
    """
    norms = {n: part for n, part in params.items() if isinstance(part, Mapping)}
    return {
        name: {"mean": jnp.zeros_like(norm["gain"]), "var": jnp.ones_like(norm["gain"])}
        for name, norm in norms.items()
        if "gain" in norm
    }


def batch_norm(
    params: Mapping[str, Float[Array, " channels"]],
    statistics: Mapping[str, Float[Array, " channels"]],
    x: Float[Array, "batch frames channels"],
    *,
    train: bool,
    axis_name: str | None = None,
    epsilon: float = 1e-5,
    momentum: float = 0.1,
) -> tuple[Float[Array, "batch frames channels"], dict[str, Array]]:
    r"""Normalize every channel with the statistics of the batch, or with stored ones.

    :math:`(x - \mu) / \sqrt{\sigma^2 + \epsilon} \cdot gain + bias`. In training mean
    and (biased) variance are those of the batch, and the share ``momentum`` of the mean
    and of the unbiased variance goes into the known ones, as in PyTorch. Where the
    batch is split along ``axis_name``, they are those of the whole batch.

    Returns:
        The normalized x, and the statistics, new ones if it trains.

    Example:
        >>> params = {"gain": jnp.ones(1), "bias": jnp.zeros(1)}
        >>> known = {"mean": jnp.zeros(1), "var": jnp.ones(1)}
        >>> x = jnp.array([1.0, 3.0]).reshape(1, 2, 1)
        >>> y, known = batch_norm(params, known, x, train=True)
        >>> y.ravel().round(2), known["var"].round(2)
        (Array([-1.,  1.], dtype=float32), Array([1.1], dtype=float32))

    Reference:
        Ioffe and Szegedy 2015, Batch normalization.
    """

    def over_devices(x: Array) -> Array:
        return x if axis_name is None else jax.lax.pmean(x, axis_name)

    mean, variance = statistics["mean"], statistics["var"]
    if train:
        mean = over_devices(x.mean((0, 1)))
        variance = over_devices(jnp.square(x - mean[None, None]).mean((0, 1)))
        devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
        count = devices * x.shape[0] * x.shape[1]
        unbiased = {"mean": mean, "var": variance * (count / max(count - 1, 1))}
        statistics = {
            name: (1 - momentum) * known + momentum * unbiased[name]
            for name, known in statistics.items()
        }
    scale = params["gain"] / jnp.sqrt(variance + epsilon)
    x = (x - mean[None, None]) * scale[None, None] + params["bias"][None, None]
    return x, dict(statistics)
