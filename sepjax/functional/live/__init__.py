"""Concerts simulated from clean stems: bleed, hall and audience."""

from sepjax.functional.live.concert import DELAYS as DELAYS
from sepjax.functional.live.concert import LiveSettings as LiveSettings
from sepjax.functional.live.concert import bleed as bleed
from sepjax.functional.live.concert import draw_count as draw_count
from sepjax.functional.live.concert import simulate_live as simulate_live
