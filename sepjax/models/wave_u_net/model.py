"""Wave-U-Net: an hourglass of convolutions on the waveform.

Reference: Stoller, Ewert and Dixon 2018, "Wave-U-Net: a multi-scale neural network for
end-to-end audio source separation"; f90/Wave-U-Net.
"""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.framing import center
from sepjax.functional.masking import waves_of_sources
from sepjax.models.contract import Separation, SeparationModel
from sepjax.models.registry import MODELS
from sepjax.models.wave_u_net.config import WaveUNetConfig


def valid_length(time: int, levels: int = 12, down: int = 15, up: int = 5) -> int:
    """Return how many samples the network needs to estimate at least ``time``.

    ``down`` and ``up`` are the taps of the convolutions on the way down and up.

    Example:
        >>> valid_length(16_389)
        147443
    """
    for _ in range(levels):
        time = math.ceil((time + up) / 2)  # 2 n - 1 samples, less the ends of a kernel
    time += down - 1
    for _ in range(levels):
        time = 2 * time - 1 + down - 1
    return time


def upsample(
    x: Float[Array, "batch time channels"],
) -> Float[Array, "batch longer channels"]:
    """Put the mean of every two neighbors between them: 2 n - 1 samples from n.

    Example:
        >>> upsample(jnp.array([[[0.0], [2.0], [6.0]]])).ravel().tolist()
        [0.0, 1.0, 2.0, 4.0, 6.0]
    """
    before, after = x[:, :-1], x[:, 1:]
    pairs = jnp.stack([before, (before + after) / 2], axis=2)
    return jnp.concatenate([pairs.reshape(len(x), -1, x.shape[-1]), x[:, -1:]], axis=1)


@MODELS.register("wave_u_net")
class WaveUNet(SeparationModel):
    """Convolve and decimate on every level, then interpolate and convolve back up.

    Convolutions are valid: what they need beyond the ends of the mixture is zero.
    Kernels are Xavier-uniform, activations leaky (0.2), estimates within -1 and 1 by
    a hyperbolic tangent; the last source is what they leave of the mixture.

    Contract: ``(batch, time) -> Separation`` with ``estimates (batch, sources, time)``
    and neither masks nor latent; with ``audio_channels=2`` it takes ``(batch, 2,
    time)`` and estimates ``(batch, sources, 2, time)``. Any time will do.
    """

    config: WaveUNetConfig
    sources: tuple[str, ...]
    sample_rate: int
    objective = WaveUNetConfig.objective

    @property
    def audio_channels(self) -> int:
        """Audio channels of the model's input."""
        return self.config.audio_channels

    @nn.compact
    def __call__(self, mixture: Float[Array, "batch *channels time"]) -> Separation:
        """Separate a batch of mixtures, zero-padded at both ends to a valid length."""
        config, time, count = self.config, mixture.shape[-1], self.audio_channels
        sizes = config.levels, config.down_kernel, config.up_kernel
        missing = valid_length(time, *sizes) - time
        wave = jnp.swapaxes(mixture.reshape(len(mixture), count, time), 1, 2)
        ends = (missing // 2, missing - missing // 2)
        wave = jnp.pad(wave, [(0, 0), ends, (0, 0)]).astype(config.compute_dtype)
        x = self.hourglass(wave)
        x = jnp.concatenate([center(wave, x.shape[1], axis=1), x], axis=-1)
        x = center(x, time, axis=1)
        difference = config.difference and len(self.sources) > 1
        outputs = len(self.sources) - difference
        dense = dict(kernel_init=nn.initializers.xavier_uniform(), dtype=x.dtype)
        x = jnp.tanh(nn.Dense(outputs * count, name="output", **dense)(x))
        return Separation(waves_of_sources(x, mixture, difference=difference))

    def hourglass(
        self, x: Float[Array, "batch time channels"]
    ) -> Float[Array, "batch shorter filters"]:
        """Return the features of the middle of the wave."""
        config, seen = self.config, []

        def convolve(name: str, x: Array, level: int, taps: int) -> Array:
            options = dict(kernel_init=nn.initializers.xavier_uniform(), dtype=x.dtype)
            width = config.filters * (level + 1)
            x = nn.Conv(width, (taps,), padding="VALID", name=name, **options)(x)
            return nn.leaky_relu(x, 0.2)

        for level in range(config.levels):
            x = convolve(f"down_{level}", x, level, config.down_kernel)
            seen.append(x)
            x = x[:, ::2]
        x = convolve("bottom", x, config.levels, config.down_kernel)
        for level in reversed(range(config.levels)):
            x = upsample(x)
            x = jnp.concatenate([center(seen[level], x.shape[1], axis=1), x], axis=-1)
            x = convolve(f"up_{level}", x, level, config.up_kernel)
        return x
