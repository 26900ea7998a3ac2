"""Typed configuration of a run, one dataclass per section.

A configuration is a tree of plain mutable dataclasses, so that absl's config flags
can override any field (``--config.model.L=25``). Fields are never ``None``: a
sentinel ("none", "auto", 0) says so, because flags cannot spell ``None``. A field may
say which values it takes (:func:`choice`, :func:`positive`).

``config.model`` is an instance of the family's own class, beside its model: a subclass
of :class:`ModelConfig` in :data:`MODEL_CONFIGS`.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable
from typing import Any, ClassVar

from sepjax.registry import Registry

MODEL_CONFIGS = Registry("model", package="sepjax.models", module="config*")
"""Model families: ``MODEL_CONFIGS.find(name)`` is the class of their configuration."""


def choice(*names: Any, role: str = "") -> Any:
    """A field that takes one of some values; the first is the default.

    ``role`` as in :class:`ModelConfig`.
    """
    facts = {"choices": names, "role": role}
    return dataclasses.field(default=names[0], metadata=facts)


def positive(default: float, role: str = "", most: float = math.inf) -> Any:
    """A field that takes numbers above zero, up to ``most``, as layers are compiled."""
    facts = {"positive": 1, "most": most, "role": role}
    return dataclasses.field(default=default, metadata=facts)


def share(default: float, below: float = 1) -> Any:
    """A field that takes numbers from zero on, below one or less."""
    return dataclasses.field(default=default, metadata={"below": below})


def setting(default: Any, role: str) -> Any:
    """A field that takes any value, with a role."""
    return dataclasses.field(default=default, metadata={"role": role})


@dataclasses.dataclass
class DataConfig:
    """The audio: the dataset, its rate, the classes and the augmentation."""

    dataset: str = "demo"  # a name of data_pipelines.registry.DATASETS
    root: str = ""  # folder of the dataset; empty for the embedded demo music
    feeder: str = choice("resident", "streaming", "tf_data")
    sample_rate: int = positive(
        8000, most=1_000_000
    )  # Hz; audio of another rate is resampled once
    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    sums: tuple[str, ...] = ()  # classes made of others: accompaniment=drums+bass+other
    missing: str = choice("error", "silence", "skip")  # songs without a class's file
    chunk_seconds: float = positive(8.0)  # Table A.1 time_length
    valid_seconds: float = 0.0  # length of validation chunks; 0: chunk_seconds
    all_sound: bool = False  # only chunks in which every class sounds half of the time
    channel: str = choice("random", "mean", "left", "right")  # of stereo, for mono
    mix: str = choice("track", "random")  # sources of one song, or each of any song
    swap_channels: bool = False  # left and right of a source, at random (stereo)
    normalize: bool = True  # False: chunks as loud as recorded, for losses on spectra
    gain_low: float = 0.75  # training gain of every source, uniform (thesis 5.1)
    gain_high: float = 1.25
    songs: int = 0  # of the training split, the first ones; 0: all
    speeds: tuple[float, ...] = ()  # at which songs train as well, pitch and tempo
    shuffle_fraction: float = 0.5  # part of the batch whose sources are shuffled
    allow_overlap: bool = False  # train although test songs are among those trained on

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The classes of the data set that each of ``sources`` is the sum of."""
        made = {name: text for name, _, text in (s.partition("=") for s in self.sums)}
        return {name: tuple(made.get(name, name).split("+")) for name in self.sources}

    def sums_of(self, classes: Collection[str]) -> tuple[str, ...]:
        """Return the sums of those classes that songs have, where they lack a source.

        Example:
            >>> data = DataConfig(sources=("a", "b"), sums=("b=drums+bass",))
            >>> data.sums_of({"a", "drums"}), data.sums_of({"a", "b", "drums"})
            (('b=drums',), ())
        """
        absent = {n: parts for n, parts in self.members.items() if n not in classes}
        texts = {n: "+".join(p for p in ps if p in classes) for n, ps in absent.items()}
        return tuple(f"{name}={text}" for name, text in texts.items() if text)

    @property
    def recorded(self) -> tuple[str, ...]:
        """The classes of the data set that are read, each once.

        Example:
            >>> DataConfig(sources=("a", "b"), sums=("b=drums+bass",)).recorded
            ('a', 'drums', 'bass')
        """
        return tuple(dict.fromkeys(n for group in self.members.values() for n in group))


