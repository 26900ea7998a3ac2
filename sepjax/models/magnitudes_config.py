"""The configuration of separation by magnitudes, of which families have more fields."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from sepjax.config import Config, ModelConfig, positive, setting


@dataclasses.dataclass(unsafe_hash=True)
class MagnitudesConfig(ModelConfig):
    """The spectra, and the Wiener filter between sources."""

    objective: ClassVar[str] = "spectral_mse"
    per_source: ClassVar[bool] = True

    n_fft: int = positive(4096)  # samples of a window
    hop: int = positive(1024)  # samples between frames
    wiener_iterations: int = setting(1, "free")  # 0: phase of the mixture
    wiener_softmask: bool = setting(False, "free")  # start from a ratio mask
    wiener_residual: bool = setting(False, "free")  # one more source, what is left

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problems of fields that do not go together."""
        sources, iterations = config.data.sources, self.wiener_iterations
        if self.n_fft % 2 or 2 * self.hop > self.n_fft:
            yield (
                f"model.n_fft={self.n_fft} must be even and model.hop={self.hop} at "
                "most half of it"
            )
        if iterations < 0:
            yield f"model.wiener_iterations={iterations} must be 0 or more"
        if iterations > 0 and len(sources) == 1 and not self.wiener_residual:
            yield (
                "a Wiener filter of one source returns the mixture: set "
                "model.wiener_iterations=0 or model.wiener_residual=True"
            )
        if self.wiener_residual and "residual" in sources:
            yield "model.wiener_residual adds a source named 'residual': there is one"
