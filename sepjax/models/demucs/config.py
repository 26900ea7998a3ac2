"""The configuration of Demucs v1."""

import dataclasses
from typing import ClassVar

from sepjax.config import MODEL_CONFIGS, ModelConfig, positive, setting


@MODEL_CONFIGS.register("demucs")
@dataclasses.dataclass(unsafe_hash=True)
class DemucsConfig(ModelConfig):
    """Layers and their channels."""

    former: ClassVar[dict[str, str]] = {
        f"demucs_{name}": name
        for name in ("channels", "depth", "growth", "lstm_layers")
    }

    name: str = setting("demucs", "free")
    channels: int = positive(48)  # of the first layer
    depth: int = positive(6, most=16)  # layers of encoder and decoder
    growth: float = positive(2.0)  # factor of the channels from layer to layer
    lstm_layers: int = positive(2, most=64)  # of the recurrent network between them
