"""What training minimises: a model, run on an excerpt, and its loss.

An objective is ``(params, memory, excerpt, counts) -> (loss, (metrics, memory))``:
``memory`` is what the model keeps besides its parameters, ``counts`` the number of
items of the whole batch in which each source is active.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
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

Metrics = dict[str, Any]
Objective = Callable[[Any, dict, Excerpt, Array], tuple[Array, tuple[Metrics, dict]]]

MEMORY = ("batch_stats",)
"""Collections of a model that training keeps beside its parameters."""


def make_objective(model: nn.Module, config: LossConfig) -> Objective:
    """The objective of a model: of its stages if it has some, else of its estimates."""
    if hasattr(model, "compare"):
        return stage_objective(model, config)
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
    return {name: variables[name] for name in MEMORY if name in variables}
