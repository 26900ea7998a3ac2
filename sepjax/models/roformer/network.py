"""The networks of RoFormers, as pure functions of their parameters.

Between the transformers features are ``(bands, tokens, channels)``, where a token is a
frame of an item. Parameters of all blocks lie along the first axis, those of a
transformer's layers along the second.

Reference: Lu, Wang, Kong and Hung 2023, "Music source separation with band-split RoPE
transformer"; Wang, Lu and Won 2023, "Mel-Band RoFormer for music source separation".
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.functional.dense import dense
from sepjax.functional.norms import gelu
from sepjax.models.roformer.bands import Bands
from sepjax.models.roformer.config import KINDS, RoformerConfig
from sepjax.models.roformer.layers import (
    Features,
    Params,
    estimate_masks,
    rms_norm,
    split_bands,
    unit,
)

Tokens = Float[Array, "sequences places channels"]
PIECE = 2048
"""Tokens that a CPU computes at a time: what a layer makes of them stays in caches."""


def rotate(
    x: Float[Array, "sequences places heads channels"],
) -> Float[Array, "sequences places heads channels"]:
    r"""Turn pairs of channels by an angle that grows with the token's place.

    The pair i is channel i of the first and of the second half; its angle at place t is
    :math:`t \cdot 10000^{-2i/d}`. Public code pairs neighbors: importers reorder them.

    Example:
        >>> x = jnp.ones((1, 2, 1, 2))
        >>> np.asarray(rotate(x))[0, :, 0].round(3)  # by 0 and by 1 radian
        array([[ 1.   ,  1.   ],
               [-0.301,  1.382]], dtype=float32)

    Reference:
        Su et al. 2021, RoFormer: enhanced transformer with rotary position embedding.
    """
    tokens, half = x.shape[1], x.shape[-1] // 2
    angles = np.arange(tokens)[:, None] * 10000.0 ** (-np.arange(half) / half)
    shape = (*x.shape[:-1], half)
    cosine, sine = (
        jnp.broadcast_to(jnp.asarray(part, x.dtype)[None, :, None], shape)
        for part in (np.cos(angles), np.sin(angles))
    )
    first, second = jnp.split(x, 2, axis=-1)
    turned = first * cosine - second * sine, second * cosine + first * sine
    return jnp.concatenate(turned, axis=-1)


def attention(
    params: Params,
    x: Tokens,
    values: Callable[[Array, Array], Array],
    heads: int,
) -> tuple[Tokens, Array]:
    r"""Attention of all tokens to all, turned by their places, with gated heads.

    .. math:: y = W_o [\sigma(w_h \cdot \hat x + b_h) \odot
              \mathrm{softmax}(R q \cdot R k / \sqrt d)\, v]_h, \quad
              \hat x = \mathrm{norm}(x)

    With ``temperature`` among the parameters it is linear attention instead, of
    channels to channels (without places and gates): q and k have norm 1 along the
    tokens, q times the exponential of the temperature, and
    :math:`\mathrm{softmax}(8\, q^T k)` multiplies the channels of v.

    Args:
        params: norm's gain, kernels of q, k, v side by side and of the output.
        x: sequences.
        values: of the normed input and its values, gives those that are used.
        heads: how many.

    Returns:
        The output, and the values that ``values`` was given.

    Reference:
        Lu et al. 2023; Ali et al. 2021, XCiT: cross-covariance image transformers.
    """
    normed = rms_norm(x, params["gain"])
    qkv = dense(params["qkv"], normed).reshape(*x.shape[:2], 3, heads, -1)
    q, k, own = (qkv[:, :, part] for part in range(3))
    v = values(normed, own)
    if "temperature" in params:
        q, k = (unit(part.astype(jnp.float32), axis=1) for part in (q, k))
        q = q * jnp.exp(params["temperature"])[None, None, :, None]
        q, k = q.astype(x.dtype), k.astype(x.dtype)
        scores = 8 * jnp.einsum("sthi,sthj->shij", q, k).astype(jnp.float32)
        scores = jax.nn.softmax(scores).astype(x.dtype)
        y = jnp.einsum("shij,sthj->sthi", scores, v)
    else:
        with jax.numpy_dtype_promotion("standard"):  # which it relies on
            y = jax.nn.dot_product_attention(rotate(q), rotate(k), v)
        gates = jax.nn.sigmoid(dense(params["gates"], normed))
        y = y * jnp.broadcast_to(gates[..., None], y.shape)
    return dense(params["output"], y.reshape(*x.shape[:2], -1)), own


def feed_forward(params: Params, x: Tokens) -> Tokens:
    """Norm, to more channels, GELU (exact), and back.

    Example:
        >>> parts = {"kernel": jnp.ones((2, 2))}
        >>> params = {"gain": jnp.ones(2), "inner": parts, "outer": parts}
        >>> feed_forward(params, jnp.zeros((1, 3, 2))).shape
        (1, 3, 2)
    """
    hidden = dense(params["inner"], rms_norm(x, params["gain"]))
    return dense(params["outer"], gelu(hidden))


def transformer(
    params: Params,
    x: Tokens,
    first: Array | None,
    mix: Params | None,
    *,
    heads: int,
    crossed: bool = False,
) -> tuple[Tokens, Array | None]:
    """Layers of attention and feed-forward networks, each added to its input.

    Args:
        params: of its layers, stacked; ``norm`` of its output, if it has one.
        x: sequences.
        first: values of the transformer of this kind in the first block, if they count.
        mix: of each layer, what decides how much they count, and ``on``: whether.
        heads: of attention.
        crossed: with ``v + w (m - v)`` instead of ``v + m (w - v)``.

    Returns:
        Output, and the values of the first layer where ``first`` is given.
    """

    def layer(x: Tokens, own: tuple[Params, Params | None]) -> tuple[Tokens, Any]:
        params, mix = own

        def values(normed: Array, v: Array) -> Array:
            if mix is None:
                return v
            share = jax.nn.sigmoid(dense(mix, normed))[..., None]
            share = jnp.broadcast_to(share, v.shape)
            pair = (first, share - v) if crossed else (share, first - v)
            return jnp.where(mix["on"], v + pair[0] * pair[1], v)

        y, v = attention(params["attention"], x, values, heads)
        x = x + y
        return x + feed_forward(params["feed_forward"], x), v if mix else None

    layers = {name: params[name] for name in ("attention", "feed_forward")}
    x, seen = jax.lax.scan(layer, x, (layers, mix))
    x = rms_norm(x, params["norm"]) if "norm" in params else x
    return x, seen if seen is None else seen[0]


def in_pieces(function: Callable[[Any], Any], inputs: Any, tokens: int) -> Any:
    """Apply a function of independent sequences, on a CPU to some of them at a time.

    Args:
        function: of a tree of arrays, all with sequences along the first axis.
        inputs: the tree.
        tokens: of each sequence.

    Example:
        >>> in_pieces(lambda x: x + 1, jnp.zeros((5, 1)), PIECE // 2).shape
        (5, 1)
    """
    count = jax.tree.leaves(inputs)[0].shape[0]
    pieces = -(-count // max(PIECE // tokens, 1))
    if pieces == 1 or jax.default_backend() != "cpu":
        return function(inputs)
    size = -(-count // pieces)
    pieces = -(-count // size)

    def cut(x: Array) -> Array:
        ends = [(0, pieces * size - count)] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, ends).reshape(pieces, size, *x.shape[1:])

    outputs = jax.lax.map(function, jax.tree.map(cut, inputs))
    return jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:])[:count], outputs)


def sequences_of(x: Features, kind: str, batch: int) -> Tokens:
    """Arrange features as the sequences of a transformer: along what it attends to.

    Example:
        >>> x = jnp.zeros((5, 2 * 7, 3))  # of five bands, and two items of seven frames
        >>> [sequences_of(x, kind, 2).shape for kind in KINDS]
        [(2, 35, 3), (10, 7, 3), (14, 5, 3)]
    """
    if kind == "frequency":
        return jnp.swapaxes(x, 0, 1)
    bands, _, channels = x.shape
    if kind == "time":
        return x.reshape(bands * batch, -1, channels)
    items = jnp.swapaxes(x.reshape(bands, batch, -1, channels), 0, 1)
    return items.reshape(batch, -1, channels)


def features_of(y: Tokens, kind: str, bands: int) -> Features:
    """Invert :func:`sequences_of`."""
    if kind == "frequency":
        return jnp.swapaxes(y, 0, 1)
    if kind == "linear":
        y = jnp.swapaxes(y.reshape(len(y), bands, -1, y.shape[-1]), 0, 1)
    return y.reshape(bands, -1, y.shape[-1])


def run_blocks(
    params: Params, x: Features, config: RoformerConfig, batch: int
) -> Features:
    """Run the blocks of transformers.

    Args:
        params: ``blocks``, and ``mix`` where values of the first block count.
        x: features; tokens are the frames of one item after the other.
        config: of the model.
        batch: items.
    """
    kinds = [kind for kind in KINDS if kind in params["blocks"]]
    shared = config.values != "own"

    def run(kind: str, own: Params, mix: Params | None, x: Array, first: Any) -> Any:
        crossed = config.values == "crossed" and kind != "linear"
        form = dict(heads=config.heads, crossed=crossed)

        def piece(inputs: tuple[Array, Any]) -> tuple[Array, Any]:
            return transformer(own, *inputs, mix, **form)

        piece = jax.checkpoint(piece) if config.remat else piece
        inputs = sequences_of(x, kind, batch), first
        y, seen = in_pieces(piece, inputs, inputs[0].shape[1])
        return features_of(y, kind, len(x)), seen

    def block(carry: tuple, own: tuple) -> tuple[tuple, None]:
        (x, total, firsts), (params, mixes) = carry, own
        firsts = dict(firsts)
        for kind in kinds:
            if config.skip and kind == "time":
                x = x + total
            mix, first = mixes.get(kind), firsts.get(kind)
            x, seen = run(kind, params[kind], mix, x, first)
            if shared:
                firsts[kind] = jnp.where(mix["on"][0], first, seen)
        return (x, total + x if config.skip else total, firsts), None

    mixes, firsts = _first_values(params, x, config, batch) if shared else ({}, {})
    total = jnp.zeros_like(x) if config.skip else None
    stacked = params["blocks"], mixes
    return jax.lax.scan(block, (x, total, firsts), stacked)[0][0]


def _first_values(
    params: Params, x: Features, config: RoformerConfig, batch: int
) -> tuple[dict[str, Params], dict[str, Array]]:
    """What mixes values in all blocks, in the first one off; places for its values."""
    mixes, firsts, heads = {}, {}, (config.heads, config.head_channels)
    for kind, own in params["mix"].items():
        own = jax.tree.map(lambda a: jnp.concatenate([a[:1], a]), dict(own))
        layers = own["bias"].shape[:2]
        on = np.broadcast_to(np.arange(layers[0])[:, None] > 0, layers)
        mixes[kind] = own | {"on": on}
        shape = *sequences_of(x, kind, batch).shape[:2], *heads
        firsts[kind] = jnp.zeros(shape, x.dtype)
    return mixes, firsts


def network(
    params: Params,
    rows: Float[Array, "rows tokens"],
    bands: Bands,
    config: RoformerConfig,
    batch: int,
) -> Float[Array, "sources rows tokens"]:
    """Masks of every source for the rows of a spectrum.

    Args:
        params: of :func:`draw_parameters`.
        rows: real and imaginary parts of the mixture's spectrum.
        bands: tables of the model.
        config: of the model.
        batch: items, whose frames are the tokens.
    """
    x = split_bands(params["split"], rows, bands, config.compute_dtype)
    x = run_blocks(params, x, config, batch)
    x = rms_norm(x, params["norm"]) if "norm" in params else x
    return estimate_masks(params["masks"], x, bands, remat=config.remat)
