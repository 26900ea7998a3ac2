"""The configuration of Wave-U-Net."""

import dataclasses
from typing import ClassVar

from sepjax.config import MODEL_CONFIGS, ModelConfig, positive, setting


@MODEL_CONFIGS.register("wave_u_net")
@dataclasses.dataclass(unsafe_hash=True)
class WaveUNetConfig(ModelConfig):
    """Levels and their convolutions."""

    objective: ClassVar[str] = "mse"

    name: str = setting("wave_u_net", "free")
    levels: int = positive(12, most=20)  # of decimation by two
    filters: int = positive(24)  # of the first level; level i has i + 1 times as many
    down_kernel: int = positive(15)  # taps on the way down and at the bottom
    up_kernel: int = positive(5)  # taps on the way up
    difference: bool = True  # the last of several sources is what the others leave
