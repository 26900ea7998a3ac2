"""What the sections ``train`` and ``optim`` of a configuration may say together."""

import math
from collections.abc import Iterable

from sepjax.config.schema import Config, OptimConfig
from sepjax.registry import nearest

VARIABLE = (
    *("optim.lr", "optim.weight_decay", "optim.clip"),
    *("loss.dissimilarity", "loss.similarity", "loss.reconstruction"),
)
"""Fields that ``train.vary`` may vary: numbers, which a program can take as data."""


def train_problems(config: Config) -> Iterable[str]:
    """Every problem of training and optimiser, as a message of its own."""
    size, parts = config.train.batch_size, config.train.accumulate
    if size % max(parts, 1):
        yield f"train.batch_size={size} must be a multiple of train.accumulate={parts}"
    yield from _optim_problems(config.optim)
    if 0 < config.train.steps <= config.optim.warmup_steps:
        yield (
            f"optim.warmup_steps={config.optim.warmup_steps} must be below "
            f"train.steps={config.train.steps}"
        )
    if config.optim.plateau_mode == "rel" and config.model.name != "open_unmix":
        yield (
            "optim.plateau_mode='rel' takes worse for better where losses are "
            "negative, as SI-SDR's are: use 'abs'"
        )
    entries = list(filter(None, config.train.vary.split(",")))
    names = [entry.partition("=")[0] for entry in entries]
    for name in names:
        if name not in VARIABLE:
            yield f"train.vary: {name!r} cannot vary: {nearest(name, VARIABLE)}"
        if names.count(name) > 1:
            yield f"train.vary names {name!r} more than once"
    if any(name.startswith("loss.") for name in names) and (
        config.model.name != "meta_tasnet"
    ):
        yield "train.vary: weights of losses are for model.name='meta_tasnet'"
    for entry in entries:
        yield from _value_problems(*entry.partition("=")[::2])


def _value_problems(name: str, values: str) -> Iterable[str]:
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


def _optim_problems(optim: OptimConfig) -> Iterable[str]:
    if not 0 <= optim.ema < 1:
        yield f"optim.ema={optim.ema} must be in [0, 1)"
    for name in ("warmup_steps", "cosine_steps", "weight_decay", "clip", "lr"):
        if not 0 <= getattr(optim, name) < math.inf:
            yield f"optim.{name}={getattr(optim, name)} must be finite, 0 or more"
