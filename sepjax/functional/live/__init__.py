"""Concerts simulated from clean stems: bleed, hall and audience."""

from sepjax.functional.live.concert import (
    DELAYS,
    FLOOR,
    LiveExcerpt,
    LiveSettings,
    bleed,
    draw_count,
    simulate_live,
)

__all__ = [
    "DELAYS",
    "FLOOR",
    "LiveExcerpt",
    "LiveSettings",
    "bleed",
    "draw_count",
    "simulate_live",
]
