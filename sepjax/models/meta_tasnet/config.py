"""The configuration of Meta-TasNet, in the letters of Conv-TasNet."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from sepjax.config import MODEL_CONFIGS, Config, ModelConfig, positive, setting


@MODEL_CONFIGS.register("meta_tasnet")
@dataclasses.dataclass(unsafe_hash=True)
class MetaTasNetConfig(ModelConfig):
    """Stages; N, L and W are those of the first one and double from it."""

    objective: ClassVar[str] = "meta_tasnet"

    name: str = setting("meta_tasnet", "free")
    N: int = positive(440)  # channels of the latent encoding
    L: int = positive(20)  # encoder kernel, samples
    W: int = positive(20)  # encoder stride, samples
    filters: int = positive(1, most=24)  # encoder's convolutions; kernels double
    B: int = positive(160)  # bottleneck and skip channels
    H: int = positive(160)  # hidden channels of a block
    kernel: int = positive(3)  # depthwise kernel P
    layers: int = positive(10, most=24)  # blocks per stack X, dilations 1, 2, 4, ...
    stack: int = positive(4, most=64)  # stacks R
    stages: int = positive(
        1, most=16
    )  # the last at sample_rate, others half of the next
    mels: int = positive(256)  # features of the encoder's spectrogram
    embedding: int = positive(8)  # numbers that describe an instrument
    generator_bottleneck: int = positive(5)  # dimensions of a layer's parameters
    independent_params: bool = False  # a network of its own for each instrument
    residual_bias: bool = False  # biases of the residual and skip convolutions

    @property
    def sources_by_name(self) -> bool:
        """Embeddings go by name; networks of their own do not."""
        return not self.independent_params

    def extends(self, new: Config, old: Config) -> tuple[str, ...]:
        """Return the fields of further stages, each at twice the rate before."""
        stages = self.stages - old.model.stages
        same = new.data.sample_rate == old.data.sample_rate * 2**stages
        return ("model.stages", "data.sample_rate") if stages > 0 and same else ()

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problems of fields that do not go together."""
        if wide := [name for name in ("N", "B", "H") if getattr(self, name) % 8]:
            yield (
                f"model.{', '.join(wide)} must be multiples of 8, for norms of eight "
                "groups"
            )
        if self.kernel % 2 == 0:
            yield f"model.kernel={self.kernel} must be odd"
        if self.L < self.W:
            yield f"model.L={self.L} is below model.W={self.W}: samples are skipped"
        if self.audio_channels != 1:
            yield (
                f"model.audio_channels={self.audio_channels}: Meta-TasNet hears one "
                "channel"
            )
        lowest = 2 ** (self.stages - 1) if self.stages > 0 else 1
        if config.data.sample_rate % lowest:
            yield (
                f"data.sample_rate={config.data.sample_rate} must divide by {lowest}, "
                f"so that each of the {self.stages} stages has a rate"
            )