@dataclasses.dataclass(unsafe_hash=True)
class ModelConfig:
    """What the configurations of all model families share.

    A family subclasses it beside its model, in a module that does not import jax, and
    registers the class under its ``name``. It hashes by value, so that a model that
    holds one can be a static argument of ``jit``; a model holds a copy of its own.

    The role of a field says what it means to trained parameters: fields of role
    "separator" say nothing about an encoder and a decoder, those of role "free" may
    differ between a model and the one whose parameters it takes over.
    """

    objective: ClassVar[str] = "si_sdr"  # the loss that loss.name="auto" means
    # Each source has a network of its own, as one part of the leading axis of all
    # parameters and collections, on which alone its part of ``objective`` depends.
    per_source: ClassVar[bool] = False
    former: ClassVar[dict[str, str]] = {}  # names of fields in old runs -> their names
    family: ClassVar[str] = ""  # its folder, where systems of several names share one

    name: str = ""  # a name of MODEL_CONFIGS
    audio_channels: int = choice(1, 2)  # 2: stereo, both channels at once
    compute_dtype: str = choice("float32", "bfloat16", role="free")  # matmuls

    def problems(self, config: "Config") -> Iterable[str]:
        """Return every problem of the family's fields, each as a message."""
        return ()

    @classmethod
    def ready(cls) -> "Config | None":
        """Return the configuration of a system that separates without training."""
        return None

    @property
    def sources_by_name(self) -> bool:
        """Whether parameters of a source are found by its name in another model."""
        return False

    def extends(self, new: "Config", old: "Config") -> tuple[str, ...]:
        """Return fields, with sections, in which ``new`` has ``old`` as a part."""
        return ()


@dataclasses.dataclass
class LossConfig:
    """The loss that training minimises."""

    name: str = "auto"  # of sepjax.losses.LOSSES, or a sum: l1+0.5*l1_snr; the family's
    over_sources: str = choice("auto", "mean", "sum")  # auto: as the loss does
    # Weights of the terms of meta_tasnet
    dissimilarity: float = 0.0  # of the resemblance of different sources
    similarity: float = 0.0  # of the resemblance of a source to itself, elsewhere
    reconstruction: float = 0.0  # of the SI-SDR of the mixture that is not masked

    @classmethod
    def terms(cls) -> tuple[str, ...]:
        """Return the fields that weigh terms of a loss: all numbers."""
        return tuple(f.name for f in dataclasses.fields(cls) if f.type is float)


@dataclasses.dataclass
class OptimConfig:
    """Optimiser, decay and the schedule of the learning rate."""

    optimizer: str = "adam"  # adam, radam, ranger, or one of optax (optax.contrib)
    lr: float = positive(1e-3)
    weight_decay: float = 5e-4
    weight_decay_kind: str = choice("decoupled", "l2")  # AdamW, or torch's Adam
    decay: str = choice("kernels", "all")  # what decays, of what is trained
    clip: float = 5.0  # global gradient norm; 0: off
    ema: float = share(
        0.0
    )  # decay of the parameters' average, which is scored; 0: none
    schedule: str = choice("plateau", "restarts", "cosine")  # what lowers the rate
    warmup_steps: int = 0  # steps in which the rate grows linearly from zero
    cosine_steps: int = 0  # steps until the cosine ends at zero; 0: train.steps
    restart_every: int = positive(200_000)  # steps along a cosine until it starts again
    restart_decay: float = positive(0.85)  # factor of the rate from restart to restart
    lr_decay_gamma: float = 0.5  # plateau factor
    lr_decay_patience: int = 3  # evaluations without improvement that are tolerated
    lr_decay_cooldown: int = 0
    plateau_threshold: float = 1e-4  # improvement that counts
    plateau_mode: str = choice("abs", "rel")  # dB of SI-SDR, share of the best loss


