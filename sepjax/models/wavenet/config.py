"""The configuration of the Wavenet for source separation."""

import dataclasses
from typing import ClassVar

from sepjax.config import MODEL_CONFIGS, ModelConfig, positive, setting


@MODEL_CONFIGS.register("wavenet")
@dataclasses.dataclass(unsafe_hash=True)
class WavenetConfig(ModelConfig):
    """Blocks of dilated convolutions, and the layers behind their skips."""

    objective: ClassVar[str] = "l1"

    name: str = setting("wavenet", "free")
    layers: int = positive(10, most=24)  # blocks per stack: dilations 1, 2, 4 ...
    stack: int = positive(4, most=64)  # stacks
    channels: int = positive(64)  # of the residual path and of the gates
    skip: int = positive(64)  # channels of the skip path
    kernel: int = positive(3)  # taps, of blocks and of the first and last layers
    hidden: int = positive(2048)  # channels of the first layer behind the skips
    last: int = positive(256)  # channels of the second one
    difference: bool = True  # the last of several sources is what the others leave
