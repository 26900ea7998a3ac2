"""The configuration of Spleeter."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from sepjax.config import MODEL_CONFIGS, Config, ModelConfig, choice, positive, setting


@MODEL_CONFIGS.register("spleeter")
@dataclasses.dataclass(unsafe_hash=True)
class SpleeterConfig(ModelConfig):
    """The spectra, the U-Nets, and what becomes of their estimates."""

    objective: ClassVar[str] = "spectral_l1"

    name: str = setting("spleeter", "free")
    audio_channels: int = choice(2, 1)
    n_fft: int = positive(4096)  # samples of a window
    hop: int = positive(1024)  # samples between frames
    patch_frames: int = positive(512, role="free")  # that the networks hear at once
    bins: int = positive(1024, role="free")  # that they hear, from 0 Hz on
    filters: tuple[int, ...] = (16, 32, 64, 128, 256, 512)  # of each encoder layer
    activation: str = choice("leaky_relu", "elu")  # leaky_relu: decoders have ReLU
    mask: str = choice("sigmoid", "softmax")  # softmax: over the sources
    extension: str = choice("zeros", "average", role="free")  # of masks, above the bins
    padded: bool = setting(True, "free")  # a window of zeros before the song
    wiener_iterations: int = setting(0, "free")  # of the filter in place of ratio masks
    dropout: float = setting(0.5, "free")  # after the first three decoder layers

    # A softmax lets each network's gradient depend on all others.
    @property
    def per_source(self) -> bool:  # type: ignore[override]
        """Whether each source has a network of its own, trained as if it were alone."""
        return self.mask == "sigmoid"

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problems of fields that do not go together."""
        step = 2 ** len(self.filters)
        if not self.filters or min(self.filters) < 1:
            yield f"model.filters={self.filters} must be a list of numbers above zero"
        elif self.patch_frames % step or self.bins % step:
            yield (
                f"model.patch_frames={self.patch_frames} and model.bins={self.bins} "
                f"must be multiples of {step}: each of the {len(self.filters)} layers "
                "halves them"
            )
        if self.bins > self.n_fft // 2 + 1:
            yield f"model.bins={self.bins}: a window has {self.n_fft // 2 + 1}"
        if self.n_fft % 4 or self.hop * 4 != self.n_fft:
            yield f"model.hop={self.hop} must be a quarter of model.n_fft={self.n_fft}"
        if self.wiener_iterations < 0:
            yield f"model.wiener_iterations={self.wiener_iterations} must be 0 or more"
        if not 0 <= self.dropout < 1:
            yield f"model.dropout={self.dropout} must be in [0, 1)"
