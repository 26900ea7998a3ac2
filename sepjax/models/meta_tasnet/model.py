"""Meta-TasNet: one masking network for all instruments, generated from embeddings.

Reference: Samuel, Ganeshan and Naradowsky 2020, Meta-learning extractors for music
source separation; thesis 4.2.2.
"""

import dataclasses
import functools
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.framing import fit
from sepjax.functional.generation import generate, init_generator, init_independent
from sepjax.functional.masking import apply_masks
from sepjax.functional.resample import decimate
from sepjax.models.contract import Separation, SeparationModel
from sepjax.models.meta_tasnet.config import MetaTasNetConfig
from sepjax.models.meta_tasnet.network import (
    init_block,
    init_ends,
    init_slopes,
    mask_network,
)
from sepjax.models.registry import MODELS
from sepjax.models.tasnet.banks import ConvBank
from sepjax.models.tasnet.branches import GATHERED, SpectrogramBranch
from sepjax.models.tasnet.decoders import layered_decoder
from sepjax.models.tasnet.encoders import HybridEncoder


class StageOutput(NamedTuple):
    """Output of a stage for a mixture and, for the losses, for the true sources.

    All waves have the stage's own rate, hence different lengths from stage to stage;
    ``frames`` are the same in all stages.
    """

    separation: Separation
    mixture: Float[Array, "batch time"]
    sources: Float[Array, "batch sources time"]
    source_latents: Float[Array, "batch sources frames latent"] | None
    reconstruction: Float[Array, "batch time"] | None


Stages = tuple[Any, ...]
"""The :class:`StageOutput` of every stage, each of its own length."""


class GeneratedSeparator(nn.Module):
    """Masks of all instruments from networks that their embeddings generate.

    ``context``, what each instrument brings along from the stage before, stands beside
    the mixture's latent in the channels that its network hears.
    """

    config: MetaTasNetConfig
    sources: tuple[str, ...]
    context_width: int = 0

    def setup(self) -> None:
        """Declare embeddings, generators and the slopes that all instruments share."""
        config, sources = self.config, len(self.sources)
        blocks = config.layers * config.stack
        inputs = config.N + self.context_width
        sizes = dict(inputs=inputs, latent=config.N, bottleneck=config.B)
        ends = functools.partial(init_ends, **sizes)
        sizes = dict(bottleneck=config.B, hidden=config.H, width=config.kernel)
        block = functools.partial(init_block, **sizes, bias=config.residual_bias)
        shape = dict(embedding=config.embedding, bottleneck=config.generator_bottleneck)

        def draw(init: Callable, key: Array) -> dict:
            if config.independent_params:
                return init_independent(key, init, sources=sources)
            return init_generator(key, jax.eval_shape(init, key), **shape)

        def draw_blocks(key: Array) -> dict:
            keys = jax.random.split(key, blocks)
            return jax.vmap(functools.partial(draw, block))(keys)

        self.embedding = {}
        if not config.independent_params:
            self.embedding = self.param("embedding", self._draw_embeddings)
        self.ends = self.param("ends", functools.partial(draw, ends))
        self.blocks = self.param("blocks", draw_blocks)
        self.slopes = self.param("slopes", lambda key: init_slopes(blocks))

    def _draw_embeddings(self, key: Array) -> dict[str, Array]:
        # By name, so that another model takes over those of the instruments it knows.
        keys = jax.random.split(key, len(self.sources))
        size = (self.config.embedding,)
        return {
            name: jax.random.normal(one, size) for name, one in zip(self.sources, keys)
        }

    def __call__(
        self,
        latent: Float[Array, "batch frames latent"],
        context: Float[Array, "batch sources frames context"] | None = None,
    ) -> Float[Array, "batch sources frames latent"]:
        """Softmax over the instruments."""
        return jax.nn.softmax(self.logits(latent, context), axis=1)

    def logits(
        self,
        latent: Float[Array, "batch frames latent"],
        context: Float[Array, "batch sources frames context"] | None = None,
    ) -> Float[Array, "batch sources frames latent"]:
        """Compute the input of the softmax, for each source without the others."""
        config, inputs, axis = self.config, latent, None
        if context is not None:
            shape = (*context.shape[:-1], latent.shape[-1])
            repeated = jnp.broadcast_to(latent[:, None], shape)
            inputs, axis = jnp.concatenate([repeated, context], axis=-1), 1
        network = functools.partial(
            mask_network,
            layers=config.layers,
            stacks=config.stack,
            dtype=config.compute_dtype,
        )
        each = jax.vmap(network, in_axes=(0, 0, None, axis), out_axes=1)
        return each(*self.networks(), self.slopes, inputs)

    def networks(self) -> tuple[dict, dict]:
        """The parameters of every instrument's network: its ends and its blocks."""
        ends, blocks = (flax.core.unfreeze(part) for part in (self.ends, self.blocks))
        over_blocks = jax.vmap(generate, in_axes=(0, None), out_axes=1)
        embeddings = None
        if self.embedding:
            embeddings = jnp.stack([self.embedding[n] for n in self.sources])
        return generate(ends, embeddings), over_blocks(blocks, embeddings)


