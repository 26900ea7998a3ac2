"""What training minimises: a model, run on an excerpt, and its loss.

A batch may be split: every device has a share of its items, and a device may take its
own share microbatch by microbatch. An objective computes what a share contributes to
the loss *of the whole batch*, so that the sum over shares is the loss, and the sum of
the gradients its gradient, however the batch is split.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.config import LossConfig
from sepjax.functional.augment import Excerpt
from sepjax.losses import (
    active_neighbours,
    active_pairs,
    active_sources,
    latent_dissimilarity,
    latent_similarity,
    mean_over_active,
    separation_loss,
    si_sdr,
)
from sepjax.train.optim.freeze import within

Metrics = dict[str, Any]

MEMORY = ("batch_stats",)
"""Collections of a model that training keeps beside its parameters."""

DROPOUT = "dropout"
"""Where training keeps the key of the next step's dropout."""


class Whole(NamedTuple):
    """What a share must know of the whole batch."""

    counts: Float[Array, " sources"]  # items in which each source sounds
    pairs: Float[Array, ""]  # of sources that sound in the same item
    neighbours: Float[Array, ""]  # sources that sound in an item and the one before
    shares: int = 1  # all of the same number of items
    axis_name: str | None = None  # along which devices have their shares


class Objective(NamedTuple):
    """A model's outputs and their loss, apart.

    Attributes:
        outputs: ``(params, memory, excerpt, axis_name) -> (outputs, memory)``; all
            outputs have a leading axis over items. ``memory`` is what the model keeps
            besides its parameters.
        loss: ``(outputs, excerpt, whole) -> (value, metrics)``, the share's part of the
            loss and of every metric.
        joint: whether the loss compares items with each other, so that a microbatch
            alone has no loss.
        pooled: whether the outputs of an item depend on the other items, through norms
            that take their statistics from the whole batch.
    """

    outputs: Callable[..., tuple[Any, dict]]
    loss: Callable[..., tuple[Array, Metrics]]
    joint: bool = False
    pooled: bool = False


def whole_batch(sources: Array, axis_name: str | None, microbatches: int = 1) -> Whole:
    """The facts about the whole batch, from a device's share of the true sources."""
    active = active_sources(sources)
    counts = jnp.sum(active, axis=0, dtype=jnp.float32)
    facts = counts, active_pairs(active), active_neighbours(active, axis_name)
    if axis_name is None:
        return Whole(*facts, microbatches)
    devices = jax.lax.axis_size(axis_name)
    return Whole(*jax.lax.psum(facts, axis_name), microbatches * devices, axis_name)


def make_objective(
    model: nn.Module, config: LossConfig, freeze: Sequence[str] = ()
) -> Objective:
    """The objective of a model: of its stages, its spectra or its estimates.

    Args:
        model: with the method ``compare``, ``spectra`` or neither.
        config: weights of the losses; numbers or arrays.
        freeze: paths of what training leaves as it is.
    """
    if hasattr(model, "compare"):
        return stage_objective(model, config)
    if hasattr(model, "spectra"):
        # Norms that stay as they are go on with the statistics that they know.
        frozen = any(within("bn1/gain", path) for path in freeze)
        return spectral_objective(model, train=not frozen)
    return estimate_objective(model, separation_loss)


def require_shares(objective: Objective, accumulate: int) -> None:
    """Refuse microbatches where norms take their statistics from the whole batch.

    Raises:
        ValueError: such norms are trained.
    """
    if accumulate > 1 and objective.pooled:
        raise ValueError(
            "train.accumulate > 1: this model's norms use the statistics of the whole "
            "batch, of which a microbatch has a part. Use more devices, a smaller "
            "train.batch_size or train.freeze=bn1,bn2,bn3"
        )


def estimate_objective(
    model: nn.Module, loss: Callable[..., tuple[Array, Metrics]]
) -> Objective:
    """``loss(sources, estimates, counts)`` of what the model separates."""

    def outputs(params: Any, memory: dict, excerpt: Excerpt, axis_name: Any) -> tuple:
        variables = {"params": params} | memory
        output = model.apply(variables, *model_inputs(model, excerpt))
        return output.estimates, memory

    def value(estimates: Array, excerpt: Excerpt, whole: Whole) -> tuple:
        total, metrics = loss(excerpt.sources, estimates, whole.counts)
        return total, {"si_sdr": metrics["si_sdr"]}

    return Objective(outputs, value)


