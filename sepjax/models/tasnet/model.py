"""Masked separation in a learnt encoding: Conv-TasNet and the FB-IRM oracle."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.framing import frames_for
from sepjax.functional.masking import apply_masks, mixture_consistency
from sepjax.functional.streaming import (
    Framing,
    next_part,
    overlap_add_step,
    start_clock,
)
from sepjax.functional.tcn import receptive_field
from sepjax.models.contract import Separation, SeparationModel, Streaming
from sepjax.models.registry import MODELS
from sepjax.models.tasnet.branches import GATHERED
from sepjax.models.tasnet.config import TasNetConfig, layer_strides
from sepjax.models.tasnet.registry import DECODERS, ENCODERS, SEPARATORS
from sepjax.models.tasnet.stream import framing_of, why_offline


class MaskedSeparation(SeparationModel):
    """Encode, mask, decode.

    Contract: ``(batch, time) -> Separation``. An oracle model needs the true sources as
    its second argument. A stereo model (``audio_channels=2``) takes
    ``(batch, 2, time)`` and estimates ``(batch, sources, 2, time)``.
    """

    encoder: nn.Module
    separator: Callable[[Array], Array]
    decoder: nn.Module
    sources: tuple[str, ...]
    sample_rate: int
    needs_sources: bool = False
    consistency: bool = False
    audio_channels: int = 1
    stride: int = 1  # samples from frame to frame of the latent
    context: int = 1  # frames on which a mask depends; 0: on all of a direction
    offline: str = SeparationModel.offline
    framing: Framing | None = None  # of a stream
    padding: str = "center"  # of the encoder
    statistics = GATHERED
    constants = tuple(GATHERED)
    coders = ("encoder", "decoder")

    def __call__(
        self,
        mixture: Float[Array, "batch *channels time"],
        sources: Float[Array, "batch sources *channels time"] | None = None,
    ) -> Separation:
        """Separate a batch of mixtures.

        Raises:
            ValueError: an oracle model was not given the sources.
        """
        if self.needs_sources and sources is None:
            raise ValueError("an ideal-mask model needs the true sources as well")
        latent = self.encoder(mixture)
        masks = self.separator(self.encoder(sources) if self.needs_sources else latent)
        estimates = self.decoder(apply_masks(latent, masks), mixture.shape[-1])
        if self.consistency:
            estimates = mixture_consistency(estimates, mixture)
        return Separation(estimates, masks, latent)

    @property
    def streaming(self) -> Streaming | None:
        """Blocks of whole frames; the decoder's last frame ends the latency."""
        framing = self.framing
        return framing and Streaming(framing.latency, framing.hop, framing.lead)

    def init_state(self, batch: int) -> dict[str, Any]:
        """Return the state before a stream's first block.

        It holds the clock, the samples that later frames see, the separator's state,
        and the samples to which later frames add.

        Raises:
            ValueError: something hears the whole song; the message says what.
        """
        if self.framing is None:
            return super().init_state(batch)
        channels = (self.audio_channels,) if self.audio_channels > 1 else ()
        past = max(self.framing.past, self.framing.delay)
        rest = len(self.sources), *channels, self.framing.rest
        return {
            "clock": start_clock(self.framing),
            "past": jnp.zeros((batch, *channels, past)),
            "separator": self.separator.init_state(batch),
            "rest": jnp.zeros((batch, *rest)),
        }

    def step(
        self,
        state: dict[str, Any],
        block: Float[Array, "batch *channels size"],
        samples: int | Array | None = None,
    ) -> tuple[dict[str, Any], Float[Array, "batch sources *channels size"]]:
        """Separate the next block of a stream, as :meth:`__call__` the whole.

        Raises:
            ValueError: the block is no whole number of frames.
        """
        if (framing := self.framing) is None:
            return super().step(state, block)
        size, length = block.shape[-1], framing.before + framing.after
        known = dict(stride=framing.hop, length=length, padding=self.padding)
        count = functools.partial(frames_for, **known)
        kept, _, wave, valid = next_part(state, block, samples, framing, count)
        past = wave.shape[-1] - size
        part = past + framing.hop - framing.after, len(valid)
        latent = self.encoder(wave, part)
        separator, masks = self.separator(latent, state["separator"], valid)
        latents = jnp.where(valid[:, None], apply_masks(latent, masks), 0)
        made = self.decoder(latents, size + framing.rest, framing.start)
        rest, estimates = overlap_add_step(state["rest"], made)
        if self.consistency:
            heard = wave[..., past - framing.delay :][..., :size]
            estimates = mixture_consistency(estimates, heard)
        return kept | dict(separator=separator, rest=rest), estimates

    def observe(self, mixture: Float[Array, "batch time"]) -> Array:
        """Encode, to gather the statistics of the encoders."""
        return self.encoder(mixture)

    def describe(self, time: int) -> dict[str, str]:
        """Return the number of frames, and how many of them a mask depends on."""
        frames, rate = frames_for(time, self.stride), self.sample_rate
        facts = {"latent": f"{frames} frames of {self.stride} samples"}
        if not self.needs_sources and self.context:
            seconds = self.context * self.stride / rate
            facts["receptive field"] = f"{self.context} frames, {seconds:.2f} s"
        return facts

    def kernels(self) -> dict[str, Float[Array, "length filters"]]:
        """The taps of every bank, by ``encoder/…`` and ``decoder/…``, for plots."""
        return {
            f"{side}/{name}": taps
            for side in ("encoder", "decoder")
            for name, taps in getattr(self, side).kernels().items()
        }


@MODELS.register("tasnet")
def tasnet(
    config: TasNetConfig, *, sources: tuple[str, ...], sample_rate: int
) -> MaskedSeparation:
    """Conv-TasNet with the encoding, decoder and separator that the config names."""
    encoder = ENCODERS.build(config.encoding, config, sample_rate)
    kind = config.decoder
    if kind == "auto":
        inverse = config.who_is_pinv != "none" and config.encoding == "hybrid"
        kind = "filterbank" if config.encoding == "filterbanks" else "conv"
        kind = "hybrid" if inverse else kind
    prefix = f"{config.encoding}_" if config.encoding in ("hybrid", "deep") else ""
    separator = "tcn" if config.separator == "auto" else config.separator
    separator = "ideal_mask" if config.ideal_mask else separator
    context = receptive_field(config.layers, config.stack, config.kernel)
    decoder = DECODERS.build(prefix + kind, config, encoder, sample_rate)
    offline = why_offline(config, encoder, decoder)
    return MaskedSeparation(
        encoder=encoder,
        separator=SEPARATORS.build(separator, config, len(sources)),
        decoder=decoder,
        sources=sources,
        sample_rate=sample_rate,
        needs_sources=config.ideal_mask,
        consistency=config.consistency,
        audio_channels=config.audio_channels,
        stride=math.prod(layer_strides(config)),
        context=0 if separator == "lstm" else context,
        offline=offline,
        framing=None if offline else framing_of(encoder, decoder, config.W),
        padding=config.padding,
    )
