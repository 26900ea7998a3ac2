"""Layers of Hybrid Demucs as pure functions of their parameters, channel-last.

Arrays are ``(batch, rows, places, channels)``: strided convolutions go along places,
residual branches along the frames. A spectrogram has frames as rows and bins as places;
a waveform has one row, and its samples are places and frames at once.

Reference: Défossez 2021, "Hybrid spectrogram and waveform source separation";
facebookresearch/demucs 4.1.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from sepjax.functional import convolution
from sepjax.functional.dense import dense
from sepjax.functional.norms import gelu, group_norm, place_norm
from sepjax.functional.recurrent import init_lstm
from sepjax.functional.remat import recomputed
from sepjax.models.demucs.model import convolve_transposed, rescale
from sepjax.models.htdemucs.config import HEADS, HybridConfig, Layer
from sepjax.models.htdemucs.memory import DECAYS, remember

Image = Float[Array, "batch _ _ _"]
Tokens = Float[Array, "batch _ _"]
Part = Mapping[str, Any]

EPSILON = 1e-5  # of all norms, PyTorch's
CONTEXT = 3  # taps of a decoder's convolution along each axis


def draw_linear(key: PRNGKeyArray, inputs: int, outputs: int) -> dict[str, Array]:
    r"""Draw a dense layer, uniform within :math:`\pm 1 / \sqrt{inputs}`.

    Example:
        >>> draw_linear(jax.random.key(0), 3, 5)["kernel"].shape
        (3, 5)
    """
    # One draw for kernel and bias: each is a program of its own to compile.
    span = dict(minval=-(inputs**-0.5), maxval=inputs**-0.5)
    rows = jax.random.uniform(key, (inputs + 1, outputs), **span)
    return {"kernel": rows[:-1], "bias": rows[-1]}


def draw_norm(width: int) -> dict[str, Array]:
    """Return gain and bias of a norm: ones and zeros."""
    return {"gain": jnp.ones(width), "bias": jnp.zeros(width)}


def draw_conv(
    key: PRNGKeyArray, inputs: int, outputs: int, *taps: int, fan_in: int = 0
) -> dict[str, Array]:
    """Draw a convolution ``(*taps, inputs, outputs)``: PyTorch's draw, rescaled.

    ``fan_in`` is by default that of a convolution that is not transposed.

    Example:
        >>> draw_conv(jax.random.key(0), 4, 8, 3, 3)["kernel"].shape
        (3, 3, 4, 8)
    """
    count = int(np.prod(taps)) * inputs
    part = draw_linear(key, count, outputs)
    scale = (count / (fan_in or count)) ** 0.5
    kernel, bias = rescale(part["kernel"] * scale, part["bias"] * scale)
    return {"kernel": kernel.reshape(*taps, inputs, outputs), "bias": bias}


def draw_residual(
    key: PRNGKeyArray, width: int, layer: Layer, config: HybridConfig
) -> dict[str, Any]:
    """Draw one residual branch of a layer, for :func:`add_residuals`."""
    hidden = int(width / config.dconv_comp)
    keys = iter(jax.random.split(key, 8))
    part: dict[str, Any] = {"conv": draw_conv(next(keys), width, hidden, CONTEXT)}
    part |= {"norm1": draw_norm(hidden), "norm2": draw_norm(2 * width)}
    if layer.lstm:
        part["lstm"] = {
            f"layer_{n}": init_lstm(next(keys), inputs=(1 + n) * hidden, hidden=hidden)
            for n in range(2)
        } | {"linear": draw_linear(next(keys), 2 * hidden, hidden)}
    if layer.attention:
        widths = dict.fromkeys(("content", "query", "key", "proj"), hidden)
        widths["query_decay"] = HEADS * DECAYS
        part["attention"] = {
            name: draw_conv(k, hidden, outputs, 1)
            for k, (name, outputs) in zip(
                jax.random.split(next(keys), 5), widths.items()
            )
        }
        decay = part["attention"]["query_decay"]  # starts near none
        decay |= {
            "kernel": decay["kernel"] * 0.01,
            "bias": jnp.full(widths["query_decay"], -2.0),
        }
    part["rewrite"] = draw_conv(next(keys), hidden, 2 * width, 1)
    return part | {"scale": jnp.full(width, config.dconv_init)}


def convolve(part: Part, x: Image, *, stride: int = 1, edge: int = 0) -> Image:
    """Convolve along places, or along both axes, as the kernel has axes.

    Args:
        part: ``kernel (taps, inputs, outputs)`` along the places, or ``(rows, places,
            inputs, outputs)``, whose output is as large as the input; and ``bias``.
        x: image.
        stride: of places.
        edge: zeros at both ends of the places.

    Example:
        >>> part = {"kernel": jnp.ones((8, 2, 3)), "bias": jnp.zeros(3)}
        >>> convolve(part, jnp.ones((1, 5, 16, 2)), stride=4, edge=2).shape
        (1, 5, 4, 3)
    """
    kernel, edges = part["kernel"].astype(x.dtype), (0, edge)
    if kernel.ndim == 4:
        edges = kernel.shape[0] // 2, kernel.shape[1] // 2
    else:
        kernel = kernel[None]
    y = convolution.convolve(x, kernel, stride=stride, edges=edges)
    return y + part["bias"].astype(x.dtype)[None, None, None]


def convolve_rows(part: Part, x: Image, dilation: int) -> Image:
    """Convolve along the rows to fewer channels; the output is as large as the input.

    One product for the taps of all rows, which are then shifted and added: gradients of
    convolutions to few channels are slow on CPUs.

    Example:
        >>> part = {"kernel": jnp.ones((3, 2, 1)), "bias": jnp.zeros(1)}
        >>> x = jnp.zeros((1, 5, 1, 2)).at[0, 0].set(1.0)
        >>> convolve_rows(part, x, 2)[0, :, 0, 0].tolist()
        [2.0, 0.0, 2.0, 0.0, 0.0]
    """
    taps, channels, _ = part["kernel"].shape
    kernel = jnp.swapaxes(part["kernel"], 0, 1).reshape(channels, -1).astype(x.dtype)
    batch, rows, places, _ = x.shape
    products = (x.reshape(-1, channels) @ kernel).reshape(batch, rows, places, -1)
    edge = (dilation * (taps // 2),) * 2
    y = sum(  # split: the gradient of an index would be a sum of images
        jnp.pad(product, ((0, 0), edge, (0, 0), (0, 0)))[:, start : start + rows]
        for start, product in zip(
            range(0, taps * dilation, dilation), jnp.split(products, taps, -1)
        )
    )
    return y + part["bias"].astype(x.dtype)[None, None, None]


def norm(part: Part | None, x: Array, groups: int = 1) -> Array:
    """Norm groups of channels over all of an item; nothing without parameters."""
    if part is None:
        return x
    tokens = x.reshape(len(x), -1, x.shape[-1])
    options = dict(groups=groups, epsilon=EPSILON)
    return group_norm(tokens, part["gain"], part["bias"], **options).reshape(x.shape)


def add_residuals(parts: Part, x: Image, remat: bool = False) -> Image:
    r"""Add the residual branches ``dconv_0``, ``dconv_1`` ... of a layer in turn.

    .. math::
        y &= \mathrm{GELU}(\mathrm{GN}(W *_{2^d} x)), \quad
        x + \gamma \odot \mathrm{GLU}(\mathrm{GN}(V \, A(L(y))))

    with a norm over the frames and channels of a place, and, where a layer has them,
    the recurrent network L and the local attention A.

    Args:
        parts: of a layer.
        x: ``(batch, frames, places, channels)``.
        remat: gradients keep the inputs of branches alone.
    """
    depth = 0
    while (part := parts.get(f"dconv_{depth}")) is not None:
        branch, trained = (
            functools.partial(_add_residual, dilation=2**depth, trained=trained)
            for trained in (False, True)
        )
        x = recomputed(branch, remat, trained)(part["conv"], part, x)
        depth += 1
    return x


def _add_residual(
    conv: Part, part: Part, x: Image, dilation: int, trained: bool
) -> Image:
    y = convolve_rows(conv, x, dilation)
    y = gelu(place_norm(y, part["norm1"]["gain"], part["norm1"]["bias"], EPSILON))
    if "lstm" in part or "attention" in part:
        y = remember(part, y)
    if trained:
        return _add_gated(part, x, y)
    y = dense(part["rewrite"], y)
    y = place_norm(y, part["norm2"]["gain"], part["norm2"]["bias"], EPSILON)
    return x + part["scale"].astype(x.dtype)[None, None, None] * jax.nn.glu(y)


def _add_gated(part: Part, x: Image, y: Image) -> Image:
    r"""Add :math:`\gamma \odot \mathrm{GLU}(\mathrm{GN}(V y))`.

    Statistics of :math:`z = V y + b` over frames and channels follow from the few
    channels of y, of which :math:`\bar y` is the mean over the frames:

    .. math::
        o &= V \bar y + b - \mathrm{mean}(V \bar y + b), \quad
        z - \mathrm{mean}(z) = V (y - \bar y) + o, \\
        \mathrm{var}(z) &= \mathrm{mean}(o^2) +
            \mathrm{mean}((y - \bar y)^T V^T V (y - \bar y)) / \mathrm{channels},

    so no pass over the many channels of z is for them, nor of their gradient. It is for
    training: separation would be no faster, with larger programs.
    """
    kernel, bias = part["rewrite"]["kernel"][0], part["rewrite"]["bias"]
    few = y.astype(jnp.float32)
    with jax.default_matmul_precision("highest"):
        mean = few.mean(1, keepdims=True)
        few = few - mean
        offset = dense({"kernel": kernel, "bias": bias}, mean)
        offset = offset - offset.mean(-1, keepdims=True)
        square = {"kernel": kernel @ kernel.T / kernel.shape[-1]}
        squares = few * dense(square, few.astype(y.dtype)).astype(jnp.float32)
    variance = squares.mean(1, keepdims=True).sum(-1, keepdims=True)
    variance = variance + jnp.square(offset).mean(-1, keepdims=True)
    scale = 1 / jnp.sqrt(variance + EPSILON)
    # Of a gated product, gamma may as well be in the half that the other one gates.
    gamma = jnp.concatenate([part["scale"], jnp.ones_like(part["scale"])])
    gain, bias = (part["norm2"][name] * gamma for name in ("gain", "bias"))
    offset = offset * scale * gain[None, None, None] + bias[None, None, None]
    wide = {"kernel": kernel * gain[None], "bias": offset}
    return x + _gated(wide, (few * scale).astype(x.dtype))


def _gated(part: Part, x: Image) -> Image:
    """GLU of a dense layer, whose halves are apart so that no gradient is joined."""
    halves = (jnp.split(part[name], 2, -1) for name in ("kernel", "bias"))
    content, gate = (
        dense({"kernel": kernel}, x) + bias.astype(x.dtype)
        for kernel, bias in zip(*halves)
    )
    return content * jax.nn.sigmoid(gate)


def draw_encoder(
    key: PRNGKeyArray, inputs: int, layer: Layer, config: HybridConfig
) -> dict[str, Any]:
    """Draw a layer of the encoder; one of a waveform ends at the merge."""
    first, second, *rest = jax.random.split(key, 2 + config.dconv_depth)
    width = layer.outputs
    part: dict[str, Any] = {"conv": draw_conv(first, inputs, width, layer.kernel)}
    part["rewrite"] = draw_conv(second, width, 2 * width, 1)
    if layer.norm:
        part |= {"norm1": draw_norm(width), "norm2": draw_norm(2 * width)}
    return part | (_residuals(rest, layer, config) if config.dconv_mode & 1 else {})


def draw_decoder(
    key: PRNGKeyArray, outputs: int, layer: Layer, config: HybridConfig, axes: int
) -> dict[str, Any]:
    """Draw a layer of the decoder, whose convolution has context along some axes."""
    first, second, *rest = jax.random.split(key, 2 + config.dconv_depth)
    width, context = layer.outputs, (CONTEXT,) * axes
    part: dict[str, Any] = {"rewrite": draw_conv(first, width, 2 * width, *context)}
    # PyTorch takes the outputs of a transposed convolution for its inputs.
    fan_in = layer.kernel * outputs
    part["conv"] = draw_conv(second, width, outputs, layer.kernel, fan_in=fan_in)
    if layer.norm:
        part |= {"norm1": draw_norm(2 * width), "norm2": draw_norm(outputs)}
    return part | (_residuals(rest, layer, config) if config.dconv_mode & 2 else {})


def _residuals(
    keys: list[PRNGKeyArray], layer: Layer, config: HybridConfig
) -> dict[str, Any]:
    draw = functools.partial(
        draw_residual, width=layer.outputs, layer=layer, config=config
    )
    drawn = jax.vmap(draw)(jnp.stack(keys))
    return {
        f"dconv_{n}": jax.tree.map(lambda x, n=n: x[n], drawn) for n in range(len(keys))
    }


def encode(
    part: Part,
    x: Image,
    *,
    layer: Layer,
    groups: int,
    along: bool,
    joined: Image | None = None,
    remat: bool = False,
) -> Image:
    """Run a layer of the encoder.

    Args:
        part: of :func:`draw_encoder`.
        x: ``(batch, rows, places, inputs)``.
        layer: its sizes.
        groups: of its norms.
        along: frames are places, not rows.
        joined: what is added to the convolution, where branches merge.
        remat: gradients keep the inputs of parts of the layer alone.

    Returns:
        ``(batch, rows, places / stride, outputs)``, rounded up along time.
    """
    whole = "rewrite" in part

    def begin(conv: Part, part: Part, x: Image, joined: Image | None) -> Image:
        if along:
            x = jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % layer.stride), (0, 0)))
        x = convolve(conv, x, stride=layer.stride, edge=layer.edge)
        x = x if joined is None else x + joined
        return gelu(norm(part.get("norm1"), x, groups)) if whole else x

    def trained(rewrite: Part, part: Part, x: Image) -> Image:
        if "norm2" in part:
            return end(rewrite, part, x)
        return _gated({**rewrite, "bias": rewrite["bias"][None, None, None]}, x)

    def end(rewrite: Part, part: Part, x: Image) -> Image:
        return jax.nn.glu(norm(part.get("norm2"), dense(rewrite, x), groups))

    x = recomputed(begin, remat)(part["conv"], part, x, joined)
    if not whole:
        return x
    x = _with_residuals(part, x, along, remat)
    return recomputed(end, remat, trained)(part["rewrite"], part, x)


def _with_residuals(part: Part, x: Image, along: bool, remat: bool) -> Image:
    if along:
        return jnp.swapaxes(add_residuals(part, jnp.swapaxes(x, 1, 2), remat), 1, 2)
    return add_residuals(part, x, remat)


def decode(
    part: Part,
    x: Image,
    skip: Image | None,
    *,
    layer: Layer,
    groups: int,
    along: bool,
    length: int,
    last: bool,
    remat: bool = False,
) -> tuple[Image, Image]:
    """Run a layer of the decoder.

    Args:
        part: of :func:`draw_decoder`; without ``rewrite`` it is a transposed
            convolution alone.
        x: ``(batch, rows, places, outputs of the layer)``.
        skip: what its encoder has made of the input.
        layer: its sizes.
        groups: of its norms.
        along: frames are places, not rows.
        length: places of the result.
        last: it is the outermost layer, without activation.
        remat: as in :func:`encode`.

    Returns:
        ``(batch, rows, length, inputs of the layer)``, and what comes before the
        transposed convolution.
    """

    def begin(part: Part, x: Image) -> Image:
        return jax.nn.glu(norm(part.get("norm1"), x, groups))

    def end(conv: Part, part: Part, x: Image) -> Image:
        batch, rows, places, width = x.shape
        y = x.reshape(batch * rows, places, width)
        y = convolve_transposed(conv, y, layer.stride)
        y = norm(part.get("norm2"), y.reshape(batch, rows, *y.shape[1:]), groups)
        y = y[:, :, layer.edge : layer.edge + length]
        return y if last else gelu(y)

    if "rewrite" in part:
        rewrite = part["rewrite"]
        if along:
            rewrite = {**rewrite, "kernel": rewrite["kernel"][None]}
        # The result that costs most multiplications is kept, not computed again.
        x = convolve(rewrite, x if skip is None else x + skip)
        x = recomputed(begin, remat)(part, x)
        x = _with_residuals(part, x, along, remat)
    return recomputed(end, remat)(part["conv"], part, x), x
