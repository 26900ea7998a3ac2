"""The configuration of Open-Unmix."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from sepjax.config import MODEL_CONFIGS, Config, ModelConfig, positive, setting


@MODEL_CONFIGS.register("open_unmix")
@dataclasses.dataclass(unsafe_hash=True)
class OpenUnmixConfig(ModelConfig):
    """The network of a source, and the Wiener filter between sources."""

    objective: ClassVar[str] = "spectral_mse"
    per_source: ClassVar[bool] = True
    former: ClassVar[dict[str, str]] = {
        f"umx_{name}": name
        for name in ("hidden", "layers", "bidirectional", "bandwidth", "hop", "dropout")
    } | {"umx_fft": "n_fft", "layers": ""}  # layers: of another family

    name: str = setting("open_unmix", "free")
    hidden: int = positive(512)  # channels; each of two directions has half as many
    layers: int = positive(3, most=64)  # of the recurrent network
    bidirectional: bool = True  # False: only the past is heard
    bandwidth: float = 16000.0  # Hz that the network hears; 0: all bins
    n_fft: int = positive(4096)  # samples of a window
    hop: int = positive(1024)  # samples between frames
    dropout: float = setting(0.4, "free")  # between recurrent layers
    wiener_iterations: int = setting(1, "free")  # 0: phase of the mixture
    wiener_softmask: bool = setting(False, "free")  # start from a ratio mask
    wiener_residual: bool = setting(False, "free")  # one more source, what is left

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problems of fields that do not go together."""
        sources, iterations = config.data.sources, self.wiener_iterations
        if self.bidirectional and self.hidden % 2:
            yield f"model.hidden={self.hidden} must be even for two directions"
        if self.n_fft % 2 or 2 * self.hop > self.n_fft:
            yield (
                f"model.n_fft={self.n_fft} must be even and model.hop={self.hop} at "
                "most half of it"
            )
        if self.bandwidth < 0:
            yield f"model.bandwidth={self.bandwidth} must be 0, for all, or more"
        if not 0 <= self.dropout < 1:
            yield f"model.dropout={self.dropout} must be in [0, 1)"
        if iterations < 0:
            yield f"model.wiener_iterations={iterations} must be 0 or more"
        if iterations > 0 and len(sources) == 1 and not self.wiener_residual:
            yield (
                "a Wiener filter of one source returns the mixture: set "
                "model.wiener_iterations=0 or model.wiener_residual=True"
            )
        if self.wiener_residual and "residual" in sources:
            yield "model.wiener_residual adds a source named 'residual': there is one"
