"""Demucs v1: a network on the waveform, without masks.

Reference: Défossez et al. 2019, "Music source separation in the waveform domain";
facebookresearch/demucs, branch v1.
"""

import functools
import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from sepjax.functional.framing import center
from sepjax.functional.recurrent import init_lstm, lstm
from sepjax.models.contract import Separation, SeparationModel
from sepjax.models.demucs.config import DemucsConfig
from sepjax.models.registry import MODELS

KERNEL, STRIDE, CONTEXT = 8, 4, 3
REFERENCE = 0.1
"""Standard deviation towards which initial weights are rescaled."""


def valid_length(time: int, depth: int = 6) -> int:
    """Return how many samples the network needs to estimate at least ``time``.

    Example:
        >>> valid_length(441_000)
        451924
    """
    for _ in range(depth):
        time = max(math.ceil((time - KERNEL) / STRIDE) + 1, 1) + CONTEXT - 1
    for _ in range(depth):
        time = (time - 1) * STRIDE + KERNEL
    return time


def layer_widths(channels: int, depth: int, growth: float) -> tuple[int, ...]:
    """Channels of every layer, each the floor of ``growth`` times the one before.

    Example:
        >>> layer_widths(6, 3, 1.5)
        (6, 9, 13)
    """
    widths = [channels]
    for _ in range(depth - 1):
        widths.append(int(growth * widths[-1]))
    return tuple(widths)


def rescale(
    kernel: Float[Array, "..."], bias: Float[Array, " outputs"]
) -> tuple[Float[Array, "..."], Float[Array, " outputs"]]:
    r"""Divide both by :math:`\sqrt{\mathrm{std}(w) / 0.1}`.

    Example:
        >>> kernel, bias = rescale(jnp.array([-0.4, 0.0, 0.4]), jnp.ones(1))
        >>> kernel.tolist(), bias.tolist()
        ([-0.20000000298023224, 0.0, 0.20000000298023224], [0.5])
    """
    scale = jnp.sqrt(jnp.std(kernel, ddof=1) / REFERENCE)
    return kernel / scale, bias / scale


def init_conv(
    key: PRNGKeyArray, width: int, inputs: int, outputs: int, fan_in: int
) -> dict[str, Array]:
    """Kernel (width, inputs, outputs) and bias: PyTorch's uniform draw, rescaled.

    Example:
        >>> init_conv(jax.random.key(0), 8, 2, 48, fan_in=16)["kernel"].shape
        (8, 2, 48)
    """
    kernel, bias = rescale(**_draw(key, (width, inputs, outputs), fan_in))
    return {"kernel": kernel, "bias": bias}


