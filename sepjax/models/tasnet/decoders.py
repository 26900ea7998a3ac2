"""Decoders: latent frames back to waveforms.

Contract: ``(batch, frames, latent), time -> (batch, time)``. Bank decoders are linear;
those of the hybrid encoder have one ReLU inside, as the encoder has. Those of banks
alone also begin ``before`` samples before the place of the first frame, for streams.
"""

import itertools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.config import ModelConfig
from sepjax.functional.framing import synthesize
from sepjax.models.tasnet.banks import InverseBank, WithBank
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.encoders import BankEncoder, HybridEncoder, branch_widths
from sepjax.models.tasnet.registry import BANKS, DECODERS


class BankDecoder(WithBank):
    """One synthesis filterbank.

    With two channels the result is ``(batch, 2, time)``.
    """

    stride: int
    channels: int = 1
    padding: str = "center"

    def __call__(
        self, latent: Float[Array, "*batch frames latent"], time: int, before: int = 0
    ) -> Float[Array, "*axes time"]:
        """Overlap-add of the weighted synthesis filters."""
        options = dict(stride=self.stride, time=time, before=before)
        options["padding"] = self.padding
        if self.channels == 1:
            return synthesize(latent, self.bank().T, **options)
        kernels = jnp.split(self.bank(), self.channels)
        waves = [synthesize(latent, kernel.T, **options) for kernel in kernels]
        return jnp.stack(waves, axis=-2)


class BranchDecoder(nn.Module):
    """1x1, ReLU, then a synthesis bank for each share of the channels, summed."""

    banks: tuple[nn.Module, ...]
    widths: tuple[int, ...]
    stride: int

    @nn.compact
    def __call__(
        self, latent: Float[Array, "*batch frames latent"], time: int, before: int = 0
    ) -> Float[Array, "*batch time"]:
        """Decode every share with its own bank."""
        xavier = nn.initializers.xavier_normal()
        width = sum(self.widths)
        options = dict(use_bias=False, kernel_init=xavier, dtype=latent.dtype)
        hidden = nn.relu(nn.Dense(width, name="bottleneck", **options)(latent))
        ends = list(itertools.accumulate(self.widths))[:-1]
        parts = jnp.split(hidden, ends, axis=-1)
        return sum(
            synthesize(part, bank().T, self.stride, time=time, before=before)
            for part, bank in zip(parts, self.banks, strict=True)
        )

    def kernels(self) -> dict[str, Float[Array, "length latent"]]:
        """Every bank's taps by name, for plots."""
        return {f"filters_{i}": bank() for i, bank in enumerate(self.banks)}


def layered_decoder(
    config: ModelConfig, bank: Callable[[int, int], nn.Module]
) -> BranchDecoder:
    """Layer ``l`` has ``N / 2^(l+1)`` channels and kernels of ``L 2^l`` taps.

    ``bank`` is a function of these two numbers.
    """
    widths = tuple(config.N // 2 ** (layer + 1) for layer in range(config.filters))
    banks = [bank(width, config.L * 2**layer) for layer, width in enumerate(widths)]
    return BranchDecoder(tuple(banks), widths, config.W)


@DECODERS.register("conv")
def conv_decoder(
    config: TasNetConfig, encoder: BankEncoder, sample_rate: int
) -> BankDecoder:
    """A free transposed convolution."""
    length = config.L * config.audio_channels
    bank = BANKS.build("conv", config, config.N, length, sample_rate)
    return BankDecoder(bank, config.W, config.audio_channels, config.padding)


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
    """Free transposed convolutions, as :func:`layered_decoder` lays them out."""
    return layered_decoder(
        config, lambda *size: BANKS.build("conv", config, *size, sample_rate)
    )


@DECODERS.register("hybrid_hybrid")
def hybrid_bank_decoder(
    config: TasNetConfig, encoder: HybridEncoder, sample_rate: int
) -> BranchDecoder:
    """A convolution beside a filterbank, free or inverting the encoder's first one."""
    free, parametrised = branch_widths(config)
    size = (config.L, sample_rate)
    parts = [(BANKS.build("conv", config, free, *size), free)] if free else []
    if parametrised:
        if config.who_is_pinv == "dec":
            bank = InverseBank(encoder.filterbanks[0].bank, config.W)
        else:
            bank = BANKS.build(config.fb_type, config, parametrised, *size)
        parts.append((bank, parametrised))
    return BranchDecoder(*map(tuple, zip(*parts)), config.W)
