"""Scores in float64, oracles, their aggregation, and the evaluation of a run.

Names are imported when they are first touched: tables of text need no jax.
"""

from typing import TYPE_CHECKING

from sepjax.registry import names_on_demand

if TYPE_CHECKING:
    from sepjax.evaluation.bss import bss_eval as bss_eval
    from sepjax.evaluation.bss import sdr_frames as sdr_frames
    from sepjax.evaluation.bss.scores import BssScores as BssScores
    from sepjax.evaluation.masks import ideal_binary_mask as ideal_binary_mask
    from sepjax.evaluation.masks import ideal_ratio_mask as ideal_ratio_mask
    from sepjax.evaluation.masks import mixture_as_estimate as mixture_as_estimate
    from sepjax.evaluation.masks_wiener import (
        ideal_wiener_filter as ideal_wiener_filter,
    )
    from sepjax.evaluation.metrics import METRICS as METRICS
    from sepjax.evaluation.whole_track import si_sdr as si_sdr
    from sepjax.evaluation.whole_track import usdr as usdr

_HOMES = {
    "bss": ("bss_eval", "sdr_frames"),
    "bss.scores": ("BssScores",),
    "masks": ("ideal_binary_mask", "ideal_ratio_mask", "mixture_as_estimate"),
    "masks_wiener": ("ideal_wiener_filter",),
    "metrics": ("METRICS",),
    "whole_track": ("si_sdr", "usdr"),
}
_NAMES = {name: home for home, names in _HOMES.items() for name in names}

__all__ = list(_NAMES)


if not TYPE_CHECKING:  # a checker shall miss what is misspelled
    __getattr__ = names_on_demand(__name__, _NAMES)
