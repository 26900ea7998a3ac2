"""The configuration of Open-Unmix."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from sepjax.config import MODEL_CONFIGS, Config, positive, setting
from sepjax.models.magnitudes_config import MagnitudesConfig


@MODEL_CONFIGS.register("open_unmix")
@dataclasses.dataclass(unsafe_hash=True)
class OpenUnmixConfig(MagnitudesConfig):
    """The network of a source."""

    former: ClassVar[dict[str, str]] = {
        f"umx_{name}": name
        for name in ("hidden", "layers", "bidirectional", "bandwidth", "hop", "dropout")
    } | {"umx_fft": "n_fft", "layers": ""}  # layers: of another family

    name: str = setting("open_unmix", "free")
    hidden: int = positive(512)  # channels; each of two directions has half as many
    layers: int = positive(3, most=64)  # of the recurrent network
    bidirectional: bool = True  # False: only the past is heard
    bandwidth: float = 16000.0  # Hz that the network hears; 0: all bins
    dropout: float = setting(0.4, "free")  # between recurrent layers

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problems of fields that do not go together."""
        yield from super().problems(config)
        if self.bidirectional and self.hidden % 2:
            yield f"model.hidden={self.hidden} must be even for two directions"
        if self.bandwidth < 0:
            yield f"model.bandwidth={self.bandwidth} must be 0, for all, or more"
        if not 0 <= self.dropout < 1:
            yield f"model.dropout={self.dropout} must be in [0, 1)"
