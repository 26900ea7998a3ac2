"""Stacked filterbanks: an encoder of several strided layers, and its mirror image.

The first layer is a filterbank over the wave. In a later one, every pair of an input
and an output channel has a filter of its own (``deep_mode="full"``), or every channel
one filter ("depthwise"). Layers are rectified, the last one is not.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.framing import (
    analyze,
    fit,
    frame,
    frames_for,
    overlap_add,
    pad_to_frames,
    synthesize,
)
from sepjax.models.tasnet.banks import WithBank
from sepjax.models.tasnet.config import TasNetConfig, layer_strides
from sepjax.models.tasnet.registry import BANKS, DECODERS, ENCODERS


def analyze_channels(
    latent: Float[Array, "*batch frames channels"],
    kernel: Float[Array, "length channels *filters"],
    stride: int,
) -> Float[Array, "*batch hops features"]:
    """Filter along the frames: densely, or each channel alone (``kernel`` of 2 axes).

    Example:
        >>> latent, kernel = jnp.ones((1, 10, 3)), jnp.ones((4, 3, 5))
        >>> analyze_channels(latent, kernel, stride=2).shape
        (1, 5, 5)
    """
    length = kernel.shape[0]
    rows = jnp.swapaxes(latent, -1, -2)
    frames = frame(pad_to_frames(rows, length, stride), length, stride)
    form = "...ckl,lc->...kc" if kernel.ndim == 2 else "...ckl,lcn->...kn"
    return jnp.einsum(form, frames, kernel.astype(latent.dtype))


def synthesize_channels(
    latent: Float[Array, "*batch hops features"],
    kernel: Float[Array, "features *channels length"],
    stride: int,
    *,
    frames: int,
) -> Float[Array, "*batch frames channels"]:
    """``synthesize_channels(·, kernel.T)`` is the adjoint of :func:`analyze_channels`.

    Example:
        >>> latent, kernel = jnp.ones((1, 5, 6)), jnp.ones((6, 3, 4))
        >>> synthesize_channels(latent, kernel, stride=2, frames=10).shape
        (1, 10, 3)
    """
    length = kernel.shape[-1]
    form = "...kn,nl->...nkl" if kernel.ndim == 2 else "...kn,ncl->...ckl"
    rows = jnp.einsum(form, latent, kernel.astype(latent.dtype))
    rows = overlap_add(rows, stride)
    left = max(length - stride, 0) // 2
    return jnp.swapaxes(fit(rows[..., left:], frames), -1, -2)


class FreeLayer(nn.Module):
    """Free taps between channels, Xavier-normal."""

    channels: int
    length: int

    @nn.compact
    def __call__(self) -> Float[Array, "length channels channels"]:
        """The taps themselves."""
        shape = (self.length, self.channels, self.channels)
        xavier = nn.initializers.normal((self.length * self.channels) ** -0.5)
        return self.param("kernel", xavier, shape)


class FilterLayer(nn.Module):
    """A bank's filters between all pairs of channels, or one for each channel."""

    bank: nn.Module
    channels: int
    mode: str

    def __call__(self) -> Float[Array, "length channels *channels"]:
        """Taps; an output sums over all channels, hence they shrink by the root."""
        taps = self.bank()
        if self.mode == "depthwise":
            return taps
        square = taps.reshape(-1, self.channels, self.channels)
        return jnp.swapaxes(square, 1, 2) / self.channels**0.5


class DeepEncoder(WithBank):
    """A filterbank, then filterbanks over its channels (thesis A.3)."""

    layers: tuple[nn.Module, ...]
    strides: tuple[int, ...]
    dtype: str = "float32"

    def __call__(
        self, wave: Float[Array, "*batch time"]
    ) -> Float[Array, "*batch frames latent"]:
        """Encode; the last layer is signed."""
        latent = analyze(wave.astype(self.dtype), self.bank(), self.strides[0])
        for layer, stride in zip(self.layers, self.strides[1:], strict=True):
            latent = analyze_channels(nn.relu(latent), layer(), stride)
        return latent


class DeepDecoder(WithBank):
    """Free transposed convolutions in the reverse order, rectified between layers."""

    layers: tuple[nn.Module, ...]
    strides: tuple[int, ...]

    def __call__(
        self, latent: Float[Array, "*batch frames latent"], time: int
    ) -> Float[Array, "*batch time"]:
        """Decode to ``time`` samples."""
        sizes = [time]
        for stride in self.strides[:-1]:
            sizes.append(frames_for(sizes[-1], stride))
        outer = list(zip(self.layers, self.strides[1:], sizes[1:], strict=True))
        for layer, stride, frames in reversed(outer):
            latent = nn.relu(
                synthesize_channels(latent, layer().T, stride, frames=frames)
            )
        return synthesize(latent, self.bank().T, self.strides[0], time=time)


@ENCODERS.register("deep")
def deep_encoder(config: TasNetConfig, sample_rate: int) -> DeepEncoder:
    """``filters`` layers of kernels of L taps."""
    first, *later = config.deep_types or (config.fb_type,) * config.filters
    mode, latent = config.deep_mode, config.N
    count = latent if mode == "depthwise" else latent**2
    layers = tuple(
        FreeLayer(latent, config.L)
        if kind == "conv" and mode == "full"
        else FilterLayer(
            BANKS.build(kind, config, count, config.L, sample_rate), latent, mode
        )
        for kind in later
    )
    bank = BANKS.build(first, config, latent, config.L, sample_rate)
    return DeepEncoder(bank, layers, layer_strides(config), config.compute_dtype)


@DECODERS.register("deep_conv")
def deep_decoder(
    config: TasNetConfig, encoder: DeepEncoder, sample_rate: int
) -> DeepDecoder:
    """Free transposed convolutions."""
    size = (config.N, config.L)

    def bank() -> nn.Module:
        return BANKS.build("conv", config, *size, sample_rate)

    if config.deep_mode == "depthwise":
        layers = [FilterLayer(bank(), config.N, "depthwise") for _ in encoder.layers]
    else:
        layers = [FreeLayer(*size) for _ in encoder.layers]
    return DeepDecoder(bank(), tuple(layers), encoder.strides)