class Stage(nn.Module):
    """Encode, mask, decode at one rate; encoder and decoder serve all instruments."""

    encoder: nn.Module
    separator: GeneratedSeparator
    decoder: nn.Module

    def __call__(
        self,
        mixture: Float[Array, "batch time"],
        context: Float[Array, "batch sources frames context"] | None = None,
    ) -> Separation:
        """Separate; the masked latents are the next stage's ``context``."""
        latent = self.encoder(mixture)
        masks = self.separator(latent, context)
        estimates = self.decoder(apply_masks(latent, masks), mixture.shape[-1])
        return Separation(estimates, masks, latent)


class MetaTasNet(SeparationModel):
    """Stages of generated separators, each given the masked latents of the one before.

    Contract: ``(batch, time) -> Separation`` at ``sample_rate``, the rate of the last
    stage. The music of the stages before is made by decimation, so that all of them
    hear the same excerpt, and is made as loud as that of the last stage, as if each
    recording had been normalized at every rate.
    """

    stages: tuple[Stage, ...]
    sources: tuple[str, ...]
    sample_rate: int
    stride: int  # samples of a frame, in the last stage
    objective = MetaTasNetConfig.objective
    outputs = MappingProxyType({"stages": "compare"})
    statistics = GATHERED
    constants = tuple(GATHERED)

    def __call__(self, mixture: Float[Array, "batch time"]) -> Separation:
        """Separate a batch of mixtures; the result is that of the last stage."""
        levels, _ = self.levels(mixture)
        last = self.separate_levels(levels)[-1]
        estimates = last.estimates[..., : mixture.shape[-1]]
        return last._replace(estimates=estimates)

    def separate_levels(
        self, mixtures: tuple[Float[Array, "batch _"], ...]
    ) -> tuple[Any, ...]:
        """The :class:`Separation` of every stage, the lowest rate first."""
        outputs, context = [], None
        for stage, mixture in zip(self.stages, mixtures, strict=True):
            output = stage(mixture, context)
            context = apply_masks(output.latent, output.masks)
            outputs.append(output)
        return tuple(outputs)

    def compare(
        self,
        mixture: Float[Array, "batch time"],
        sources: Float[Array, "batch sources time"],
        *,
        latents: bool = True,
        reconstruction: bool = True,
    ) -> dict[str, Stages]:
        """Separate, and gather what the losses of every stage need, as ``stages``.

        ``latents``: encode the true sources as well, ``reconstruction``: decode the
        unmasked mixture.
        """
        options = dict(latents=latents, reconstruction=reconstruction)
        levels = self.levels(mixture, sources)
        return {"stages": self.compare_levels(*levels, **options)}

    def compare_levels(
        self,
        mixtures: tuple[Float[Array, "batch _"], ...],
        references: tuple[Float[Array, "batch sources _"], ...],
        *,
        latents: bool = True,
        reconstruction: bool = True,
    ) -> Stages:
        """Compare as :meth:`compare` does, but take music at every stage's rate."""
        outputs, separations = [], self.separate_levels(mixtures)
        levels = zip(self.stages, separations, mixtures, references)
        for stage, separation, mixture, sources in levels:
            encoded = decoded = None
            if latents:  # losses compare them in float32
                encoded = stage.encoder(sources).astype(mixture.dtype)
            if reconstruction:
                decoded = stage.decoder(separation.latent, mixture.shape[-1])
            output = StageOutput(separation, mixture, sources, encoded, decoded)
            outputs.append(output)
        return tuple(outputs)

    def observe(self, mixture: Float[Array, "batch time"]) -> tuple[Array, ...]:
        """Encode at every rate, to gather the statistics of the spectrograms."""
        mixtures, _ = self.levels(mixture)
        return tuple(stage.encoder(wave) for stage, wave in zip(self.stages, mixtures))

    def levels(
        self,
        mixture: Float[Array, "batch time"],
        sources: Float[Array, "batch sources time"] | None = None,
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Return mixtures, and sources if given, at the rate of every stage."""
        time = -(-mixture.shape[-1] // self.stride) * self.stride
        waves = mixture[:, None]
        if sources is not None:
            waves = jnp.concatenate([waves, sources], axis=1)
        waves = fit(waves, time)
        halvings = range(len(self.stages) - 1, -1, -1)
        rates = [decimate(waves, 2**n) if n else waves for n in halvings]
        loudness = jnp.std(waves[:, :1], axis=-1, keepdims=True)
        scaled = []
        for level in rates:
            own = jnp.std(level[:, :1], axis=-1, keepdims=True)
            scaled.append(level * jnp.where(own > 1e-8, loudness / (own + 1e-12), 1.0))
        return tuple(x[:, 0] for x in scaled), tuple(x[:, 1:] for x in scaled)

    def kernels(self) -> dict[str, Float[Array, "length filters"]]:
        """The taps of every bank of every stage, for plots."""
        return {
            f"stage_{index}/{side}/{name}": taps
            for index, stage in enumerate(self.stages)
            for side in ("encoder", "decoder")
            for name, taps in getattr(stage, side).kernels().items()
        }


def stage_config(config: MetaTasNetConfig, index: int) -> MetaTasNetConfig:
    """The configuration of one stage: kernels and latent channels double.

    Example:
        >>> stage_config(MetaTasNetConfig(stages=3, N=440, L=20, W=20), 2).N
        1760
    """
    factor = 2**index
    return dataclasses.replace(
        config, N=config.N * factor, L=config.L * factor, W=config.W * factor
    )


def build_stage(
    config: MetaTasNetConfig, index: int, sources: tuple[str, ...], sample_rate: int
) -> Stage:
    """Encoder, generated separator and decoder of one stage, at its own rate."""
    own = stage_config(config, index)
    dtype, rate = own.compute_dtype, sample_rate
    lengths = [own.L * 2**layer for layer in range(own.filters)]
    encoder = HybridEncoder(
        tuple(ConvBank(own.N // 4, length, rate) for length in lengths),
        (SpectrogramBranch(own.mels, own.W, rate, dtype),),
        stride=own.W,
        latent=own.N,
        interleave=True,
        dtype=dtype,
        kind="stft",
    )
    decoder = layered_decoder(own, lambda *size: ConvBank(*size, rate))
    context = own.N // 2 if index else 0
    return Stage(encoder, GeneratedSeparator(own, sources, context), decoder)


@MODELS.register("meta_tasnet")
def meta_tasnet(
    config: MetaTasNetConfig, *, sources: tuple[str, ...], sample_rate: int
) -> MetaTasNet:
    """As many stages as the configuration says, the last at ``sample_rate``."""
    count = config.stages
    stages = tuple(
        build_stage(config, index, sources, sample_rate // 2 ** (count - 1 - index))
        for index in range(count)
    )
    stride = stage_config(config, count - 1).W
    return MetaTasNet(stages, sources, sample_rate, stride)
