"""Scores in float64, oracles, their aggregation, and the evaluation of a run."""

from sepjax.evaluation.oracle import ideal_ratio_mask
from sepjax.evaluation.si_sdr import si_sdr, usdr

__all__ = ["ideal_ratio_mask", "si_sdr", "usdr"]
