"""What training minimises: a model, run on an excerpt, and its loss.

An objective is ``(params, memory, excerpt, counts) -> (loss, (metrics, memory))``:
``memory`` is what the model keeps besides its parameters, ``counts`` the number of
items of the whole batch in which each source is active.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sepjax.config import LossConfig
from sepjax.functional.augment import Excerpt
from sepjax.losses import (
    active_sources,
    latent_dissimilarity,
    latent_similarity,
    mean_over_active,
    separation_loss,
    si_sdr,
)
from sepjax.train.freeze import within

Metrics = dict[str, Any]
Objective = Callable[[Any, dict, Excerpt, Array], tuple[Array, tuple[Metrics, dict]]]

MEMORY = ("batch_stats",)
"""Collections of a model that training keeps beside its parameters."""

DROPOUT = "dropout"
"""Where training keeps the key of the next step's dropout."""


def make_objective(
    model: nn.Module, config: LossConfig, freeze: Sequence[str] = ()
) -> Objective:
    """The objective of a model: of its stages, its spectra or its estimates.

    Args:
        model: with the method ``compare``, ``spectra`` or neither.
        config: weights of the losses.
        freeze: paths of what training leaves as it is.
    """
    if hasattr(model, "compare"):
        return stage_objective(model, config)
    if hasattr(model, "spectra"):
        # Norms that stay as they are go on with the statistics that they know.
        frozen = any(within("bn1/gain", path) for path in freeze)
        return spectral_objective(model, train=not frozen)
    return estimate_objective(model, separation_loss)


def estimate_objective(
    model: nn.Module, loss: Callable[..., tuple[Array, Metrics]]
) -> Objective:
    """``loss(sources, estimates, counts)`` of what the model separates."""

    def objective(params: Any, memory: dict, excerpt: Excerpt, counts: Array) -> tuple:
        variables = {"params": params} | memory
        output = model.apply(variables, *model_inputs(model, excerpt))
        value, metrics = loss(excerpt.sources, output.estimates, counts)
        return value, ({"si_sdr": metrics["si_sdr"]}, memory)

    return objective


def stage_objective(model: nn.Module, config: LossConfig) -> Objective:
    r"""The sum of every stage's loss (Meta-TasNet).

    .. math:: - \sum_c V_c - w_r R + w_d D - w_s S

    with the SI-SDR :math:`V_c` of each source over the items in which it is active, the
    SI-SDR :math:`R` of the mixture that is encoded and decoded without a mask, and the
    dissimilarity :math:`D` and the similarity :math:`S` of the sources' latents. The
    metrics have each of them by ``stage_<i>/<term>``; ``si_sdr`` is the last stage's.

    The last two terms compare items of the batch with each other: on several devices
    it must be one global batch (``jit`` with sharding), not a share on each (``pmap``).
    """
    options = dict(
        latents=config.dissimilarity != 0 or config.similarity != 0,
        reconstruction=config.reconstruction != 0,
    )

    def objective(params: Any, memory: dict, excerpt: Excerpt, counts: Array) -> tuple:
        stages = model.apply(
            {"params": params} | memory, *excerpt, **options, method="compare"
        )
        terms, total = {}, 0.0
        for index, stage in enumerate(stages):
            value, each, found = stage_loss(stage, config, counts)
            total = total + value
            terms |= {f"stage_{index}/{name}": term for name, term in found.items()}
        return total, ({"si_sdr": each, "terms": terms}, memory)

    return objective


def spectral_objective(model: nn.Module, *, train: bool = True) -> Objective:
    r"""The squared error of each source's magnitudes (Open-Unmix).

    .. math:: \sum_c \mathrm{mean}_{b,t,f,i} (\hat V_c - V_c)^2

    The networks of the sources have no parameter in common, so that each gets the
    gradient of its own error alone. The metric ``mse`` has each of them.

    Args:
        model: with the method ``spectra``.
        train: dropout, and norms with the statistics of the batch; without, as in
            inference.
    """

    def objective(params: Any, memory: dict, excerpt: Excerpt, counts: Array) -> tuple:
        key, after = jax.random.split(jax.random.wrap_key_data(memory[DROPOUT]["key"]))
        statistics = {name: memory[name] for name in MEMORY if name in memory}
        found, changed = model.apply(
            {"params": params} | statistics,
            *excerpt,
            train=train,
            method="spectra",
            mutable=MEMORY,
            rngs={"dropout": key},
        )
        each = jnp.mean(spectral_errors(*found), axis=0)
        memory = memory | changed | {DROPOUT: {"key": jax.random.key_data(after)}}
        return jnp.sum(each), ({"mse": each}, memory)

    return objective


def spectral_errors(estimate: Array, reference: Array) -> Array:
    """Mean squared error of magnitudes for every item and source."""
    return jnp.mean(jnp.square(estimate - reference), axis=tuple(range(2, 5)))


def stage_loss(
    stage: Any, config: LossConfig, counts: Array | None = None
) -> tuple[Array, Array, Metrics]:
    """The loss of one stage, the SI-SDR of each source, and all terms by name.

    Args:
        stage: a :class:`sepjax.models.meta_tasnet.StageOutput`.
        config: the weights.
        counts: as in :func:`sepjax.losses.mean_over_active`.
    """
    active = active_sources(stage.sources)
    values = si_sdr(stage.sources, stage.separation.estimates)
    mean, each = mean_over_active(values, active, counts)
    total = -(jnp.sum(each) if config.over_sources == "sum" else mean)
    terms = {"si_sdr": mean}
    if stage.reconstruction is not None:
        value = jnp.mean(si_sdr(stage.mixture, stage.reconstruction))
        terms["reconstruction"], total = value, total - config.reconstruction * value
    if stage.source_latents is not None:
        value = latent_dissimilarity(stage.source_latents, active)
        terms["dissimilarity"], total = value, total + config.dissimilarity * value
        value = latent_similarity(stage.source_latents, active)
        terms["similarity"], total = value, total - config.similarity * value
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
