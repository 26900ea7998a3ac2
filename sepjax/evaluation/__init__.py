"""Scores in float64, oracles, their aggregation, and the evaluation of a run."""

from sepjax.evaluation.bss import bss_eval, sdr_frames
from sepjax.evaluation.bss.scores import BssScores
from sepjax.evaluation.masks import (
    ideal_binary_mask,
    ideal_ratio_mask,
    mixture_as_estimate,
)
from sepjax.evaluation.masks_wiener import ideal_wiener_filter
from sepjax.evaluation.si_sdr import si_sdr, usdr

__all__ = [
    "BssScores",
    "bss_eval",
    "ideal_binary_mask",
    "ideal_ratio_mask",
    "ideal_wiener_filter",
    "mixture_as_estimate",
    "sdr_frames",
    "si_sdr",
    "usdr",
]
