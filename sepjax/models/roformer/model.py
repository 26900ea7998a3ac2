"""RoFormers: complex masks by attention along the frames and along the bands.

Reference: Lu, Wang, Kong and Hung 2023, "Music source separation with band-split RoPE
transformer"; Wang, Lu and Won 2023, "Mel-Band RoFormer for music source separation";
lucidrains/BS-RoFormer and ZFTurbo/Music-Source-Separation-Training.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.spectral import istft, stft
from sepjax.models.contract import Separation, SeparationModel
from sepjax.models.registry import MODELS
from sepjax.models.roformer.bands import make_bands
from sepjax.models.roformer.config import RoformerConfig
from sepjax.models.roformer.network import network
from sepjax.models.roformer.parameters import draw_parameters


@MODELS.register("roformer")
class Roformer(SeparationModel):
    """BS-RoFormer, and Mel-Band RoFormer: what their bands are makes the difference.

    Contract: ``(batch, time) -> Separation`` with ``estimates (batch, sources, time)``
    and neither masks nor latent; with ``audio_channels=2`` it takes ``(batch, 2,
    time)`` and estimates ``(batch, sources, 2, time)``. Any time will do.
    """

    config: RoformerConfig
    sources: tuple[str, ...]
    sample_rate: int
    objective = RoformerConfig.objective

    @property
    def audio_channels(self) -> int:
        """Audio channels of the model's input."""
        return self.config.audio_channels

    def setup(self) -> None:
        """Declare the parameters."""
        config = self.config
        bins = config.band_bins(self.sample_rate)
        self.bands = make_bands(bins, config.audio_channels)
        form = config, self.bands, len(self.sources) - config.difference
        self.params = self.param("network", draw_parameters, *form)

    def __call__(self, mixture: Float[Array, "batch *channels time"]) -> Separation:
        """Separate a batch of mixtures."""
        config, batch, time = self.config, len(mixture), mixture.shape[-1]
        waves = mixture.reshape(batch, config.audio_channels, time)
        # A reflection needs more samples than half a frame.
        missing = max(config.n_fft // 2 + 1 - time, 0)
        form = dict(n_fft=config.n_fft, hop=config.hop, window=config.window)
        spectra = stft(jnp.pad(waves, ((0, 0), (0, 0), (0, missing))), **form)
        bins = spectra.shape[-1]
        low, high = config.heard or (0, bins)
        parts = jnp.stack([spectra.real, spectra.imag])[..., low:high]
        parts = parts.transpose(4, 2, 0, 1, 3)  # bins, channels, parts, items, frames
        rows = parts.reshape(-1, batch * parts.shape[-1])
        masks = network(self.params, rows, self.bands, config, batch)
        masks = masks.reshape(-1, *parts.shape)
        (a, b), (x, y) = ((z[:, :, :, 0], z[:, :, :, 1]) for z in (masks, parts[None]))
        products = jax.lax.complex(a * x - b * y, a * y + b * x)
        products = products.transpose(3, 0, 2, 4, 1)  # items, sources, channels
        if config.zero_dc and not low:
            products = products.at[..., 0].set(0.0)
        beyond = [(0, 0)] * 4 + [(low, bins - high)]
        waves = istft(jnp.pad(products, beyond), **form, time=time)
        waves = waves.reshape(batch, -1, *mixture.shape[1:])
        if config.difference:
            rest = mixture[:, None] - waves.sum(1, keepdims=True)
            waves = jnp.concatenate([waves, rest], axis=1)
        return Separation(waves)

    def decays(self, path: tuple[str, ...]) -> bool:
        """Return true for kernels, and for those that lie in rows."""
        return path[-1] in ("kernel", "rows")