@dataclasses.dataclass
class TrainConfig:
    """Length and bookkeeping of a run, all in optimiser steps."""

    steps: int = 1000  # 0: pretrained_from is applied as it is
    batch_size: int = positive(4)  # of all devices and microbatches
    accumulate: int = positive(1)  # microbatches of a step, which save memory
    parallel: str = choice("jit", "pmap")  # form of the program for several devices
    eval_every: int = positive(100)
    checkpoint_every: int = positive(100)
    # Above 0: excerpts of each training song that make an epoch, and steps, eval_every
    # and checkpoint_every count epochs. A run stores them in steps (epochs_in_steps).
    epoch_samples: int = 0
    log_every: int = positive(10)
    seeds: int = positive(
        1, most=1000
    )  # trained side by side in one program: seed, seed + 1, ...
    vary: str = ""  # values side by side too: optim.lr=1e-3:1e-2,optim.clip=1:5
    pretrained_from: str = ""  # run folder whose parameters this run starts from
    lora: int = 0  # rank of what is learned of pretrained matrices; 0: all is
    freeze: tuple[str, ...] = ()  # parts that stay as they are: encoder, decoder, ...
    fit: tuple[str, ...] = ()  # parts that alone are trained; embedding: new sources'
    # Distillation: a model's name or run folder, whose stems are learned from too
    teacher: str = ""
    teacher_music: str = ""  # folder of recordings that it separates as well
    teacher_share: float = positive(0.5, most=1)  # of the songs that are drawn
    statistics_excerpts: int = positive(5000)  # heard before training
    early_stop: int = 0  # evaluations without improvement before stopping; 0: never
    # auto: where sources have networks of their own, and the family's loss is trained,
    # each has its own learning rate, clipping, early stop and best parameters
    per_source: str = choice("auto", "no")


@dataclasses.dataclass
class EvalConfig:
    """The tracks and metrics of the final scores, and the excerpts of the report."""

    metrics: tuple[str, ...] = ("sdr", "isr", "sir", "sar", "si_sdr", "usdr")
    split: str = choice("test", "train", "valid")
    chunk_seconds: float = positive(8.0, most=3600)  # of a piece separated at once
    overlap: float = share(0.25, below=0.99)  # share of a piece that is cross-faded
    rescale: bool = True  # fit estimates to the mixture; for losses that know no scale
    oracle_power: float = 2.0  # exponent alpha of the ideal ratio mask
    excerpts: int = 3  # players per report
    excerpt_seconds: float = positive(8.0)


@dataclasses.dataclass
class LiveConfig:
    """Concerts made of clean stems: bleed, hall and audience, drawn between bounds."""

    train: bool = False  # excerpts of training and validation are made live
    eval: bool = False  # the songs that are scored are
    targets: str = choice("recorded", "clean")  # references: with bleed and hall, not
    bleed_low: float = -30.0  # dB, gain of a source at another's microphone
    bleed_high: float = -15.0  # both -inf: no bleed
    reverb_low: float = 0.6  # seconds in which the hall's sound falls by 60 dB
    reverb_high: float = 1.8  # both 0: no hall
    direct_low: float = 9.0  # dB, direct over reverberant energy at a microphone
    direct_high: float = 18.0
    crowd_low: float = 15.0  # dB, of the audience below the music
    crowd_high: float = 35.0  # both inf: no audience
    impulse_responses: str = ""  # folder of halls; empty: synthetic ones
    crowd_recordings: str = ""  # folder of audiences; empty: a synthetic one


@dataclasses.dataclass
class Config:
    """Everything that defines a run; stored in its folder and its checkpoints."""

    name: str = "base"
    seed: int = 42
    extensions: tuple[str, ...] = ()  # modules with losses, models ... of one's own
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    live: LiveConfig = dataclasses.field(default_factory=LiveConfig)

    @property
    def per_source(self) -> bool:
        """Whether the network of each source is trained as if it were alone."""
        own = self.loss.name in ("auto", self.model.objective)
        return own and self.model.per_source and self.train.per_source == "auto"
