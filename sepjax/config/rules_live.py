"""What the section ``live`` of a configuration may say."""

import math
from collections.abc import Iterable

from sepjax.config.schema import LiveConfig

OFF = {"bleed": -math.inf, "direct": math.inf, "crowd": math.inf}
"""Bounds that, given for both, leave something out."""


def live_problems(live: LiveConfig) -> Iterable[str]:
    """Every problem of the section, as a message of its own.

    Example:
        >>> from sepjax.config import LiveConfig
        >>> list(live_problems(LiveConfig(bleed_low=-5.0)))
        ['live.bleed_low=-5.0 must not exceed live.bleed_high=-15.0']
    """
    for name in ("bleed", "reverb", "direct", "crowd"):
        low, high = (getattr(live, f"{name}_{end}") for end in ("low", "high"))
        yield from _bound_problems(name, low, high)
    idle = not (live.train or live.eval)
    rules = (
        (
            live.bleed_high > 0,
            f"live.bleed_high={live.bleed_high} must be 0 or less, in dB",
        ),
        (
            live.reverb_low <= 0 and (live.reverb_low or live.reverb_high) != 0,
            f"live.reverb_low={live.reverb_low} must be positive, or both bounds 0",
        ),
        (
            bool(live.impulse_responses) and live.reverb_high == 0,
            "live.impulse_responses names halls, live.reverb_high=0 wants none",
        ),
        (
            bool(live.crowd_recordings) and live.crowd_low == math.inf,
            "live.crowd_recordings names audiences, live.crowd_low=inf wants none",
        ),
        (
            idle and bool(live.impulse_responses or live.crowd_recordings),
            "live.impulse_responses and crowd_recordings are for live.train=True or "
            "live.eval=True",
        ),
    )
    yield from (message for wrong, message in rules if wrong)


def _bound_problems(name: str, low: float, high: float) -> Iterable[str]:
    fields = f"live.{name}_low={low} and live.{name}_high={high}"
    finite = math.isfinite(low) and math.isfinite(high)
    if not low <= high:
        yield f"live.{name}_low={low} must not exceed live.{name}_high={high}"
    elif not finite and not low == high == OFF.get(name):
        off = f", or both {OFF[name]}" if name in OFF else ""
        yield f"{fields} must be finite{off}"
