"""The transformer between the branches of Hybrid Transformer Demucs.

Reference: Rouard, Massa and Défossez 2023, "Hybrid transformers for music source
separation"; facebookresearch/demucs 4.1.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers
from jaxtyping import Array, Float, PRNGKeyArray

from sepjax.functional import attention
from sepjax.functional.dense import dense
from sepjax.functional.norms import frame_norm, gelu
from sepjax.functional.remat import recomputed
from sepjax.models.htdemucs.config import HTDemucsConfig
from sepjax.models.htdemucs.layers import (
    EPSILON,
    Image,
    Part,
    Tokens,
    draw_conv,
    draw_linear,
    draw_norm,
    norm,
)

PERIOD = 10_000.0  # of the slowest wave of a position, over 2 pi
SCALE = 1e-4  # initial scale of what a layer adds
BRANCHES = ("", "_t")
"""Of the spectrogram, and of the waveform: endings of names."""


def draw_transformer(key: PRNGKeyArray, config: HTDemucsConfig) -> dict[str, Any]:
    """Draw all parameters of :func:`transform`."""
    width, outer = config.width, config.layers()[-1].outputs
    own, *keys = jax.random.split(key, 1 + 2 * config.t_layers)
    parts: dict[str, Any] = {}
    for branch, each in zip(BRANCHES, jax.random.split(own, (2, 2))):
        if config.bottom_channels:
            parts[f"channel_upsampler{branch}"] = draw_conv(each[0], outer, width, 1)
            parts[f"channel_downsampler{branch}"] = draw_conv(each[1], width, outer, 1)
        if config.t_norm_in or config.t_norm_in_group:
            parts[f"norm_in{branch}"] = draw_norm(width)
    names = [f"layers{b}_{n}" for n in range(config.t_layers) for b in BRANCHES]
    for crosses in (False, True):
        some = [n for n in range(len(names)) if _crosses(n // 2, config) == crosses]
        if some:  # those of a kind at once, which compiles one program
            draw = functools.partial(_draw_layer, width=width, config=config)
            draw = functools.partial(draw, crosses=crosses)
            drawn = jax.vmap(draw)(jnp.stack([keys[n] for n in some]))
            for k, n in enumerate(some):
                parts[names[n]] = jax.tree.map(lambda x, k=k: x[k], drawn)
    return parts


def _crosses(n: int, config: HTDemucsConfig) -> bool:
    return n % 2 != config.t_cross_first


def _draw_layer(
    key: PRNGKeyArray, width: int, crosses: bool, config: HTDemucsConfig
) -> dict[str, Any]:
    keys, hidden = jax.random.split(key, 4), int(width * config.t_hidden_scale)
    three = initializers.glorot_uniform()(keys[0], (width, 3 * width))
    part: dict[str, Any] = {f"norm{n}": draw_norm(width) for n in range(1, 3 + crosses)}
    part["attention"] = {"kernel": three, "bias": jnp.zeros(3 * width)}
    part["attention_out"] = draw_linear(keys[1], width, width)
    part["linear1"] = draw_linear(keys[2], width, hidden)
    part["linear2"] = draw_linear(keys[3], hidden, width)
    part["norm_out"] = draw_norm(width)
    return part | {f"gamma_{n}": {"scale": jnp.full(width, SCALE)} for n in (1, 2)}


def waves(count: int, width: int) -> Float[np.ndarray, "count waves"]:
    r"""Return angles :math:`p / 10000^{i / (h - 1)}` of positions p, with h waves.

    Example:
        >>> waves(2, 4).round(4).tolist()
        [[0.0, 0.0], [1.0, 0.0001]]
    """
    half = width // 2
    return np.arange(count)[:, None] / PERIOD ** (np.arange(half) / max(half - 1, 1))


def positions(count: int, width: int) -> Float[Array, "count width"]:
    """Positions along time: cosines of all waves, then their sines.

    Example:
        >>> np.asarray(positions(2, 4)[1], float).round(2)
        array([0.54, 1.  , 0.84, 0.  ])
    """
    angles = waves(count, width)
    return jnp.asarray(np.hstack([np.cos(angles), np.sin(angles)]), float)


def positions_2d(
    frames: int, bins: int, width: int
) -> Float[Array, "frames bins width"]:
    """Positions in a spectrogram: those of frames in the first half, then of bins.

    Each half has sines and cosines in turn, of ``position * 10000**(-2 i / half)``.

    Example:
        >>> np.asarray(positions_2d(2, 3, 8)[1, 0], float).round(2)
        array([0.84, 0.54, 0.01, 1.  , 0.  , 1.  , 0.  , 1.  ])
    """
    half = width // 2

    def axis(count: int) -> np.ndarray:
        angles = np.arange(count)[:, None] * PERIOD ** (-np.arange(0, half, 2) / half)
        return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(count, half)

    shape = (frames, bins, half)
    parts = axis(frames)[:, None], axis(bins)[None]
    both = [jnp.broadcast_to(jnp.asarray(x, float), shape) for x in parts]
    return jnp.concatenate(both, axis=-1)


def transform_layer(
    part: Part,
    x: Tokens,
    other: Tokens | None,
    *,
    heads: int,
    together: bool,
    remat: bool = False,
) -> Tokens:
    r"""Run a layer on the tokens of a branch.

    .. math::
        y &= x + \gamma_1 \odot A(N_1(x), N(o)), \\
        z &= \mathrm{GN}(y + \gamma_2 \odot F(N(y)))

    with multi-head attention A to the other branch, or to itself, and two dense layers
    F with a GELU between; the last norm is over all tokens and channels.

    Args:
        part: of the layer; kernels of queries, keys and values lie side by side.
        x: tokens of the branch.
        other: those of the other branch; None: its own.
        heads: of the attention.
        together: the other norms are over all tokens, too.
        remat: gradients keep inputs of the layer, and of the attention all but weights.
    """

    def normed(part: Part, name: str, x: Tokens) -> Tokens:
        own = part[name]
        if together:
            return norm(own, x)
        return frame_norm(x, own["gain"], own["bias"], EPSILON)

    def scaled(part: Part, name: str, x: Tokens) -> Tokens:
        return x * part[name]["scale"].astype(x.dtype)[None, None]

    def project(part: Part, x: Tokens, other: Tokens | None) -> list[Array]:
        queries = normed(part, "norm1", x)
        keys = queries if other is None else normed(part, "norm2", other)
        kernels, biases = (
            jnp.split(part["attention"][name], 3, -1) for name in ("kernel", "bias")
        )
        return [
            dense({"kernel": kernel, "bias": bias}, y).reshape(*y.shape[:2], heads, -1)
            for kernel, bias, y in zip(kernels, biases, (queries, keys, keys))
        ]

    def finish(out: Part, part: Part, x: Tokens, heard: Tokens) -> Tokens:
        y = dense(out, heard)
        x = x + scaled(part, "gamma_1", y)
        y = normed(part, "norm2" if other is None else "norm3", x)
        y = dense(part["linear2"], gelu(dense(part["linear1"], y)))
        return norm(part["norm_out"], x + scaled(part, "gamma_2", y))

    heard = attention.attend(*recomputed(project, remat)(part, x, other))
    heard = heard.reshape(x.shape)
    return recomputed(finish, remat)(part["attention_out"], part, x, heard)


def transform(
    parts: Part, x: Image, wave: Image, config: HTDemucsConfig
) -> tuple[Image, Image]:
    """Let both branches attend to themselves and to each other, layer by layer.

    Args:
        parts: of :func:`draw_transformer`.
        x: spectrogram ``(batch, frames, bins, channels)``.
        wave: ``(batch, 1, steps, channels)``.
        config: of the model.

    Returns:
        Both, in their shapes.
    """
    shapes, images = (x.shape, wave.shape), [x, wave]
    tokens = [image.reshape(len(image), -1, image.shape[-1]) for image in images]
    if config.bottom_channels:
        ups = [parts[f"channel_upsampler{branch}"] for branch in BRANCHES]
        tokens = [dense(up, x) for up, x in zip(ups, tokens)]
    width = config.width
    places = [positions_2d(*shapes[0][1:3], width), positions(shapes[1][2], width)]
    for n, branch in enumerate(BRANCHES):
        own, x = parts.get(f"norm_in{branch}"), tokens[n]
        if config.t_norm_in:
            x = frame_norm(x, own["gain"], own["bias"], EPSILON)
        else:
            x = norm(own, x)
        tokens[n] = x + places[n].astype(x.dtype).reshape(1, -1, width)
    options = dict(heads=config.t_heads, together=config.t_group_norm)
    layer = functools.partial(transform_layer, remat=config.remat, **options)
    for n in range(config.t_layers):
        others = reversed(tokens) if _crosses(n, config) else (None, None)
        own = [parts[f"layers{branch}_{n}"] for branch in BRANCHES]
        tokens = [layer(*given) for given in zip(own, tokens, others)]
    if config.bottom_channels:
        downs = [parts[f"channel_downsampler{branch}"] for branch in BRANCHES]
        tokens = [dense(down, x) for down, x in zip(downs, tokens)]
    spectrum, wave = (x.reshape(shape) for x, shape in zip(tokens, shapes))
    return spectrum, wave
