"""What the classical systems may be told; none of them but the dictionaries learns."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from sepjax.config import MODEL_CONFIGS, Config, ModelConfig, choice, positive, setting

VOICE = ("vocals", "accompaniment")
HARMONIC = ("percussive", "harmonic")
BACKING = ("accompaniment=drums+bass+other",)
DRUMS = ("percussive=drums", "harmonic=bass+other+vocals")


@dataclasses.dataclass(unsafe_hash=True)
class ClassicalConfig(ModelConfig):
    """What all share: windows, and how much of a song is heard at once."""

    family: ClassVar[str] = "classical"
    parts: ClassVar[tuple[str, ...]] = VOICE
    sums: ClassVar[tuple[str, ...]] = BACKING
    context: ClassVar[float] = 30.0  # seconds

    window: float = positive(0.046, most=1)  # seconds; to the nearest power of two
    overlap: int = choice(4, 2, 8, 16)  # windows over each sample

    @classmethod
    def ready(cls) -> Config | None:
        """Return the configuration of the system for music of MUSDB's classes."""
        config = Config(name=cls().name, model=cls())
        config.data.sources, config.data.sums = cls.parts, cls.sums
        config.data.sample_rate, config.data.missing = 44100, "silence"
        config.eval.chunk_seconds, config.eval.rescale = cls.context, False
        return config

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problem of a number of classes that the system does not have."""
        if len(config.data.sources) != len(self.parts):
            yield (
                f"model.name={self.name!r} separates {', '.join(self.parts)}: name as "
                "many classes in data.sources, in this order"
            )


@MODEL_CONFIGS.register("hpss")
@dataclasses.dataclass(unsafe_hash=True)
class MedianConfig(ClassicalConfig):
    """Harmonic-percussive separation by medians; a third class takes the residual."""

    parts: ClassVar[tuple[str, ...]] = HARMONIC
    sums: ClassVar[tuple[str, ...]] = DRUMS
    context: ClassVar[float] = 20.0

    name: str = setting("hpss", "free")
    window: float = positive(0.093, most=1)
    harmonic_seconds: float = positive(0.6)  # median along time
    percussive_hz: float = positive(300.0)  # median along frequency
    margin: float = positive(1.0)  # how much one part must exceed the other
    power: float = positive(1.0)  # of soft masks

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problem of a margin without a class for what it leaves over."""
        if len(config.data.sources) != 2 + (self.margin > 1) or self.margin < 1:
            yield (
                f"model.margin={self.margin}: 1 goes with two classes in data.sources, "
                "percussive and harmonic; above 1 a third one takes the residual"
            )


@MODEL_CONFIGS.register("repet")
@dataclasses.dataclass(unsafe_hash=True)
class RepetitionConfig(ClassicalConfig):
    """REPET: accompaniment is what comes again after one period."""

    name: str = setting("repet", "free")
    overlap: int = choice(2, 4, 8, 16)
    period_low: float = positive(0.8)  # seconds
    period_high: float = positive(8.0)
    highpass: float = 100.0  # Hz; what is below is no voice

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problem of periods of which the longest is below the shortest."""
        yield from super().problems(config)
        yield from self.period_problems()

    def period_problems(self) -> Iterable[str]:
        """Return the problem of the periods alone."""
        if not self.period_low < self.period_high:
            yield f"model.period_low={self.period_low} must be below model.period_high"


@MODEL_CONFIGS.register("adaptive_repet")
@dataclasses.dataclass(unsafe_hash=True)
class AdaptiveConfig(RepetitionConfig):
    """REPET with a period of each moment's own."""

    name: str = setting("adaptive_repet", "free")
    excerpt_seconds: float = positive(10.0)  # whose period is found
    reach: int = positive(2, most=31)  # periods before and after


@MODEL_CONFIGS.register("repet_sim")
@dataclasses.dataclass(unsafe_hash=True)
class SimilarityConfig(RepetitionConfig):
    """REPET-SIM: accompaniment is what comes again at any time."""

    context: ClassVar[float] = 60.0
    name: str = setting("repet_sim", "free")
    count: int = positive(25, most=101)  # frames whose median is taken
    distance: float = positive(1.0)  # seconds between them


@MODEL_CONFIGS.register("kam")
@dataclasses.dataclass(unsafe_hash=True)
class KernelConfig(AdaptiveConfig):
    """Kernel additive modelling; each class is a sum of kernels."""

    name: str = setting("kam", "free")
    kernels: tuple[str, ...] = ("smooth", "repetitive")  # percussive, harmonic: A+B
    iterations: int = positive(3, most=100)
    harmonic_seconds: float = positive(0.4)
    percussive_hz: float = positive(500.0)
    smooth_seconds: float = positive(0.07)  # arms of a cross
    smooth_hz: float = positive(150.0)

    def problems(self, config: Config) -> Iterable[str]:
        """Return kernels that are not known, or not one entry for each class."""
        yield from self.period_problems()
        known = {"smooth", "percussive", "harmonic", "repetitive"}
        names = [name for entry in self.kernels for name in entry.split("+")]
        if len(self.kernels) != len(config.data.sources) or not known >= {*names}:
            yield (
                f"model.kernels={self.kernels}: as many entries as data.sources, sums "
                f"of {', '.join(sorted(known))}"
            )


@MODEL_CONFIGS.register("projective_nmf")
@dataclasses.dataclass(unsafe_hash=True)
class ProjectiveConfig(ClassicalConfig):
    """Projective templates for held tones, wide bands for drums."""

    parts: ClassVar[tuple[str, ...]] = HARMONIC
    sums: ClassVar[tuple[str, ...]] = DRUMS
    name: str = setting("projective_nmf", "free")
    rank: int = positive(60, most=1000)  # templates of tones
    bands: int = positive(12, most=1000)  # of drums
    harmonic_seconds: float = positive(0.3)  # that tones last
    steps: int = positive(60, most=10_000)


@MODEL_CONFIGS.register("source_filter_nmf")
@dataclasses.dataclass(unsafe_hash=True)
class VoiceConfig(ClassicalConfig):
    """A voice of one pitch at a time, seen through filters; a few templates beside."""

    name: str = setting("source_filter_nmf", "free")
    rank: int = positive(40, most=1000)  # templates of the accompaniment
    filters: int = positive(12, most=1000)
    lowest: float = positive(100.0)  # Hz, pitches
    highest: float = positive(800.0)
    beta: int = choice(0, 1)  # divergence: 0 Itakura-Saito, 1 Kullback-Leibler
    steps: int = positive(40, most=10_000)

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problem of pitches of which the highest is below the lowest."""
        yield from super().problems(config)
        if not self.lowest < self.highest:
            yield f"model.lowest={self.lowest} must be below model.highest"


@MODEL_CONFIGS.register("nmf")
@dataclasses.dataclass(unsafe_hash=True)
class DictionaryConfig(ClassicalConfig):
    """Templates of each class, learned from its stems."""

    objective: ClassVar[str] = "classical"
    context: ClassVar[float] = 8.0
    name: str = setting("nmf", "free")
    rank: int = positive(32, most=1000)  # templates of a class
    beta: int = choice(1, 0)
    steps: int = setting(50, "free")  # updates of a song's activations
    adapted: str = ""  # a class whose templates every song finds anew

    @classmethod
    def ready(cls) -> None:
        """Return nothing: the templates are learned."""

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problem of a class that is none."""
        if self.adapted and self.adapted not in config.data.sources:
            yield f"model.adapted={self.adapted!r} is none of data.sources"
