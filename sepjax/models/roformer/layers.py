"""Layers of RoFormers; each band has a first and a last one of its own."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.models.roformer.bands import Bands

Features = Float[Array, "bands tokens channels"]
Params = Mapping[str, Any]


def rms_norm(x: Float[Array, "*axes channels"], gain: Array) -> Array:
    r"""Divide by the root of the mean square, :math:`\gamma \sqrt{d} x / \|x\|`.

    Example:
        >>> np.asarray(rms_norm(jnp.array([[3.0, 4.0]]), jnp.ones(2))).round(3)
        array([[0.849, 1.131]], dtype=float32)

    Reference:
        Zhang and Sennrich 2019, Root mean square layer normalization.
    """
    normed = unit(x.astype(jnp.float32), axis=-1) * np.float32(x.shape[-1] ** 0.5)
    return (normed * jnp.broadcast_to(gain, x.shape)).astype(x.dtype)


def unit(x: Array, axis: int) -> Array:
    """Divide by the Euclidean norm; zeros stay, and have a finite gradient."""
    power = jnp.sum(jnp.square(x), axis, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(power, 1e-24))


def pick(x: Float[Array, "rows *rest"], index: np.ndarray) -> Float[Array, "..."]:
    """Take rows; zeros for an index beyond the last one. Neighbors are a slice.

    Example:
        >>> pick(jnp.arange(3.0), np.array([[1, 2], [0, 3]])).tolist()
        [[1.0, 2.0], [0.0, 0.0]]
    """
    start, stop = int(index.flat[0]), int(index.flat[-1]) + 1
    if stop <= len(x) and np.array_equal(index.ravel(), np.arange(start, stop)):
        return x[start:stop].reshape(*index.shape, *x.shape[1:])
    return jnp.take(x, index, axis=0, mode="fill", fill_value=0)


def split_bands(
    params: Params, rows: Float[Array, "rows tokens"], bands: Bands, dtype: Any
) -> Features:
    """Norm of each band, and a linear layer of its own.

    Args:
        params: ``gain`` of every number, ``rows`` of the kernels of all bands one after
            the other, ``bias`` of every band.
        rows: the spectrum's, as :mod:`~sepjax.models.roformer.bands` counts them.
        bands: their tables.
        dtype: of the products.
    """
    parts = []
    for first, stop, index in bands.groups:
        band = unit(pick(rows, bands.rows[index]), axis=1)
        gain = pick(params["gain"], index) * np.sqrt(
            bands.sizes[first:stop, None].astype(np.float32)
        )
        band = (band * jnp.broadcast_to(gain[..., None], band.shape)).astype(dtype)
        kernel = pick(params["rows"], index).astype(dtype)
        y = jnp.einsum("gwn,gwc->gnc", band, kernel)
        bias = params["bias"][first:stop, None].astype(dtype)
        parts.append(y + jnp.broadcast_to(bias, y.shape))
    return jnp.concatenate(parts)


def estimate_masks(
    params: Params, x: Features, bands: Bands, *, remat: bool = True
) -> Float[Array, "sources rows tokens"]:
    """Masks of every source from a network of its own for each band, float32.

    Linear layers with tanh between them, the last one of twice as many channels and
    then a gated linear unit. Masks of bands that have a row in common are averaged.

    Args:
        params: ``hidden_0``, ...: kernels of every source and band; ``output``: the
            last ones' ``rows``, of value and gate, one band after the other.
        x: features.
        bands: their tables.
        remat: compute hidden layers again for their gradients.
    """

    def of_source(params: Params) -> Array:
        parts = []
        for first, stop, index in bands.groups:
            own = {
                name: part if name == "output" else _slices(part, first, stop)
                for name, part in params.items()
            }
            group = functools.partial(_group_masks, index=index)
            group = jax.checkpoint(group) if remat else group
            part = group(own, x[first:stop]).astype(jnp.float32)
            parts.append(part.reshape(-1, part.shape[-1]))
        numbers = jnp.concatenate(parts)
        masks = functools.reduce(jnp.add, [pick(numbers, own) for own in bands.places])
        return masks * jnp.broadcast_to(jnp.asarray(bands.shares), masks.shape)

    if len(params["output"]["bias"]) == 1:
        return of_source(jax.tree.map(lambda leaf: leaf[0], params))[None]
    return jax.lax.map(of_source, dict(params))


def _slices(tree: Params, first: int, stop: int) -> Params:
    return jax.tree.map(lambda leaf: leaf[first:stop], tree)


def _group_masks(params: Params, x: Array, index: np.ndarray) -> Array:
    """Masks ``(bands, numbers, tokens)`` of a group."""
    for layer in range(len(params) - 1):
        own = params[f"hidden_{layer}"]
        y = jnp.einsum("gnc,gch->gnh", x, own["kernel"].astype(x.dtype))
        bias = own["bias"].astype(x.dtype)[:, None]
        x = jnp.tanh(y + jnp.broadcast_to(bias, y.shape))
    kernel, bias = (
        pick(params["output"][name], index).astype(x.dtype) for name in ("rows", "bias")
    )
    y = jnp.einsum("gwkh,gnh->gwkn", kernel, x)
    y = y + jnp.broadcast_to(bias[..., None], y.shape)
    return y[:, :, 0] * jax.nn.sigmoid(y[:, :, 1])
