"""Encoders: waveforms to latent frames.

Contract: ``(batch, time) -> (batch, frames, latent)``, frames = ceil(time / stride).
An encoder owns its banks; a decoder that inverts one of them is given the same bank.
Those of banks alone also encode ``part`` of a stream: the place of a frame in the wave,
and the number of frames from there on.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.framing import analyze
from sepjax.models import contract
from sepjax.models.tasnet.banks import InverseBank, WithBank
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.registry import BANKS, BRANCHES, ENCODERS


def gated(latent: Float[Array, "*shape"]) -> Float[Array, "*half"]:
    """The rectified first half of the channels, times the sigmoid of the second."""
    signal, gate = jnp.split(latent, 2, axis=-1)
    return nn.relu(signal) * nn.sigmoid(gate)


ACTIVATIONS = {"none": lambda latent: latent, "relu": nn.relu, "gated": gated}


Part = tuple[int, int] | None


class BankEncoder(WithBank):
    """One filterbank.

    Stereo waves ``(batch, 2, time)`` are summed through one kernel per channel, which
    lie one above the other in the bank's taps.
    """

    stride: int
    activation: str = "none"
    channels: int = 1
    padding: str = "center"
    dtype: str = "float32"

    def __call__(
        self, wave: Float[Array, "*axes time"], part: Part = None
    ) -> Float[Array, "*batch frames latent"]:
        """Correlate with the kernel at every stride."""
        wave = wave.astype(self.dtype)
        options = dict(stride=self.stride, padding=self.padding, part=part)
        if self.channels == 1:
            latent = analyze(wave, self.bank(), **options)
        else:
            kernels = jnp.split(self.bank(), self.channels)
            waves = jnp.moveaxis(wave, -2, 0)
            latent = sum(analyze(*pair, **options) for pair in zip(waves, kernels))
        return ACTIVATIONS[self.activation](latent)


class HybridEncoder(nn.Module):
    """Free convolutions beside filterbanks, then a two-layer bottleneck (thesis 5.3.3).

    Convolutions are rectified, filterbanks are not by default. The branches are
    concatenated and pass through 1x1, ReLU, 1x1 to the latent channels. ``interleave``
    orders the channels of the convolutions by filter, then by branch. ``kind`` names
    the branches that are no convolutions.
    """

    convolutions: tuple[nn.Module, ...]
    filterbanks: tuple[nn.Module, ...]
    stride: int
    latent: int
    activation: str = "none"
    post_width: int = 0
    interleave: bool = False
    dtype: str = "float32"
    kind: str = "filters"

    @nn.compact
    def __call__(
        self, wave: Float[Array, "*batch time"], part: Part = None
    ) -> Float[Array, "*batch frames latent"]:
        """Encode; latents are signed."""
        rounded = wave.astype(self.dtype)
        branches = [
            nn.relu(analyze(rounded, bank(), self.stride, part=part))
            for bank in self.convolutions
        ]
        parts = branches.copy()
        if self.interleave:
            together = jnp.stack(branches, axis=-1)
            branches = [together.reshape(*together.shape[:-2], -1)]
        for index, branch in enumerate(self.filterbanks):
            feature = branch(wave, part) if part else branch(wave)
            feature = ACTIVATIONS[self.activation](feature)
            if self.post_width:
                post = dict(dtype=self.dtype, name=f"post_{index}")
                feature = nn.Dense(self.post_width, **post)(feature)
            branches.append(feature)
            parts.append(feature)
        features = jnp.concatenate(branches, axis=-1)
        xavier = nn.initializers.xavier_normal()
        dense = dict(use_bias=False, kernel_init=xavier, dtype=self.dtype)
        first = nn.Dense(self.latent, name="bottleneck_1", **dense)
        hidden = first(features)
        if self.is_mutable_collection(contract.BRANCHES) and not self.is_initializing():
            self._sow_branches(parts, first.variables["params"]["kernel"])
        return nn.Dense(self.latent, name="bottleneck_2", **dense)(nn.relu(hidden))

    def _sow_branches(self, parts: list[Array], kernel: Array) -> None:
        count, start = len(self.convolutions), 0
        for index, part in enumerate(parts):
            width, free = part.shape[-1], index < count
            rows = slice(start, start + width)
            if free and self.interleave:
                rows = slice(index, count * width, count)
            start += width
            name = f"conv_{index}" if free else f"{self.kind}_{index - count}"
            self.sow(contract.BRANCHES, name, contract.Branch(part, kernel[rows]))

    def kernels(self) -> dict[str, Float[Array, "length latent"]]:
        """Every bank's taps by name, for plots."""
        named = {f"conv_{i}": bank() for i, bank in enumerate(self.convolutions)}
        for index, branch in enumerate(self.filterbanks):
            named |= {f"filters_{index}": taps for taps in branch.kernels().values()}
        return named


