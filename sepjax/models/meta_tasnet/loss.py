"""What Meta-TasNet is trained with: the SI-SDR of every stage, and terms beside it."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sepjax.config import LossConfig
from sepjax.losses.latent import latent_dissimilarity, latent_similarity
from sepjax.losses.reduction import Whole, active_sources, mean_over_active, whole_batch
from sepjax.losses.registry import LOSSES
from sepjax.losses.waveform import si_sdr
from sepjax.models.meta_tasnet.model import StageOutput, Stages


def _used(weight: Any) -> bool:
    """Whether a term is computed: always if its weight is an array."""
    return isinstance(weight, jax.Array) or weight != 0


def _options(weights: LossConfig) -> dict[str, bool]:
    return {
        "latents": _used(weights.dissimilarity) or _used(weights.similarity),
        "reconstruction": _used(weights.reconstruction),
    }


@LOSSES.register(
    "meta_tasnet",
    terms=LossConfig.terms(),
    options=_options,
    joint=lambda weights: _used(weights.similarity),
)
def meta_tasnet_loss(
    stages: Stages, whole: Whole, weights: LossConfig
) -> tuple[Array, dict[str, Any]]:
    r"""The sum of every stage's loss.

    .. math:: -\mathrm{SI\text{-}SDR} + w_d D - w_s S - w_r \mathrm{SI\text{-}SDR}(x,
              \hat x)

    with the resemblance :math:`D` of different sources, the resemblance :math:`S` of a
    source to itself elsewhere, and the mixture :math:`\hat x`, decoded without a mask.
    Terms of weight 0 are not computed.

    Returns:
        The share's part of the loss; the SI-SDR of every source in the last stage, and
        all terms by name.

    Reference:
        Samuel et al. 2020 (Meta-TasNet).
    """
    terms, total = {}, jnp.zeros(())
    for index, stage in enumerate(stages):
        loss, each, parts = stage_loss(stage, weights, whole)
        total = total + loss
        terms |= {f"stage_{index}/{name}": term for name, term in parts.items()}
    return total, {"si_sdr": each, "terms": terms}


def stage_loss(
    stage: StageOutput, weights: LossConfig, whole: Whole | None = None
) -> tuple[Array, Array, dict[str, Array]]:
    """Return the loss of one stage, the SI-SDR of each source, and all terms by name.

    Args:
        stage: outputs of a stage.
        weights: of the terms.
        whole: facts about the whole batch where the stage has a share of it.
    """
    whole = whole_batch(stage.sources, None) if whole is None else whole
    active = active_sources(stage.sources)
    values = si_sdr(stage.sources, stage.separation.estimates)
    mean, each = mean_over_active(values, active, whole.counts)
    total = -(jnp.sum(each) if weights.over_sources == "sum" else mean)
    terms = {"si_sdr": mean}
    if stage.reconstruction is not None:
        value = jnp.mean(si_sdr(stage.mixture, stage.reconstruction)) / whole.shares
        terms["reconstruction"] = value
        total = total - weights.reconstruction * value
    if stage.source_latents is not None:
        latents = stage.source_latents
        value = latent_dissimilarity(latents, active, whole.pairs)
        terms["dissimilarity"] = value
        total = total + weights.dissimilarity * value
        if _used(weights.similarity):
            value = latent_similarity(
                latents, active, whole.neighbours, whole.axis_name
            )
            terms["similarity"] = value
            total = total - weights.similarity * value
    return total, each, {"loss": total} | terms
