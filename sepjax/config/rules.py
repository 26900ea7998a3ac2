"""What a configuration may say: choices, ranges and which fields go together.

:func:`validate` reports *all* problems of a configuration in one message. There is one
function for each section; what a family of models may say is with its configuration
(:meth:`sepjax.config.schema.ModelConfig.problems`).
"""

import dataclasses
import math
import operator
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sepjax.config.schema import (
    MODEL_CONFIGS,
    Config,
    DataConfig,
    LiveConfig,
    LossConfig,
    TrainConfig,
)
from sepjax.registry import name_problems, nearest

OFF = {"bleed": -math.inf, "direct": math.inf, "crowd": math.inf}
"""Bounds that, given for both, leave something out."""

try:
    import resource
except ImportError:
    resource = None  # type: ignore[assignment]

PLAIN = ("data.", "optim.", "train.", "eval.")
LARGEST = 2**31 - 1
"""Of integers: devices count in 32 bits."""
SIZE = 2**20
"""Of numbers in a model: channels, taps and layers are far below."""

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
    yield from train_problems(config)
    yield from memory_problems(config)
    yield from live_problems(config.live)


def value_problems(node: Any, prefix: str = "") -> Iterable[str]:
    """Return fields with values that their types exclude (choices, signs, sizes)."""
    for field in dataclasses.fields(node):
        path, value = f"{prefix}{field.name}", getattr(node, field.name)
        choices = field.metadata.get("choices")
        if dataclasses.is_dataclass(value):
            yield from value_problems(value, f"{path}.")
        elif choices and value not in choices:
            yield f"{path}={value!r}: {nearest(str(value), map(str, choices))}"
        elif isinstance(value, int | float):
            yield from _number_problems(path, value, field.metadata)


def _number_problems(
    path: str, value: float, facts: Mapping[str, Any]
) -> Iterable[str]:
    most = facts.get("most", math.inf)
    most = SIZE if "model." in path and most == math.inf else most
    if "positive" in facts and not 0 < value < math.inf:
        yield f"{path}={value!r} must be positive"
    elif "below" in facts and not 0 <= value < facts["below"]:
        yield f"{path}={value!r} must be in [0, {facts['below']})"
    elif value != value or (isinstance(value, int) and abs(value) > LARGEST):
        if path != "seed" or not 0 <= value < 2**63:
            yield f"{path}={value!r} must be a number up to {LARGEST}"
    elif value > most:
        yield f"{path}={value!r} must be at most {most}"
    # Levels in decibels may be negative, and families have numbers of their own.
    elif path.startswith(PLAIN) and not 0 <= value < math.inf:
        yield f"{path}={value!r} must be finite, 0 or more"


def data_problems(config: Config) -> Iterable[str]:
    """Return the problems of the section ``data``."""
    data: DataConfig = config.data
    if not data.sources:
        yield "data.sources names no class"
    if "mixture" in {*data.sources, *data.recorded}:
        yield "data.sources: 'mixture' is the file of all classes together"
    for problem in name_problems(data.sources):
        yield f"data.sources: {problem}"
    yield from sum_problems(config)
    if not 0 < data.gain_low <= data.gain_high:
        yield f"data.gain_low={data.gain_low} must be in (0, {data.gain_high=}]"
    if wrong := [s for s in data.speeds if not 0.25 <= s <= 4 or s == 1]:
        yield f"data.speeds: {wrong[0]} must be in [0.25, 4], and 1 is always there"
    if len({*data.speeds}) < len(data.speeds):
        yield "data.speeds names one more than once"
    if not 0 <= data.shuffle_fraction <= 1:
        yield f"data.shuffle_fraction={data.shuffle_fraction} must be in [0, 1]"
    if data.swap_channels and config.model.audio_channels == 1:
        yield (
            "data.swap_channels exchanges left and right, which a mono model does not "
            "hear: set model.audio_channels=2"
        )