@ENCODERS.register("simple")
def simple_encoder(config: TasNetConfig, sample_rate: int) -> BankEncoder:
    """One free convolution, of twice the filters where half of them are gates."""
    length = config.L * config.audio_channels
    filters = config.N * (2 if config.encoder_act == "gated" else 1)
    bank = BANKS.build("conv", config, filters, length, sample_rate)
    options = dict(padding=config.padding, dtype=config.compute_dtype)
    channels = config.audio_channels
    return BankEncoder(bank, config.W, config.encoder_act, channels, **options)


@ENCODERS.register("filterbanks")
def filterbank_encoder(config: TasNetConfig, sample_rate: int) -> BankEncoder:
    """One parametrised filterbank."""
    bank = BANKS.build(config.fb_type, config, config.N, config.L, sample_rate)
    if config.who_is_pinv == "enc":
        bank = InverseBank(bank, config.W)
    options = dict(padding=config.padding, dtype=config.compute_dtype)
    return BankEncoder(bank, config.W, config.fb_act, **options)


@ENCODERS.register("hybrid")
def hybrid_encoder(config: TasNetConfig, sample_rate: int) -> HybridEncoder:
    """``filters`` layers of both kinds, kernels doubling from layer to layer.

    A branch that is no bank, such as the spectrogram, occurs once.
    """
    free, parametrised = branch_widths(config)
    lengths = [config.L * 2**layer for layer in range(config.filters)]
    kind, dtype = config.fb_type, config.compute_dtype

    def banks(kind: str, width: int) -> list[nn.Module]:
        return [BANKS.build(kind, config, width, n, sample_rate) for n in lengths]

    if kind in BRANCHES:
        branches = [BRANCHES.build(kind, config, parametrised, config.L, sample_rate)]
    else:
        filters = banks(kind, parametrised)
        branches = [BankEncoder(bank, config.W, dtype=dtype) for bank in filters]
    return HybridEncoder(
        tuple(banks("conv", free) if free else ()),
        tuple(branches if parametrised else ()),
        config.W,
        config.N,
        activation=config.fb_act,
        post_width=parametrised if config.fb_post_conv else 0,
        dtype=dtype,
        kind=kind if kind in BRANCHES else "filters",
    )


def branch_widths(config: TasNetConfig) -> tuple[int, int]:
    """Channels of the convolutional and of the filterbank branch of a hybrid layer.

    The filterbank has ``fb_ratio * N`` channels, rounded to an even number because its
    filters come in pairs. With ``branch_width="quarter"`` each branch has N/4, as in
    Meta-TasNet, and the ratio only says whether it exists.

    Example:
        >>> branch_widths(TasNetConfig(N=440, fb_ratio=0.25))
        (330, 110)
    """
    parametrised = min(2 * round(config.fb_ratio * config.N / 2), config.N)
    free = config.N - parametrised
    if config.branch_width == "quarter":
        quarter = config.N // 4
        return min(free, quarter), min(parametrised, quarter)
    return free, parametrised