def stage_objective(model: nn.Module, config: LossConfig) -> Objective:
    r"""The sum of every stage's loss (Meta-TasNet).

    .. math:: -\mathrm{SI\text{-}SDR} + w_d D - w_s S - w_r \mathrm{SI\text{-}SDR}(x,
              \hat x)

    with the resemblance :math:`D` of different sources, that of a source to itself
    elsewhere, :math:`S`, and the mixture :math:`\hat x` that was decoded unmasked.
    Terms of weight 0 are not computed.
    """
    options = dict(
        latents=_used(config.dissimilarity) or _used(config.similarity),
        reconstruction=_used(config.reconstruction),
    )

    def outputs(params: Any, memory: dict, excerpt: Excerpt, axis_name: Any) -> tuple:
        variables = {"params": params} | memory
        return model.apply(variables, *excerpt, **options, method="compare"), memory

    def value(stages: Any, excerpt: Excerpt, whole: Whole) -> tuple:
        terms, total = {}, 0.0
        for index, stage in enumerate(stages):
            loss, each, parts = stage_loss(stage, config, whole)
            total = total + loss
            terms |= {f"stage_{index}/{name}": term for name, term in parts.items()}
        return total, {"si_sdr": each, "terms": terms}

    return Objective(outputs, value, joint=_used(config.similarity))


def _used(weight: Any) -> bool:
    """Whether a term is computed: always if its weight is an array."""
    return isinstance(weight, jax.Array) or weight != 0


def spectral_objective(model: nn.Module, *, train: bool = True) -> Objective:
    r"""The squared error of each source's magnitudes (Open-Unmix).

    .. math:: \sum_c \mathrm{mean}_{b,t,f,i} (\hat V_c - V_c)^2

    The networks of the sources have no parameter in common, so that each gets the
    gradient of its own error alone. The metric ``mse`` has each of them.

    Args:
        model: with the method ``spectra``.
        train: dropout, and norms with the statistics of the whole batch; without, as in
            inference.
    """

    def outputs(params: Any, memory: dict, excerpt: Excerpt, axis_name: Any) -> tuple:
        key, after = jax.random.split(jax.random.wrap_key_data(memory[DROPOUT]["key"]))
        statistics = {name: memory[name] for name in MEMORY if name in memory}
        spectra, changed = model.apply(
            {"params": params} | statistics,
            *excerpt,
            train=train,
            axis_name=axis_name,
            method="spectra",
            mutable=MEMORY,
            rngs={"dropout": key},
        )
        return spectra, memory | changed | {
            DROPOUT: {"key": jax.random.key_data(after)}
        }

    def value(spectra: tuple, excerpt: Excerpt, whole: Whole) -> tuple:
        each = jnp.mean(spectral_errors(*spectra), axis=0) / whole.shares
        return jnp.sum(each), {"mse": each}

    return Objective(outputs, value, pooled=train)


def spectral_errors(estimate: Array, reference: Array) -> Array:
    """Mean squared error of magnitudes for every item and source."""
    return jnp.mean(jnp.square(estimate - reference), axis=tuple(range(2, 5)))


def stage_loss(
    stage: Any, config: LossConfig, whole: Whole | None = None
) -> tuple[Array, Array, Metrics]:
    """The loss of one stage, the SI-SDR of each source, and all terms by name.

    Args:
        stage: a :class:`sepjax.models.meta_tasnet.model.StageOutput`.
        config: the weights.
        whole: facts about the whole batch where the stage has a share of it.
    """
    whole = whole_batch(stage.sources, None) if whole is None else whole
    active = active_sources(stage.sources)
    values = si_sdr(stage.sources, stage.separation.estimates)
    mean, each = mean_over_active(values, active, whole.counts)
    total = -(jnp.sum(each) if config.over_sources == "sum" else mean)
    terms = {"si_sdr": mean}
    if stage.reconstruction is not None:
        value = jnp.mean(si_sdr(stage.mixture, stage.reconstruction)) / whole.shares
        terms["reconstruction"] = value
        total = total - config.reconstruction * value
    if stage.source_latents is not None:
        latents = stage.source_latents
        value = latent_dissimilarity(latents, active, whole.pairs)
        terms["dissimilarity"] = value
        total = total + config.dissimilarity * value
        if _used(config.similarity):
            value = latent_similarity(
                latents, active, whole.neighbours, whole.axis_name
            )
            terms["similarity"] = value
            total = total - config.similarity * value
    return total, each, {"loss": total} | terms


def model_inputs(model: nn.Module, excerpt: Excerpt) -> tuple[Array, ...]:
    """What a model is called with: an oracle is given the sources as well."""
    return tuple(excerpt) if getattr(model, "oracle", False) else (excerpt.mixture,)


def initial_memory(model: nn.Module, variables: dict, key: Array) -> dict[str, Any]:
    """What training keeps of freshly drawn variables besides their parameters."""
    memory = {name: variables[name] for name in MEMORY if name in variables}
    if hasattr(model, "spectra"):
        # A stream of its own, so that the step number alone does not repeat it.
        memory[DROPOUT] = {"key": jax.random.key_data(jax.random.fold_in(key, 1))}
    return memory