def sum_problems(config: Config) -> Iterable[str]:
    """Return the problems of classes that are sums of others.

    Example:
        >>> config = Config(data=DataConfig(sources=("a", "b"), sums=("b=a+c",)))
        >>> list(sum_problems(config))
        ["data.sums: 'a' is part of two classes"]
    """
    data, live = config.data, config.live
    made = [entry.partition("=")[0] for entry in data.sums]
    for name in {name: 0 for name in made if made.count(name) > 1}:
        yield f"data.sums: {name!r} is made twice"
    for entry in data.sums:
        name, equals, _ = entry.partition("=")
        if not equals or name not in data.sources:
            yield (
                f"data.sums: {entry!r} must be NAME=A+B with a name of data.sources: "
                f"{nearest(name, data.sources)}"
            )
    parts = [name for group in data.members.values() for name in group]
    yield from (f"data.sums: {problem}" for problem in name_problems(data.recorded))
    for name in data.recorded:
        if parts.count(name) > 1:
            yield f"data.sums: {name!r} is part of two classes"
    if data.sums and (live.train or live.eval):
        yield "data.sums goes with live.train=False and live.eval=False"


def train_problems(config: Config) -> Iterable[str]:
    """Return the problems of the section ``train``."""
    train: TrainConfig = config.train
    if train.steps < 0 or (train.steps == 0 and not train.pretrained_from):
        yield (
            f"train.steps={train.steps} must be positive, or 0 with "
            "train.pretrained_from, which is then kept as it is"
        )
    yield from _start_problems(train)
    if train.batch_size % max(train.accumulate, 1):
        yield (
            f"train.batch_size={train.batch_size} must be a multiple of "
            f"train.accumulate={train.accumulate}"
        )
    if 0 < train.steps <= config.optim.warmup_steps and not train.epoch_samples:
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


def _start_problems(train: TrainConfig) -> Iterable[str]:
    if (train.freeze or train.fit) and not train.pretrained_from:
        yield (
            "train.freeze and train.fit keep parts as they are: name "
            "train.pretrained_from"
        )
    if train.lora and not train.pretrained_from:
        yield (
            f"train.lora={train.lora} changes a trained model a little: name "
            "train.pretrained_from"
        )
    if train.teacher_music and not train.teacher:
        yield (
            f"train.teacher_music={train.teacher_music} is separated by a teacher: "
            "name train.teacher"
        )


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


def memory_problems(config: Config) -> Iterable[str]:
    """Return what needs more memory than this machine has, by a careful estimate.

    A batch is ``items * seconds * rate * (sources + 1) * channels`` floats of 4 bytes:
    the sources and their mixture. What training adds is left out, and what runs on
    several machines is not divided by their number.

    Example:
        >>> config = Config()
        >>> config.train.batch_size = 10**9
        >>> next(iter(memory_problems(config)))[:67]
        'train.batch_size=1000000000 times data.chunk_seconds=8.0 needs 1192'
    """
    data, channels = config.data, config.model.audio_channels
    second = data.sample_rate * (len(data.sources) + 1) * channels * 4
    pieces = (
        ("train.batch_size", config.train.batch_size, "data.chunk_seconds"),
        ("train.batch_size", config.train.batch_size, "data.valid_seconds"),
        ("", 1, "eval.chunk_seconds"),
        ("", 1, "eval.excerpt_seconds"),
    )
    memory = memory_bytes()
    for name, items, field in pieces:
        seconds = operator.attrgetter(field)(config)
        text = (
            f"{name}={items} times {field}={seconds}" if name else f"{field}={seconds}"
        )
        if items * seconds * second > memory:
            yield (
                f"{text} needs {items * seconds * second / 2**30:.1f} GiB at "
                f"data.sample_rate={data.sample_rate} for {len(data.sources)} sources, "
                f"this machine has {memory / 2**30:.1f} GiB: choose less"
            )
        elif 0 < seconds * data.sample_rate < 1:
            yield f"{text} is less than a sample at data.sample_rate={data.sample_rate}"


def memory_bytes() -> int:
    """Return the memory that this process may have: the machine's, or less (ulimit)."""
    if not hasattr(os, "sysconf"):  # Windows does not say
        return LARGEST**2
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        sizes.append(limit)
    container = Path("/sys/fs/cgroup/memory.max")
    if container.is_file() and (text := container.read_text().strip()).isdigit():
        sizes.append(int(text))
    return min(sizes)


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
