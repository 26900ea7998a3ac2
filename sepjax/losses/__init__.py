"""Losses: values per item and source, by name, and their reduction."""

from sepjax.losses.latent import latent_dissimilarity, latent_similarity
from sepjax.losses.reduction import (
    Whole,
    active_neighbours,
    active_pairs,
    active_sources,
    mean_over_active,
    preceding_items,
    whole_batch,
)
from sepjax.losses.registry import LOSSES, Loss, parse_loss
from sepjax.losses.spectral import multi_resolution_stft, spectral_mse
from sepjax.losses.waveform import (
    hearing_weight,
    l1,
    l1_snr,
    log_wmse,
    mse,
    negative_sdr,
    negative_si_sdr,
    si_sdr,
    source_si_sdr,
)

__all__ = [
    "LOSSES",
    "Loss",
    "Whole",
    "active_neighbours",
    "active_pairs",
    "active_sources",
    "hearing_weight",
    "l1",
    "l1_snr",
    "latent_dissimilarity",
    "latent_similarity",
    "log_wmse",
    "mean_over_active",
    "mse",
    "multi_resolution_stft",
    "negative_sdr",
    "negative_si_sdr",
    "parse_loss",
    "preceding_items",
    "si_sdr",
    "source_si_sdr",
    "spectral_mse",
    "whole_batch",
]
