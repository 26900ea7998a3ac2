"""Masked separation in a learnt encoding: Conv-TasNet and the FB-IRM oracle."""

from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from sepjax.config import ModelConfig
from sepjax.functional.masking import apply_masks, mixture_consistency
from sepjax.models.registry import DECODERS, ENCODERS, MODELS, SEPARATORS


class Separation(NamedTuple):
    """What a model returns; ``estimates`` are in the order of the model's sources.

    A model of the waveform, such as Demucs, has no masks and no latent frames.
    """

    estimates: Float[Array, "batch sources time"]
    masks: Float[Array, "batch sources frames latent"] | None = None
    latent: Float[Array, "batch frames latent"] | None = None


class MaskedSeparation(nn.Module):
    """Encode, mask, decode.

    Contract: ``(batch, time) -> Separation``. An oracle model needs the true sources as
    its second argument. A stereo model (``audio_channels=2``) takes
    ``(batch, 2, time)`` and estimates ``(batch, sources, 2, time)``.
    """

    encoder: nn.Module
    separator: nn.Module
    decoder: nn.Module
    sources: tuple[str, ...]
    sample_rate: int
    oracle: bool = False
    consistency: bool = False

    def __call__(
        self,
        mixture: Float[Array, "batch *channels time"],
        sources: Float[Array, "batch sources *channels time"] | None = None,
    ) -> Separation:
        """Separate a batch of mixtures.

        Raises:
            ValueError: an oracle model was not given the sources.
        """
        if self.oracle and sources is None:
            raise ValueError("an ideal-mask model needs the true sources as well")
        latent = self.encoder(mixture)
        masks = self.separator(self.encoder(sources) if self.oracle else latent)
        estimates = self.decoder(apply_masks(latent, masks), mixture.shape[-1])
        if self.consistency:
            estimates = mixture_consistency(estimates, mixture)
        return Separation(estimates, masks, latent)

    def observe(self, mixture: Float[Array, "batch time"]) -> Array:
        """Encode, for the sake of the statistics that encoders gather."""
        return self.encoder(mixture)

    @property
    def audio_channels(self) -> int:
        """Channels that the model hears at once: 1, or 2 for a stereo model."""
        return getattr(self.encoder, "channels", 1)

    def kernels(self) -> dict[str, Float[Array, "length filters"]]:
        """The taps of every bank, by ``encoder/…`` and ``decoder/…``, for plots."""
        sides = {"encoder": self.encoder, "decoder": self.decoder}
        return {
            f"{side}/{name}": taps
            for side, module in sides.items()
            for name, taps in module.kernels().items()
        }


@MODELS.register("tasnet")
def tasnet(config: ModelConfig) -> MaskedSeparation:
    """Conv-TasNet with the encoding, decoder and separator that the config names."""
    if config.audio_channels != 1 and config.encoding != "simple":
        raise ValueError(
            f"model.audio_channels={config.audio_channels} needs encoding='simple': "
            f"{config.encoding} encoders hear one channel"
        )
    encoder = ENCODERS.build(config.encoding, config)
    kind = config.decoder
    if kind == "auto":
        inverse = config.who_is_pinv != "none" and config.encoding == "hybrid"
        kind = "filterbank" if config.encoding == "filterbanks" else "conv"
        kind = "hybrid" if inverse else kind
    prefix = f"{config.encoding}_" if config.encoding in ("hybrid", "deep") else ""
    return MaskedSeparation(
        encoder=encoder,
        separator=SEPARATORS.build(
            "ideal_mask" if config.ideal_mask else "tcn", config
        ),
        decoder=DECODERS.build(prefix + kind, config, encoder),
        sources=tuple(config.sources),
        sample_rate=config.sample_rate,
        oracle=config.ideal_mask,
        consistency=config.consistency,
    )
