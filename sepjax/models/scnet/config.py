"""The configuration of SCNet."""

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import ClassVar

from sepjax.config import MODEL_CONFIGS, Config, ModelConfig, choice, positive, setting


@MODEL_CONFIGS.register("scnet")
@dataclasses.dataclass(unsafe_hash=True)
class ScnetConfig(ModelConfig):
    """The spectrum, its bands from low to high, and the layers."""

    objective: ClassVar[str] = "l1"

    name: str = setting("scnet", "free")
    audio_channels: int = choice(2, 1)
    n_fft: int = positive(4096, most=1 << 16)  # samples of a frame
    hop: int = positive(1024)  # samples between frames
    standardize: bool = True  # the network hears spectra of mean 0 and deviation 1
    channels: tuple[int, ...] = (32, 64, 128)  # of the encoder's layers
    shares: tuple[float, ...] = (0.175, 0.392, 0.433)  # of the bins, of each band
    kernels: tuple[int, ...] = (3, 4, 16)  # taps along bins; strides too, the first's 1
    depths: tuple[int, ...] = (3, 2, 1)  # residual branches behind them
    compress: int = positive(4)  # factor by which branches have fewer channels
    branch_kernel: int = positive(3, most=64)  # frames of their convolutions
    dual_paths: int = positive(6, most=64)  # recurrent layers along bins and frames
    expand: int = positive(1, most=64)  # factor of the channels to their states
    remat: bool = setting(False, "free")  # gradients keep less of recurrent layers

    def bands(self) -> list[list[tuple[int, int, int]]]:
        """Return bins, kernel and stride of every band in each of the layers."""
        bins, layers = self.n_fft // 2 + 1, []
        for _ in self.channels:
            ends = [math.ceil(bins * end) for end in itertools.accumulate(self.shares)]
            sizes = [b - a for a, b in itertools.pairwise([0, *ends[:-1], bins])]
            layers.append(list(zip(sizes, self.kernels, (1, *self.kernels[1:]))))
            bins = sum(-(-size // stride) for size, _, stride in layers[-1])
        return layers

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problems of fields that do not go together."""
        if self.n_fft % 2 or not 1 <= self.hop <= self.n_fft:
            yield f"model.n_fft={self.n_fft} must be even, and model.hop at most that"
        if not self.channels or not min(self.channels) >= self.compress >= 1:
            yield f"model.channels={self.channels} must be model.compress or more"
        if self.branch_kernel % 2 == 0 or self.dual_paths % 2:
            yield "model.branch_kernel must be odd, and model.dual_paths even"
        count, fields = len(self.shares), (self.shares, self.kernels, self.depths)
        if any(len(f) != count or not min(f, default=0) > 0 for f in fields):
            yield "model.shares, kernels and depths must be above 0, one for each band"
        elif not abs(sum(self.shares) - 1) < 0.01:
            yield f"model.shares={self.shares} must sum to 1"
        elif any(size < 1 for layer in self.bands() for size, *_ in layer):
            yield f"model.shares={self.shares} or n_fft={self.n_fft}: a band is empty"
