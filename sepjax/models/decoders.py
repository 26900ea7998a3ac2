"""Decoders: latent frames back to waveforms.

Contract: ``(batch, frames, latent), time -> (batch, time)``. Bank decoders are linear;
those of the hybrid encoder have one ReLU inside, as the encoder has.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.config import ModelConfig
from sepjax.functional.framing import synthesize
from sepjax.functional.inverse import pinv_kernel
from sepjax.models.encoders import BankEncoder, HybridEncoder, branch_widths
from sepjax.models.registry import BANKS, DECODERS


class BankDecoder(nn.Module):
    """One synthesis filterbank, or the pseudo-inverse of the encoder's bank.

    With two channels the result is ``(batch, 2, time)``.
    """

    bank: nn.Module
    stride: int
    inverse: bool = False
    channels: int = 1

    def __call__(
        self, latent: Float[Array, "*batch frames latent"], time: int
    ) -> Float[Array, "*batch time"]:
        """Overlap-add of the weighted synthesis filters."""
        if self.channels == 1:
            return synthesize(latent, self.kernel().T, self.stride, time=time)
        kernels = jnp.split(self.kernel(), self.channels)
        waves = [synthesize(latent, k.T, self.stride, time=time) for k in kernels]
        return jnp.stack(waves, axis=-2)

    def kernel(self) -> Float[Array, "length latent"]:
        """The synthesis taps, one filter per column."""
        if self.inverse:
            return pinv_kernel(self.bank(), self.stride).T
        return self.bank()

    def kernels(self) -> dict[str, Float[Array, "length latent"]]:
        """Every bank's taps by name, for plots."""
        return {"filters": self.kernel()}


class BranchDecoder(nn.Module):
    """1x1, ReLU, then a synthesis bank for each share of the channels, summed."""

    banks: tuple[nn.Module, ...]
    widths: tuple[int, ...]
    stride: int
    inverses: tuple[bool, ...]

    @nn.compact
    def __call__(
        self, latent: Float[Array, "*batch frames latent"], time: int
    ) -> Float[Array, "*batch time"]:
        """Decode every share with its own bank."""
        xavier = nn.initializers.xavier_normal()
        width = sum(self.widths)
        bottleneck = nn.Dense(
            width, use_bias=False, kernel_init=xavier, name="bottleneck"
        )
        hidden = nn.relu(bottleneck(latent))
        ends = [sum(self.widths[:i]) for i in range(1, len(self.widths))]
        parts = jnp.split(hidden, ends, axis=-1)
        return sum(
            synthesize(part, kernel.T, self.stride, time=time)
            for part, kernel in zip(parts, self.kernels().values(), strict=True)
        )

    def kernels(self) -> dict[str, Float[Array, "length latent"]]:
        """Every bank's taps by name, for plots."""
        named = {}
        for i, (bank, inverse) in enumerate(zip(self.banks, self.inverses)):
            taps = bank()
            named[f"filters_{i}"] = (
                pinv_kernel(taps, self.stride).T if inverse else taps
            )
        return named


@DECODERS.register("conv")
def conv_decoder(config: ModelConfig, encoder: BankEncoder) -> BankDecoder:
    """A free transposed convolution."""
    length = config.L * config.audio_channels
    bank = BANKS.build("conv", config, config.N, length)
    return BankDecoder(bank, config.W, channels=config.audio_channels)


@DECODERS.register("filterbank")
def filterbank_decoder(config: ModelConfig, encoder: BankEncoder) -> BankDecoder:
    """A free bank of the encoder's type, or both sides from one bank (who_is_pinv)."""
    if config.who_is_pinv == "none":
        bank = BANKS.build(config.fb_type, config, config.N, config.L)
    else:
        bank = encoder.bank
    return BankDecoder(bank, config.W, inverse=config.who_is_pinv == "dec")


@DECODERS.register("hybrid_conv")
def hybrid_conv_decoder(config: ModelConfig, encoder: HybridEncoder) -> BranchDecoder:
    """Part ``l`` has ``N / 2^(l+1)`` channels and kernels of ``L 2^l`` taps."""
    layers = range(config.filters)
    widths = tuple(config.N // 2 ** (layer + 1) for layer in layers)
    banks = tuple(
        BANKS.build("conv", config, widths[layer], config.L * 2**layer)
        for layer in layers
    )
    return BranchDecoder(banks, widths, config.W, (False,) * config.filters)


@DECODERS.register("hybrid_filterbank")
def hybrid_filterbank_decoder(
    config: ModelConfig, encoder: HybridEncoder
) -> BranchDecoder:
    """A convolution beside a filterbank, free or inverting the encoder's first one."""
    free, parametrised = branch_widths(config)
    banks, widths, inverses = [], [], []
    if free:
        banks.append(BANKS.build("conv", config, free, config.L))
        widths.append(free)
        inverses.append(False)
    if parametrised:
        inverse = config.who_is_pinv == "dec"
        new = BANKS.build(config.fb_type, config, parametrised, config.L)
        banks.append(encoder.filterbanks[0] if inverse else new)
        widths.append(parametrised)
        inverses.append(inverse)
    return BranchDecoder(tuple(banks), tuple(widths), config.W, tuple(inverses))
