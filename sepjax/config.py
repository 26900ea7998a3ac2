"""Typed configuration of a run, and the one place where thesis letters live.

A configuration is a tree of plain mutable dataclasses, so that absl's config flags
can override any field (``--config.model.L=25``). Fields are never ``None``: a
sentinel ("none", "auto", 0) says so, because flags cannot spell ``None``.
:func:`validate` reports *all* problems of a configuration in one message.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

from sepjax.registry import nearest


@dataclasses.dataclass
class DataConfig:
    """What is heard: the dataset, its rate, the classes and the augmentation."""

    dataset: str = "demo"  # a name of data_pipelines.registry.DATASETS
    root: str = ""  # folder of the dataset; empty for the embedded demo music
    feeder: str = "resident"  # resident (on device) | streaming (tf.data)
    sample_rate: int = 8000  # Hz; audio of another rate is resampled once
    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    chunk_seconds: float = 8.0  # Table A.1 time_length
    channel: str = "random"  # random | mean | left | right: how stereo becomes mono
    gain_low: float = 0.75  # training gain of every source, uniform (thesis 5.1)
    gain_high: float = 1.25
    shuffle_fraction: float = 0.5  # part of the batch whose sources are shuffled


@dataclasses.dataclass(unsafe_hash=True)
class ModelConfig:
    """Architecture, in the letters of the thesis' Table A.1.

    It hashes by value, so that a model that holds one can be a static argument of
    ``jit``; a model holds a copy of its own.
    """

    name: str = "tasnet"  # a name of sepjax.models.MODELS
    encoding: str = "hybrid"  # simple | filterbanks | hybrid
    decoder: str = "auto"  # auto | conv | filterbank
    ideal_mask: bool = False  # FB-IRM oracle separator (eq. 5.1) instead of the TCN
    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")  # set from data
    sample_rate: int = 8000  # Hz, for filter initialisation; set from data
    N: int = 440  # channels of the latent encoding
    L: int = 20  # encoder kernel, samples
    W: int = 20  # encoder stride, samples
    B: int = 160  # bottleneck and skip channels
    H: int = 160  # hidden channels of a block
    kernel: int = 3  # depthwise kernel P
    layers: int = 10  # blocks per stack X, dilations 1, 2, 4, ...
    stack: int = 4  # stacks R
    causal: bool = False  # causal convolutions, cumulative norms
    norm: str = "global"  # global | cumulative | group, inside the TCN
    mask_act: str = "sigmoid"  # sigmoid | softmax | relu
    fb_type: str = "pmpgtf"  # param_sinc | pmpgtf | conv
    fb_ratio: float = 0.5  # share of filterbank channels in a hybrid encoder
    filters: int = 1  # hybrid layers F, kernels doubling
    init_type: str = "mel"  # mel | uniform | multiphase
    who_is_pinv: str = "none"  # none | dec | enc: which side is the pseudo-inverse
    gammatone_init: bool = False  # fill a free convolution with gammatone taps
    phase: str = "analytic"  # analytic (even and odd pairs) | even: sinc filters
    normalize: str = "rms"  # rms | none: gammatone gain
    compute_dtype: str = "float32"  # float32 | bfloat16: the separator's matmuls
    consistency: bool = False  # spread the residual so that estimates sum to the mix
    audio_channels: int = 1  # 2: a stereo model, for imported weights; training is mono
    encoder_act: str = "none"  # none | relu, on bank encoders
    input_norm: str = "global"  # global | frame | cumulative, before the bottleneck
    skip: bool = True  # False: masks from the last residual, as in the music variant
    bias: bool = True  # biases of the separator's convolutions


@dataclasses.dataclass
class OptimConfig:
    """Optimiser, decay and the plateau schedule."""

    optimizer: str = "adam"  # a name of sepjax.train.optim.OPTIMIZERS
    lr: float = 1e-3
    weight_decay: float = 5e-4
    weight_decay_kind: str = "decoupled"  # decoupled (AdamW) | l2 (torch's Adam)
    clip: float = 5.0  # global gradient norm; 0: off
    lr_decay_gamma: float = 0.5  # plateau factor
    lr_decay_patience: int = 3  # evaluations without improvement that are tolerated
    lr_decay_cooldown: int = 0
    plateau_threshold: float = 1e-4  # absolute improvement that counts, dB


@dataclasses.dataclass
class TrainConfig:
    """Length and bookkeeping of a run, all in optimiser steps."""

    steps: int = 1000
    batch_size: int = 4
    eval_every: int = 100
    checkpoint_every: int = 100
    log_every: int = 10
    seeds: int = 1
    early_stop: int = 0  # evaluations without improvement before stopping; 0: never


@dataclasses.dataclass
class EvalConfig:
    """What the final scores are computed on, and what the report plays."""

    split: str = "test"
    chunk_seconds: float = 8.0  # length of the pieces separated at once
    overlap: float = 0.25  # share of a piece that is cross-faded
    oracle_power: float = 2.0  # exponent alpha of the ideal ratio mask
    excerpts: int = 3  # players per report
    excerpt_seconds: float = 8.0


@dataclasses.dataclass
class Config:
    """Everything that defines a run; stored in its folder and its checkpoints."""

    name: str = "base"
    seed: int = 42
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)


CHOICES = {
    "data.feeder": ("resident", "streaming"),
    "data.channel": ("random", "mean", "left", "right"),
    "model.decoder": ("auto", "conv", "filterbank"),
    "model.norm": ("global", "cumulative", "group"),
    "model.mask_act": ("sigmoid", "softmax", "relu"),
    "model.fb_type": ("param_sinc", "pmpgtf", "conv"),
    "model.init_type": ("mel", "uniform", "multiphase"),
    "model.who_is_pinv": ("none", "dec", "enc"),
    "model.phase": ("analytic", "even"),
    "model.encoder_act": ("none", "relu"),
    "model.input_norm": ("global", "frame", "cumulative"),
    "model.audio_channels": (1, 2),
    "model.normalize": ("rms", "none"),
    "model.compute_dtype": ("float32", "bfloat16"),
    "optim.weight_decay_kind": ("decoupled", "l2"),
    "eval.split": ("train", "valid", "test"),
}

POSITIVE = (
    *(f"data.{name}" for name in ("sample_rate", "chunk_seconds")),
    *(f"model.{name}" for name in ("N", "L", "W", "B", "H", "kernel")),
    *(f"model.{name}" for name in ("layers", "stack", "filters")),
    "optim.lr",
    *(
        f"train.{name}"
        for name in ("steps", "batch_size", "eval_every", "checkpoint_every")
    ),
    *(f"train.{name}" for name in ("log_every", "seeds")),
    *(f"eval.{name}" for name in ("chunk_seconds", "excerpt_seconds")),
)


def get_field(config: Config, path: str) -> Any:
    """The value at a dotted path, such as ``"model.L"``."""
    value = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


def to_dict(config: Config) -> dict[str, Any]:
    """Plain JSON-ready nested dictionaries."""
    tree = dataclasses.asdict(config)
    for section in ("data", "model"):
        tree[section]["sources"] = list(tree[section]["sources"])
    return tree


def from_dict(tree: dict[str, Any]) -> Config:
    """Inverse of :func:`to_dict`.

    Raises:
        ValueError: a field is not known; the nearest names are suggested.

    Example:
        >>> from_dict({"seed": 7, "model": {"L": 16}}).model.L
        16
    """
    return _fill(Config(), tree, "")


def _fill(node: Any, tree: dict[str, Any], prefix: str) -> Any:
    known = {field.name for field in dataclasses.fields(node)}
    for name, value in tree.items():
        if name not in known:
            raise ValueError(f"unknown field '{prefix}{name}': {nearest(name, known)}")
        current = getattr(node, name)
        if dataclasses.is_dataclass(current) and not isinstance(value, dict):
            raise ValueError(f"'{prefix}{name}' is a section: set one of its fields")
        if dataclasses.is_dataclass(current):
            _fill(current, value, f"{prefix}{name}.")
        else:
            setattr(node, name, tuple(value) if isinstance(value, list) else value)
    return node


def differences(old: Config, new: Config) -> list[str]:
    """Lines ``field: old -> new`` for every field in which two configs differ."""
    flat_old, flat_new = (dict(_flatten(to_dict(c))) for c in (old, new))
    return [
        f"{name}: {flat_old.get(name)!r} -> {flat_new.get(name)!r}"
        for name in sorted(flat_old | flat_new)
        if flat_old.get(name) != flat_new.get(name)
    ]


def _flatten(tree: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def resolve(config: Config) -> Config:
    """A validated copy whose model knows the classes and the rate of the data.

    Raises:
        ValueError: as :func:`validate`.
    """
    config = from_dict(to_dict(config))
    # A flag turns --config.data.sources=vocals,bass into the one name "vocals,bass".
    names = (part for name in config.data.sources for part in name.split(","))
    config.data.sources = tuple(name.strip() for name in names)
    config.model.sources = config.data.sources
    config.model.sample_rate = config.data.sample_rate
    validate(config)
    return config


def validate(config: Config) -> None:
    """Check a configuration.

    Raises:
        ValueError: one message that lists every problem with its valid choices.
    """
    problems = [
        f"{path}={value!r}: {nearest(str(value), map(str, choices))}"
        for path, choices in CHOICES.items()
        if (value := get_field(config, path)) not in choices
    ]
    problems += [
        f"{path}={get_field(config, path)!r} must be positive"
        for path in POSITIVE
        if not get_field(config, path) > 0
    ]
    problems += list(_data_problems(config.data)) + list(_model_problems(config))
    if problems:
        raise ValueError("invalid configuration:\n  " + "\n  ".join(problems))


def _data_problems(data: DataConfig) -> Iterable[str]:
    if not data.sources or len(set(data.sources)) != len(data.sources):
        yield f"data.sources={data.sources!r} must name each class once"
    if not 0 < data.gain_low <= data.gain_high:
        yield f"data.gain_low={data.gain_low} must be in (0, {data.gain_high=}]"
    if not 0 <= data.shuffle_fraction <= 1:
        yield f"data.shuffle_fraction={data.shuffle_fraction} must be in [0, 1]"


def _model_problems(config: Config) -> Iterable[str]:
    rules = (*_encoding_rules(config.model), *_network_rules(config))
    return [message for wrong, message in rules if wrong]


def _encoding_rules(model: ModelConfig) -> tuple[tuple[bool, str], ...]:
    inverse, encoding = model.who_is_pinv, model.encoding
    return (
        (
            not 0 <= model.fb_ratio <= 1,
            f"model.fb_ratio={model.fb_ratio} must be in [0, 1]",
        ),
        (
            encoding == "filterbanks" and model.fb_type == "conv",
            "model.encoding='filterbanks' needs fb_type param_sinc or pmpgtf",
        ),
        (
            inverse != "none" and encoding == "simple",
            "model.who_is_pinv needs a filterbank: encoding filterbanks or hybrid",
        ),
        (
            inverse != "none" and model.decoder == "conv",
            "model.who_is_pinv and model.decoder='conv' exclude each other",
        ),
        (
            inverse == "enc" and encoding == "hybrid",
            "model.who_is_pinv='enc' is for encoding='filterbanks'",
        ),
        (
            encoding == "simple" and model.decoder == "filterbank",
            "model.decoder='filterbank' needs encoding filterbanks or hybrid",
        ),
        (
            model.fb_type == "param_sinc" and model.init_type == "multiphase",
            "model.init_type='multiphase' is for gammatones (fb_type='pmpgtf')",
        ),
    )


def _network_rules(config: Config) -> tuple[tuple[bool, str], ...]:
    model = config.model
    return (
        (
            model.kernel % 2 == 0 and not model.causal,
            f"model.kernel={model.kernel} must be odd unless model.causal",
        ),
        (
            model.L < model.W,
            f"model.L={model.L} is below model.W={model.W}: samples are skipped",
        ),
        (
            model.audio_channels != 1,
            "model.audio_channels=2: training is mono so far; build_model makes stereo "
            "models",
        ),
        (
            model.norm == "group" and model.H % 8 != 0,
            f"model.norm='group' needs H={model.H} to be a multiple of 8",
        ),
        (
            model.causal
            and (model.norm != "cumulative" or model.input_norm == "global"),
            "model.causal needs norm='cumulative', input_norm='cumulative' or 'frame'",
        ),
        (
            config.train.seeds != 1,
            "train.seeds: one seed a run so far; start a run for each --config.seed",
        ),
        (
            not 0 <= config.eval.overlap < 1,
            f"eval.overlap={config.eval.overlap} must be in [0, 1)",
        ),
    )
