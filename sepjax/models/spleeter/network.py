"""The U-Net of Spleeter for one source, as a pure function of its parameters.

Images are channel-last: ``(batch, frames, bins, channels)``.

Reference: Hennequin, Khlif, Voituret and Moussallam 2020, "Spleeter: a fast and
efficient music source separation tool with pre-trained models"; Jansson et al. 2017,
"Singing voice separation with deep U-Net convolutional networks".
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers
from jaxtyping import Array, Float, PRNGKeyArray

from sepjax.functional.convolution import LAYOUT
from sepjax.functional.fast_convolution import convolve, transform_kernel
from sepjax.functional.training import batch_norm, drop, item_keys

Image = Float[Array, "batch _ _ _"]
Parts = Mapping[str, Mapping[str, Array]]

# Of Keras, whose defaults the published statistics were gathered with.
NORM = {"epsilon": 1e-3, "momentum": 0.01}
ACTIVATIONS: Mapping[str, tuple[Callable[[Array], Array], ...]] = {
    "leaky_relu": (lambda x: jax.nn.leaky_relu(x, 0.2), jax.nn.relu),
    "elu": (jax.nn.elu, jax.nn.elu),
}
"""Of encoder and decoder."""
DROPOUT_LAYERS = 3


def u_net_parts(
    *, channels: int, filters: Sequence[int]
) -> dict[str, Callable[[PRNGKeyArray], dict[str, Array]]]:
    """Return, for each part of the parameters, the function that draws the part.

    Args:
        channels: of the audio.
        filters: of the encoder's layers; the decoder has them backwards, and one last.

    Example:
        >>> parts = u_net_parts(channels=2, filters=(16, 32))
        >>> drawn = parts["decoder_1"](jax.random.key(0))
        >>> drawn["kernel"].shape, sorted(parts)[:3]
        ((32, 5, 5, 16), ['decoder_1', 'decoder_2', 'decoder_norm_1'])
    """

    def convolution(*shape: int, inputs: int = -2) -> Callable[[PRNGKeyArray], dict]:
        draw = initializers.he_uniform(inputs)
        return lambda key: {"kernel": draw(key, shape), "bias": jnp.zeros(shape[-1])}

    def norm(width: int) -> Callable[[PRNGKeyArray], dict]:
        return lambda key: {"gain": jnp.ones(width), "bias": jnp.zeros(width)}

    parts, depth = {}, len(filters)
    for n, (before, width) in enumerate(zip((channels, *filters), filters), 1):
        parts[f"encoder_{n}"] = convolution(5, 5, before, width)
        if n < depth:
            parts[f"encoder_norm_{n}"] = norm(width)
    back = (*reversed(filters[:-1]), 1)
    for n, width in enumerate(back, 1):
        before = filters[-1] if n == 1 else 2 * back[n - 2]
        parts[f"decoder_{n}"] = convolution(before, 5, 5, width, inputs=0)
        parts[f"decoder_norm_{n}"] = norm(width)
    return parts | {"head": convolution(4, 4, 1, channels)}


def u_net(
    params: Parts,
    statistics: Parts,
    image: Image,
    *,
    first: Image | None = None,
    activation: str = "leaky_relu",
    train: bool = False,
    dropout: float = 0.0,
    key: PRNGKeyArray | None = None,
    axis_name: str | None = None,
    dtype: Any = jnp.float32,
) -> tuple[Image, dict[str, dict[str, Array]]]:
    r"""Return the logits of a mask, from magnitudes.

    .. math::
        c_n &= W_n * h_{n-1} + b_n, \quad h_0 = M, \quad h_n = a_e(\mathrm{BN}(c_n)) \\
        u_n &= \mathrm{BN}(a_d(V_n *^T g_n + d_n)), \quad g_1 = c_N, \quad
            g_{n+1} = [c_{N-n}; u_n]

    with strides of two, and a dilated convolution of the last :math:`u` as the logits.
    What skips, and what passes the bottom, is the convolution as it is, without norm
    and activation.

    Args:
        params: of :func:`u_net_parts`, drawn, or of :func:`transform_kernels`.
        statistics: mean and variance of every norm, as
            :func:`~sepjax.functional.training.initial_statistics`.
        image: magnitudes ``(batch, frames, bins, channels)``; frames and bins are
            multiples of 2 to the number of layers.
        first: the convolution of the first layer, where it is known.
        activation: a key of :data:`ACTIVATIONS`.
        train: norms use the statistics of this batch, and there is dropout.
        dropout: share of values that the first decoder layers leave out.
        key: randomness of the dropout.
        axis_name: the axis of devices along which the batch is split, if it is.
        dtype: of convolutions; norms are float32.

    Returns:
        The logits, in the shape of the image, and the statistics, new ones if it
        trains.

    Example:
        >>> from sepjax.functional.training import initial_statistics
        >>> parts = u_net_parts(channels=2, filters=(4, 8))
        >>> @jax.jit
        ... def gains(key, image):
        ...     params = {name: draw(key) for name, draw in parts.items()}
        ...     return u_net(params, initial_statistics(params), image)[0]
        >>> gains(jax.random.key(0), jnp.ones((1, 8, 12, 2))).shape
        (1, 8, 12, 2)
    """
    moments = dict(statistics)
    encode, decode = ACTIVATIONS[activation]
    keys = item_keys(key, len(image), axis_name) if train and dropout else None

    def norm(name: str, x: Image) -> Image:
        # Four results of each filter lie side by side before they are spread.
        width = len(params[name]["gain"])
        rows = x.reshape(len(x), -1, width).astype(image.dtype)
        options = dict(train=train, axis_name=axis_name, **NORM)
        known = params[name], statistics[name]
        rows, moments[name] = batch_norm(*known, rows, **options)
        return rows.reshape(x.shape)

    if first is None:
        first = _halved(image.astype(dtype), params["encoder_1"])
    x, skips = first, [first]
    while f"encoder_{len(skips) + 1}" in params:
        x = encode(norm(f"encoder_norm_{len(skips)}", x)).astype(dtype)
        x = _halved(x, params[f"encoder_{len(skips) + 1}"])
        skips.append(x)
    x = skips.pop()
    for n in range(1, len(skips) + 2):
        x = decode(_doubled(x, params[f"decoder_{n}"]))
        x = norm(f"decoder_norm_{n}", x)
        if keys is not None and n <= DROPOUT_LAYERS:
            x = drop(x, dropout, keys, n)
        x = spread(x.astype(dtype))
        if skips:
            x = jnp.concatenate([skips.pop(), x], axis=-1)
    return dilate(x, *_of_type(x, params["head"])).astype(image.dtype), moments


def _of_type(x: Image, part: Mapping[str, Array]) -> Iterator[Array]:
    """The kernel and bias of a convolution, in the type of the image."""
    return (values.astype(x.dtype) for values in (part["kernel"], part["bias"]))


def _halved(x: Image, part: Mapping[str, Array]) -> Image:
    if "transformed" not in part:
        return halve(x, *_of_type(x, part))
    return convolve(gathered(x), part["transformed"]) + _per_filter(part["bias"])


def _doubled(x: Image, part: Mapping[str, Array]) -> Image:
    if "transformed" not in part:
        return double(x, *_of_type(x, part))
    return convolve(x, part["transformed"]) + _per_filter(jnp.tile(part["bias"], 4))


def halve(x: Image, kernel: Array, bias: Array) -> Image:
    """Convolve with strides of two; TensorFlow pads one zero before and two behind.

    Example:
        >>> halve(jnp.ones((1, 8, 12, 2)), jnp.ones((5, 5, 2, 3)), jnp.zeros(3)).shape
        (1, 4, 6, 3)
    """
    strides, edges = (2, 2), ((1, 2), (1, 2))
    if kernel.shape[2] < 4:
        # Sums of few values are slow. Those of two rows and columns become channels of
        # one place; the tap that the kernel then lacks in front is zero.
        strides, edges = (1, 1), ((1, 1), (1, 1))
        x, kernel = gathered(x), _gathered_kernel(kernel)
    y = jax.lax.conv_general_dilated(
        x, kernel, strides, edges, dimension_numbers=LAYOUT
    )
    return y + _per_filter(bias)


def _gathered_kernel(kernel: Any, pad: Callable = jnp.pad) -> Any:
    """(5, 5, channels, width) as (3, 3, 4 channels, width), for what is gathered."""
    kernel = pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
    return gathered(kernel.transpose(3, 0, 1, 2)).transpose(1, 2, 3, 0)


def gathered(x: Image) -> Image:
    """Put four neighbors side by side as channels of one place.

    Example:
        >>> gathered(jnp.arange(8.0).reshape(1, 2, 4, 1)).tolist()
        [[[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]]]
    """
    batch, rows, columns, channels = x.shape
    x = x.reshape(batch, rows // 2, 2, columns // 2, 2, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows // 2, columns // 2, 4 * channels)


def double(
    x: Image, kernel: Float[Array, "channels 5 5 width"], bias: Float[Array, " width"]
) -> Image:
    """Convolve transposed with strides of two, ``y[2 i + k - 1] += x[i] kernel[:, k]``.

    A convolution of the input with zeros between would multiply four times as much as
    is needed. Instead all 25 products of a place are computed, then added to those of
    its neighbors; or, where there are many places, each of the four results of a place
    is a convolution with the taps that it sees.

    Returns:
        ``(batch, rows, columns, 4 * width)``: the results at even and odd rows, and of
        each those at even and odd columns, as :func:`spread` takes them.

    Example:
        >>> x = jnp.zeros((1, 4, 6, 2)).at[0, 1, 2, 0].set(1.0)
        >>> y = spread(double(x, jnp.arange(50.0).reshape(2, 5, 5, 1), jnp.zeros(1)))
        >>> y.shape, y[0, 1:6, 4, 0].tolist()
        ((1, 8, 12, 1), [1.0, 6.0, 11.0, 16.0, 21.0])
    """
    shape = x.shape[:3]
    # Many products would be written, but convolutions to one filter are slow.
    few = 25 * math.prod(shape) < 36 * len(kernel) or kernel.shape[3] == 1
    y = (_products if few else _convolutions)(x, kernel)
    return y.reshape(*shape, -1) + _per_filter(jnp.tile(bias, 4))


def _products(x: Image, kernel: Array) -> Array:
    y = jnp.tensordot(x, kernel, 1)
    edges = [(0, 0), (1, 1), (1, 1), (0, 0), (0, 0), (0, 0)]
    y = jnp.pad(y, edges)
    y = jnp.stack(
        [
            y[:, 1:-1, :, 1] + y[:, :-2, :, 3],
            y[:, 2:, :, 0] + y[:, 1:-1, :, 2] + y[:, :-2, :, 4],
        ],
        axis=3,
    )
    even = y[:, :, 1:-1, :, 1] + y[:, :, :-2, :, 3]
    odd = y[:, :, 2:, :, 0] + y[:, :, 1:-1, :, 2] + y[:, :, :-2, :, 4]
    return jnp.stack([even, odd], axis=4)


def _convolutions(x: Image, kernel: Array) -> Array:
    # Even results see taps 3 and 1, of the inputs before and at a place, odd ones taps
    # 4, 2 and 0, of that behind it as well.
    taps = {(1, 0): slice(3, None, -2), (1, 1): slice(4, None, -2)}
    results = [
        jax.lax.conv_general_dilated(
            x,
            kernel[:, rows][:, :, columns].transpose(1, 2, 0, 3),
            (1, 1),
            (above, beside),
            dimension_numbers=LAYOUT,
        )
        for above, rows in taps.items()
        for beside, columns in taps.items()
    ]
    return jnp.concatenate(results, axis=-1)


def _spread_kernel(kernel: np.ndarray) -> np.ndarray:
    """(channels, 5, 5, width) as (3, 3, channels, 4 width): taps that results see."""
    # Even results see taps 3 and 1, odd ones 4, 2 and 0; of no tap there is a zero.
    taps = np.array([[3, 4], [1, 2], [5, 0]])
    kernel = np.pad(kernel, ((0, 0), (0, 1), (0, 1), (0, 0)))
    kernel = kernel[:, taps[:, None, :, None], taps[None, :, None, :]]
    return kernel.transpose(1, 2, 0, 3, 4, 5).reshape(3, 3, len(kernel), -1)


def transform_kernels(
    params: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, dict[str, np.ndarray]]:
    """Return parameters of one network with which a CPU computes in less time.

    All kernels but those of the first two and the last layer of the encoder, and of the
    first and the last two of the decoder, are those of
    :func:`~sepjax.functional.fast_convolution.convolve`: others have few channels, or
    small images.

    Example:
        >>> drawn = u_net_parts(channels=2, filters=(4, 4, 4, 4))
        >>> params = {n: draw(jax.random.key(0)) for n, draw in drawn.items()}
        >>> found = transform_kernels(jax.device_get(params))
        >>> found["encoder_3"]["transformed"].shape, [*found["encoder_4"]]
        ((6, 6, 16, 4), ['bias', 'kernel'])
    """
    found, depth = {}, sum("encoder_norm" in name for name in params) + 1
    known = {
        f"encoder_{n}": functools.partial(_gathered_kernel, pad=np.pad)
        for n in range(3, depth)
    }
    known |= {f"decoder_{n}": _spread_kernel for n in range(2, depth - 1)}
    for name, part in params.items():
        found[name] = dict(part)
        if name in known:
            kernel = known[name](found[name].pop("kernel"))
            found[name]["transformed"] = transform_kernel(kernel)
    return found


def spread(x: Image) -> Image:
    """Put the four results of every place side by side: twice the rows and columns.

    Example:
        >>> spread(jnp.arange(8.0).reshape(1, 1, 2, 4))[0, :, :, 0].tolist()
        [[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]
    """
    batch, rows, columns, width = x.shape
    x = x.reshape(batch, rows, columns, 2, 2, width // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, 2 * rows, 2 * columns, width // 4)


def dilate(x: Image, kernel: Array, bias: Array) -> Image:
    """Convolve one channel with 4 by 4 taps, two apart, as a sum of shifted products.

    Example:
        >>> dilate(jnp.ones((1, 8, 12, 1)), jnp.ones((4, 4, 1, 2)), jnp.zeros(2)).shape
        (1, 8, 12, 2)
    """
    rows, columns = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    y = jnp.broadcast_to(_per_filter(bias), (len(x), rows, columns, len(bias)))
    for i, j in np.ndindex(4, 4):
        y += (
            x[:, 2 * i : 2 * i + rows, 2 * j : 2 * j + columns]
            * kernel[i, j][None, None]
        )
    return y


def _per_filter(values: Array) -> Array:
    return values[None, None, None]
