"""Branches of a hybrid encoder that are more than a bank's taps.

Contract: ``(batch, time) -> (batch, frames, width)``, frames = ceil(time / stride).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.framing import frames_for
from sepjax.functional.spectral import FLOOR, interpolate_frames, log_power
from sepjax.models.contract import STATISTICS
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.registry import BRANCHES

GATHERED = {
    "mean": lambda mean, deviation: mean,
    "std": lambda mean, deviation: deviation,
}
"""Parameters that are facts about the data: gathered before training, not learned."""


class SpectrogramBranch(nn.Module):
    """Standardized log power spectrogram, mapped to ``width`` features of each frame.

    Windows last 128 ms with three quarters of overlap; their frames are interpolated to
    those of the encoder. Mean and deviation of every bin are facts about the training
    data (:func:`sepjax.train.statistics.gather`), not learned; a learned scale and
    offset follow them. ``above_floor`` counts from the logarithm's floor instead of the
    mean, without offsets, so that silence has features of zero.

    Reference:
        Samuel, Ganeshan and Naradowsky 2020, Meta-learning extractors for music source
        separation.
    """

    width: int
    stride: int
    sample_rate: int
    dtype: str = "float32"
    above_floor: bool = False

    @nn.compact
    def __call__(
        self, wave: Float[Array, "*batch time"]
    ) -> Float[Array, "*batch frames width"]:
        """Features of what lies around each frame."""
        n_fft = 1024 * max(self.sample_rate // 8000, 1)
        power = log_power(wave, n_fft=n_fft, hop=n_fft // 4)
        axes = tuple(range(power.ndim - 1))
        observed = jnp.stack([power.mean(axes), power.var(axes)])
        self.sow(STATISTICS, "observed", observed)
        bins, shape = power.shape[-1:], (1,) * (power.ndim - 1) + power.shape[-1:]
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        starts = {"mean": zeros, "std": ones, "scale": ones, "bias": zeros}
        mean, deviation, scale, bias = (
            self.param(name, start, bins).reshape(shape)
            for name, start in starts.items()
        )
        mean, deviation = jax.lax.stop_gradient((mean, deviation))
        if self.above_floor:
            mean, bias = jnp.full_like(mean, FLOOR), jnp.zeros_like(bias)
        normed = (power - mean) / jnp.maximum(deviation, 1e-5) * scale + bias
        dense = dict(use_bias=not self.above_floor, dtype=self.dtype, name="mel")
        features = nn.Dense(self.width, **dense)(normed)
        # Many frames of the result stem from one: its gradient is their sum.
        features = features.astype(wave.dtype)
        frames = frames_for(wave.shape[-1], self.stride)
        return interpolate_frames(features, frames).astype(self.dtype)

    def kernels(self) -> dict[str, Float[Array, "length width"]]:
        """There are no taps."""
        return {}


@BRANCHES.register("stft_above_floor")
@BRANCHES.register("stft")
def spectrogram_branch(
    config: TasNetConfig, width: int, length: int, sample_rate: int
) -> SpectrogramBranch:
    """The spectrogram has windows of its own, whatever the kernel's length."""
    above = config.fb_type == "stft_above_floor"
    return SpectrogramBranch(width, config.W, sample_rate, config.compute_dtype, above)