def _draw(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> dict[str, Array]:
    first, second = jax.random.split(key)
    span = dict(minval=-(fan_in**-0.5), maxval=fan_in**-0.5)
    kernel = jax.random.uniform(first, shape, **span)
    return {"kernel": kernel, "bias": jax.random.uniform(second, shape[-1:], **span)}


def convolve(
    params: Mapping[str, Array], x: Float[Array, "batch time inputs"], stride: int = 1
) -> Float[Array, "batch frames outputs"]:
    """Valid convolution (correlation) of channels, as a matmul over frames.

    The stride divides the kernel's width. Parameters are cast to the type of ``x``. On
    a CPU the network's gradient takes about half as long as with XLA's convolutions,
    its estimates 15 % longer.

    Example:
        >>> params = {"kernel": jnp.ones((8, 2, 3)), "bias": jnp.zeros(3)}
        >>> convolve(params, jnp.ones((1, 20, 2)), stride=4).shape
        (1, 4, 3)
    """
    kernel, bias = (params[name].astype(x.dtype) for name in ("kernel", "bias"))
    width, inputs, outputs = kernel.shape
    batch, time, _ = x.shape
    hops = width // stride
    frames = (time - width) // stride + 1
    blocks = x[:, : (frames + hops - 1) * stride]
    blocks = blocks.reshape(batch, frames + hops - 1, stride * inputs)
    taps = kernel.reshape(hops, stride * inputs, outputs)
    total = sum(blocks[:, hop : hop + frames] @ taps[hop] for hop in range(hops))
    return total + bias[None, None]


def convolve_transposed(
    params: Mapping[str, Array], x: Float[Array, "batch frames inputs"], stride: int
) -> Float[Array, "batch time outputs"]:
    """Overlap-add of every frame's kernel: ``(frames - 1) * stride + width`` samples.

    The stride divides the kernel's width. Parameters are cast to the type of ``x``.

    Example:
        >>> params = {"kernel": jnp.ones((8, 2, 3)), "bias": jnp.zeros(3)}
        >>> convolve_transposed(params, jnp.ones((1, 4, 2)), stride=4).shape
        (1, 20, 3)
    """
    kernel, bias = (params[name].astype(x.dtype) for name in ("kernel", "bias"))
    width, _, outputs = kernel.shape
    batch, frames, _ = x.shape
    hops = width // stride
    # One matmul, of rows: products over more axes have gradients that copy much.
    kernel = jnp.swapaxes(kernel, 0, 1).reshape(x.shape[-1], -1)
    products = x.reshape(-1, x.shape[-1]) @ kernel
    # Of each hop blocks of ``stride`` samples.
    blocks = jnp.split(products.reshape(batch, frames, -1), hops, -1)
    total = sum(
        jnp.pad(block, ((0, 0), (hop, hops - 1 - hop), (0, 0)))
        for hop, block in enumerate(blocks)
    )
    wave = total.reshape(batch, (frames + hops - 1) * stride, outputs)
    return wave + bias[None, None]


class EncoderLayer(nn.Module):
    """Strided convolution, ReLU, 1x1 to twice the channels, gated linear unit."""

    inputs: int
    outputs: int

    def setup(self) -> None:
        """Declare the parameters."""
        fan_in, width = KERNEL * self.inputs, self.outputs
        self.conv = self.param("conv", init_conv, KERNEL, self.inputs, width, fan_in)
        self.rewrite = self.param("rewrite", init_conv, 1, width, 2 * width, width)

    def __call__(
        self, x: Float[Array, "batch time inputs"]
    ) -> Float[Array, "batch frames outputs"]:
        """Encode."""
        return nn.glu(convolve(self.rewrite, nn.relu(convolve(self.conv, x, STRIDE))))


class DecoderLayer(nn.Module):
    """Convolution with context to twice the channels, GLU, transposed convolution."""

    inputs: int
    outputs: int

    def setup(self) -> None:
        """Declare the parameters."""
        width, fan_in = self.inputs, CONTEXT * self.inputs
        self.rewrite = self.param(
            "rewrite", init_conv, CONTEXT, width, 2 * width, fan_in
        )
        # PyTorch takes the outputs of a transposed convolution for its inputs.
        fan_in = KERNEL * self.outputs
        self.conv = self.param("conv", init_conv, KERNEL, width, self.outputs, fan_in)

    def __call__(
        self, x: Float[Array, "batch frames inputs"]
    ) -> Float[Array, "batch time outputs"]:
        """Decode; what comes is not rectified yet."""
        return convolve_transposed(self.conv, nn.glu(convolve(self.rewrite, x)), STRIDE)


@MODELS.register("demucs")
class Demucs(SeparationModel):
    """Demucs v1.

    Contract: ``(batch, time) -> Separation`` with ``estimates (batch, sources, time)``
    and neither masks nor latent; with ``audio_channels=2`` it takes ``(batch, 2,
    time)`` and estimates ``(batch, sources, 2, time)``. Any time will do.
    """

    config: DemucsConfig
    sources: tuple[str, ...]
    sample_rate: int

    @property
    def audio_channels(self) -> int:
        """Audio channels of the model's input."""
        return self.config.audio_channels

    def setup(self) -> None:
        """Declare the layers, the outermost first."""
        config = self.config
        widths = layer_widths(config.channels, config.depth, config.growth)
        before = (self.audio_channels, *widths[:-1])
        after = (len(self.sources) * self.audio_channels, *widths[:-1])
        self.encoder = [EncoderLayer(*pair) for pair in zip(before, widths)]
        self.decoder = [DecoderLayer(*pair) for pair in zip(widths, after)]
        inner = widths[-1]
        recurrent = []
        for layer in range(config.lstm_layers):
            inputs = 2 * inner if layer else inner
            draw = functools.partial(init_lstm, inputs=inputs, hidden=inner)
            recurrent.append(self.param(f"lstm_{layer}", draw))
        self.lstm = recurrent
        self.linear = self.param("linear", _draw, (2 * inner, inner), 2 * inner)

    def __call__(self, mixture: Float[Array, "batch *channels time"]) -> Separation:
        """Separate a batch of mixtures, zero-padded at both ends to a valid length."""
        time = mixture.shape[-1]
        missing = valid_length(time, self.config.depth) - time
        ends = (missing // 2, missing - missing // 2)
        pads = [(0, 0)] * (mixture.ndim - 1)
        estimates = self.network(jnp.pad(mixture, [*pads, ends]))
        return Separation(center(estimates, time, axis=-1))

    def network(
        self, mixture: Float[Array, "batch *channels time"]
    ) -> Float[Array, "batch sources *channels shorter"]:
        """Run the network alone: its estimates are shorter than its input."""
        x = jnp.swapaxes(mixture.reshape(len(mixture), self.audio_channels, -1), 1, 2)
        x, seen = x.astype(self.config.compute_dtype), []
        for layer in self.encoder:
            x = layer(x)
            seen.append(x)
        for layer in self.lstm:
            x = lstm(layer, x)
        linear = {name: leaf.astype(x.dtype) for name, leaf in self.linear.items()}
        x = x @ linear["kernel"] + linear["bias"][None, None]
        for index in reversed(range(self.config.depth)):
            x = self.decoder[index](x + center(seen[index], x.shape[1], axis=1))
            x = nn.relu(x) if index else x
        estimates = jnp.swapaxes(x, 1, 2).astype(mixture.dtype)
        shape = (len(self.sources), *mixture.shape[1:-1], estimates.shape[-1])
        return estimates.reshape(len(mixture), *shape)

    def kernels(self) -> dict[str, Float[Array, "length filters"]]:
        """The taps of the first layer, one channel after the other, for plots."""
        taps = jnp.swapaxes(self.encoder[0].conv["kernel"], 0, 1)
        return {"encoder/filters": taps.reshape(-1, self.config.channels)}
