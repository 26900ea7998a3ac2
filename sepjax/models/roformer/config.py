"""The configuration of BS-RoFormer and Mel-Band RoFormer."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from sepjax.config import MODEL_CONFIGS, Config, ModelConfig, choice, positive, setting

BANDS = (*(2,) * 24, *(4,) * 12, *(12,) * 8, *(24,) * 8, *(48,) * 8, 128, 129)
"""Bins of the 62 bands of BS-RoFormer, of a window of 2048 samples."""
LONGEST = 1 << 16
KINDS = ("linear", "time", "frequency")
"""Transformers of a block, in their order."""


@MODEL_CONFIGS.register("roformer")
@dataclasses.dataclass(unsafe_hash=True)
class RoformerConfig(ModelConfig):
    """The spectrum and its bands, the transformers, the networks of the masks."""

    objective: ClassVar[str] = "l1+padded_stft"

    name: str = setting("roformer", "free")
    audio_channels: int = choice(2, 1)
    n_fft: int = positive(2048, most=LONGEST)  # samples of a transform
    hop: int = positive(441)  # samples between frames
    window: int = 0  # samples of the window in the middle of a transform; 0: all
    bands: tuple[int, ...] = ()  # bins of each, side by side (BS); none: mel bands
    mel_bands: int = positive(60)  # that overlap, where bands are not given (Mel)
    heard: tuple[int, ...] = ()  # first bin and the one after the last; none: all
    zero_dc: bool = setting(True, "free")  # estimates have nothing at 0 Hz
    channels: int = positive(384)  # of a band in a frame
    blocks: int = positive(6)  # of transformers along the frames and along the bands
    heads: int = positive(8)  # of attention
    head_channels: int = positive(64)
    time_layers: int = positive(1)  # of a block's transformer along the frames
    frequency_layers: int = positive(1)  # of its transformer along the bands
    linear_layers: int = 0  # of one with linear attention over both, before them
    skip: bool = False  # a block hears the sum of what all before it say
    norms: str = choice("transformer", "network")  # at the end of each, of all (BS)
    # From the second block on: "first" draws values towards those of the first block;
    # "crossed" is v + w (m - v) in place of v + m (w - v), as one package has it.
    values: str = choice("own", "first", "crossed")
    mask_layers: int = positive(3, most=64)  # linear layers of a mask's network
    mask_expansion: int = positive(4)  # of the channels between these layers
    difference: bool = False  # the last of several sources is what the others leave
    remat: bool = setting(True, "free")  # compute layers again for their gradients

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problems of fields that do not go together."""
        bins = self.n_fft // 2 + 1
        if self.n_fft % 2 or not 4 <= self.n_fft <= LONGEST or bins <= self.hop:
            yield (
                f"model.n_fft={self.n_fft} must be even, {LONGEST} or less, and "
                f"model.hop={self.hop} at most half of it"
            )
            return
        if not 2 * self.hop <= (self.window or self.n_fft) <= self.n_fft:
            yield (
                f"model.window={self.window} must be 0, or from twice model.hop="
                f"{self.hop} to model.n_fft={self.n_fft}"
            )
        if self.linear_layers < 0:
            yield f"model.linear_layers={self.linear_layers} must be 0 or more"
        if self.head_channels % 2:
            yield f"model.head_channels={self.head_channels} must be even: they turn"
        if self.values != "own" and self.blocks < 2:
            yield f"model.values={self.values!r} needs two blocks"
        if self.difference and len(config.data.sources) < 2:
            yield "model.difference=True leaves no source to estimate: name two"
        yield from self._band_problems(config.data.sample_rate, bins)

    def _band_problems(self, rate: int, bins: int) -> Iterable[str]:
        heard = self.heard or (0, bins)
        if len(heard) != 2 or not 0 <= heard[0] < heard[1] <= bins:
            yield f"model.heard={self.heard} must be two of the bins 0 to {bins}"
        elif self.bands:
            if min(self.bands) < 1 or sum(self.bands) != heard[1] - heard[0]:
                yield (
                    f"model.bands are {sum(self.bands)} bins, but model.n_fft="
                    f"{self.n_fft} and model.heard have {heard[1] - heard[0]}"
                )
        elif self.heard:
            yield "model.heard goes with model.bands: mel bands hear all bins"
        else:
            yield from self._mel_problems(rate)

    def _mel_problems(self, rate: int) -> Iterable[str]:
        bands = self.band_bins(rate)
        empty = sum(not band.size for band in bands)
        if empty or len({bin for band in bands for bin in band}) <= self.n_fft // 2:
            yield (
                f"model.mel_bands={self.mel_bands} leave bands or bins empty at "
                f"model.n_fft={self.n_fft} and {rate} Hz: choose "
                f"{'fewer bands' if empty else 'more bands'} or a longer window"
            )

    def band_bins(self, sample_rate: int) -> list[np.ndarray]:
        """Return the bins of every band, counted from the first one that is heard."""
        from sepjax.models.roformer.bands import consecutive, mel_bins

        if self.bands:
            return consecutive(self.bands)
        return mel_bins(sample_rate, self.n_fft, self.mel_bands)
