"""What a configuration may say: choices, ranges and which fields go together.

:func:`validate` reports *all* problems of a configuration in one message. There is one
function for each section; what a family of models may say is with its configuration
(:meth:`sepjax.config.schema.ModelConfig.problems`).
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from sepjax.config.schema import (
    MODEL_CONFIGS,
    Config,
    DataConfig,
    LiveConfig,
    LossConfig,
    OptimConfig,
    TrainConfig,
)
from sepjax.registry import name_problems, nearest

OFF = {"bleed": -math.inf, "direct": math.inf, "crowd": math.inf}
"""Bounds that, given for both, leave something out."""

VARIABLE = (
    "optim.lr",
    "optim.weight_decay",
    "optim.clip",
    *(f"loss.{term}" for term in LossConfig.terms()),
)
"""Fields that ``train.vary`` may vary: numbers, which a program can take as data."""


def validate(config: Config, more: Iterable[str] = ()) -> None:
    """Check a configuration.

    Args:
        config: to be checked.
        more: problems that others have found, for the same message.

    Raises:
        ValueError: one message that lists every problem with its valid choices.
    """
    if messages := [*problems(config), *more]:
        raise ValueError("invalid configuration:\n  " + "\n  ".join(messages))


def problems(config: Config) -> Iterable[str]:
    """Return every problem of a configuration, each as a message."""
    yield from value_problems(config)
    yield from data_problems(config)
    if config.model.name not in MODEL_CONFIGS:
        yield (
            f"model.name={config.model.name!r}: "
            f"{nearest(config.model.name, MODEL_CONFIGS)}"
        )
    yield from config.model.problems(config)
    yield from optim_problems(config.optim)
    yield from train_problems(config)
    if not 0 <= config.eval.overlap < 1:
        yield f"eval.overlap={config.eval.overlap} must be in [0, 1)"
    yield from live_problems(config.live)


def value_problems(node: Any, prefix: str = "") -> Iterable[str]:
    """Return fields with values that their types exclude (choices, signs)."""
    for field in dataclasses.fields(node):
        path, value = f"{prefix}{field.name}", getattr(node, field.name)
        choices = field.metadata.get("choices")
        if dataclasses.is_dataclass(value):
            yield from value_problems(value, f"{path}.")
        elif choices and value not in choices:
            yield f"{path}={value!r}: {nearest(str(value), map(str, choices))}"
        elif "positive" in field.metadata and not 0 < value < math.inf:
            yield f"{path}={value!r} must be positive"


def data_problems(config: Config) -> Iterable[str]:
    """Return the problems of the section ``data``."""
    data: DataConfig = config.data
    if not data.sources:
        yield "data.sources names no class"
    for problem in name_problems(data.sources):
        yield f"data.sources: {problem}"
    if not 0 < data.gain_low <= data.gain_high:
        yield f"data.gain_low={data.gain_low} must be in (0, {data.gain_high=}]"
    if data.songs < 0:
        yield f"data.songs={data.songs} must be 0, for all, or more"
    if data.valid_seconds < 0:
        yield f"data.valid_seconds={data.valid_seconds} must be 0 or more"
    if not 0 <= data.shuffle_fraction <= 1:
        yield f"data.shuffle_fraction={data.shuffle_fraction} must be in [0, 1]"
    if data.swap_channels and config.model.audio_channels == 1:
        yield (
            "data.swap_channels exchanges left and right, which a mono model does not "
            "hear: set model.audio_channels=2"
        )


def train_problems(config: Config) -> Iterable[str]:
    """Return the problems of the section ``train``."""
    train: TrainConfig = config.train
    if train.steps < 0 or (train.steps == 0 and not train.pretrained_from):
        yield (
            f"train.steps={train.steps} must be positive, or 0 with "
            "train.pretrained_from, which is then kept as it is"
        )
    if (train.freeze or train.fit) and not train.pretrained_from:
        yield (
            "train.freeze and train.fit keep parts as they are: name "
            "train.pretrained_from"
        )
    if train.batch_size % max(train.accumulate, 1):
        yield (
            f"train.batch_size={train.batch_size} must be a multiple of "
            f"train.accumulate={train.accumulate}"
        )
    if 0 < train.steps <= config.optim.warmup_steps:
        yield (
            f"optim.warmup_steps={config.optim.warmup_steps} must be below "
            f"train.steps={train.steps}"
        )
    entries = [entry.partition("=") for entry in filter(None, train.vary.split(","))]
    names = [name for name, _, _ in entries]
    for name in names:
        if name not in VARIABLE:
            yield f"train.vary: {name!r} cannot vary: {nearest(name, VARIABLE)}"
        if names.count(name) > 1:
            yield f"train.vary names {name!r} more than once"
    for name, _, values in entries:
        yield from _vary_problems(name, values)


def _vary_problems(name: str, values: str) -> Iterable[str]:
    parts = values.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        yield (
            f"train.vary: '{name}={values}' is not field=value:value, such as "
            "optim.lr=1e-3:3e-3"
        )
        return
    if len({f"{number:g}" for number in numbers}) < len(numbers):
        yield f"train.vary: '{name}={values}' names a value twice (six digits count)"
    if not all(0 <= number < float("inf") for number in numbers):
        yield f"train.vary: '{name}={values}' must be finite and not negative"
    if not all(numbers) and name in ("optim.lr", "optim.clip"):
        yield f"train.vary: '{name}={values}' must be positive"


def optim_problems(optim: OptimConfig) -> Iterable[str]:
    """Return the problems of the section ``optim``."""
    if not 0 <= optim.ema < 1:
        yield f"optim.ema={optim.ema} must be in [0, 1)"
    for name in ("warmup_steps", "cosine_steps", "weight_decay", "clip"):
        if not 0 <= getattr(optim, name) < math.inf:
            yield f"optim.{name}={getattr(optim, name)} must be finite, 0 or more"


def live_problems(live: LiveConfig) -> Iterable[str]:
    """Return every problem of the section, each as a message.

    Example:
        >>> list(live_problems(LiveConfig(bleed_low=-5.0)))
        ['live.bleed_low=-5.0 must not exceed live.bleed_high=-15.0']
    """
    for name in ("bleed", "reverb", "direct", "crowd"):
        low, high = (getattr(live, f"{name}_{end}") for end in ("low", "high"))
        yield from _bound_problems(name, low, high)
    if live.bleed_high > 0:
        yield f"live.bleed_high={live.bleed_high} must be 0 or less, in dB"
    if live.reverb_low <= 0 and (live.reverb_low or live.reverb_high) != 0:
        yield f"live.reverb_low={live.reverb_low} must be positive, or both bounds 0"
    if live.impulse_responses and live.reverb_high == 0:
        yield "live.impulse_responses names halls, live.reverb_high=0 wants none"
    if live.crowd_recordings and live.crowd_low == math.inf:
        yield "live.crowd_recordings names audiences, live.crowd_low=inf wants none"
    recordings = live.impulse_responses or live.crowd_recordings
    if recordings and not (live.train or live.eval):
        yield (
            "live.impulse_responses and crowd_recordings are for live.train=True or "
            "live.eval=True"
        )


def _bound_problems(name: str, low: float, high: float) -> Iterable[str]:
    fields = f"live.{name}_low={low} and live.{name}_high={high}"
    finite = math.isfinite(low) and math.isfinite(high)
    if not low <= high:
        yield f"live.{name}_low={low} must not exceed live.{name}_high={high}"
    elif not finite and not low == high == OFF.get(name):
        off = f", or both {OFF[name]}" if name in OFF else ""
        yield f"{fields} must be finite{off}"
