"""Decoders: latent frames back to waveforms.

Contract: ``(batch, frames, latent), time -> (batch, time)``. Bank decoders are linear;
those of the hybrid encoder have one ReLU inside, as the encoder has.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.framing import synthesize
from sepjax.models.tasnet.banks import InverseBank
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.encoders import BankEncoder, HybridEncoder, branch_widths
from sepjax.models.tasnet.registry import BANKS, DECODERS


class BankDecoder(nn.Module):
    """One synthesis filterbank.

    With two channels the result is ``(batch, 2, time)``.
    """

    bank: nn.Module
    stride: int
    channels: int = 1
    padding: str = "center"

    def __call__(
        self, latent: Float[Array, "*batch frames latent"], time: int
    ) -> Float[Array, "*axes time"]:
        """Overlap-add of the weighted synthesis filters."""
        options = dict(stride=self.stride, time=time, padding=self.padding)
        if self.channels == 1:
            return synthesize(latent, self.bank().T, **options)
        kernels = jnp.split(self.bank(), self.channels)
        waves = [synthesize(latent, kernel.T, **options) for kernel in kernels]
        return jnp.stack(waves, axis=-2)

    def kernels(self) -> dict[str, Float[Array, "length latent"]]:
        """Every bank's taps by name, for plots."""
        return {"filters": self.bank()}


class BranchDecoder(nn.Module):
    """1x1, ReLU, then a synthesis bank for each share of the channels, summed."""

    banks: tuple[nn.Module, ...]
    widths: tuple[int, ...]
    stride: int

    @nn.compact
    def __call__(
        self, latent: Float[Array, "*batch frames latent"], time: int
    ) -> Float[Array, "*batch time"]:
        """Decode every share with its own bank."""
        xavier = nn.initializers.xavier_normal()
        width = sum(self.widths)
        options = dict(use_bias=False, kernel_init=xavier, dtype=latent.dtype)
        hidden = nn.relu(nn.Dense(width, name="bottleneck", **options)(latent))
        ends = [sum(self.widths[:i]) for i in range(1, len(self.widths))]
        parts = jnp.split(hidden, ends, axis=-1)
        return sum(
            synthesize(part, bank().T, self.stride, time=time)
            for part, bank in zip(parts, self.banks, strict=True)
        )

    def kernels(self) -> dict[str, Float[Array, "length latent"]]:
        """Every bank's taps by name, for plots."""
        return {f"filters_{i}": bank() for i, bank in enumerate(self.banks)}


@DECODERS.register("conv")
def conv_decoder(
    config: TasNetConfig, encoder: BankEncoder, sample_rate: int
) -> BankDecoder:
    """A free transposed convolution."""
    length = config.L * config.audio_channels
    bank = BANKS.build("conv", config, config.N, length, sample_rate)
    return BankDecoder(
        bank, config.W, channels=config.audio_channels, padding=config.padding
    )


@DECODERS.register("filterbank")
def filterbank_decoder(
    config: TasNetConfig, encoder: BankEncoder, sample_rate: int
) -> BankDecoder:
    """A free bank of the encoder's type, or both sides from one bank (who_is_pinv)."""
    if config.who_is_pinv == "dec":
        bank = InverseBank(encoder.bank, config.W)
    elif config.who_is_pinv == "enc":
        bank = encoder.bank.bank
    else:
        bank = BANKS.build(config.fb_type, config, config.N, config.L, sample_rate)
    return BankDecoder(bank, config.W, padding=config.padding)


@DECODERS.register("hybrid_conv")
def hybrid_conv_decoder(
    config: TasNetConfig, encoder: HybridEncoder, sample_rate: int
) -> BranchDecoder:
    """Part ``l`` has ``N / 2^(l+1)`` channels and kernels of ``L 2^l`` taps."""
    layers = range(config.filters)
    widths = tuple(config.N // 2 ** (layer + 1) for layer in layers)
    banks = tuple(
        BANKS.build("conv", config, widths[layer], config.L * 2**layer, sample_rate)
        for layer in layers
    )
    return BranchDecoder(banks, widths, config.W)


@DECODERS.register("hybrid_hybrid")
def hybrid_bank_decoder(
    config: TasNetConfig, encoder: HybridEncoder, sample_rate: int
) -> BranchDecoder:
    """A convolution beside a filterbank, free or inverting the encoder's first one."""
    free, parametrised = branch_widths(config)
    parts = []
    if free:
        parts.append((BANKS.build("conv", config, free, config.L, sample_rate), free))
    if parametrised and config.who_is_pinv == "dec":
        parts.append((InverseBank(encoder.filterbanks[0].bank, config.W), parametrised))
    elif parametrised:
        bank = BANKS.build(config.fb_type, config, parametrised, config.L, sample_rate)
        parts.append((bank, parametrised))
    return BranchDecoder(*map(tuple, zip(*parts)), config.W)
