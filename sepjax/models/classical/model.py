"""Classical systems as models: a mixture seen through masks."""

from types import MappingProxyType

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.factorization import divergence, factorize, update_activations
from sepjax.functional.framing import fit
from sepjax.functional.spectral import istft, stft
from sepjax.models.classical.config import ClassicalConfig, DictionaryConfig
from sepjax.models.classical.masks import METHODS, Frames, Grid, shares
from sepjax.models.contract import Separation, SeparationModel
from sepjax.models.registry import MODELS


class Masked(SeparationModel):
    """A mixture seen through masks that follow from its magnitudes.

    The channels of a stereo model are averaged as power and have the same masks.
    """

    sources: tuple[str, ...]
    sample_rate: int
    config: ClassicalConfig
    audio_channels: int = 1

    def __call__(self, mixture: Float[Array, "batch *channels time"]) -> Separation:
        """Separate a batch of mixtures."""
        spectra = self.spectra(mixture)
        # An item at a time for the sake of memory. Masks that are stacked before they
        # are used would be computed by slow branches on a CPU.
        masks = jax.lax.map(self.masks, rms(spectra))
        how = dict(n_fft=self.grid.n_fft, hop=self.grid.hop, time=mixture.shape[-1])
        waves = [istft(mask[:, None] * spectra, **how) for mask in masks]
        return Separation(jnp.stack([w.reshape(mixture.shape) for w in waves], axis=1))

    @property
    def grid(self) -> Grid:
        """Frames and bins of the spectra."""
        return Grid(self.config, self.sample_rate)

    def spectra(self, waves: Array) -> Array:
        """Transform ``(batch, *channels, time)`` to (batch, channels, frames, bins)."""
        grid, time = self.grid, waves.shape[-1]
        waves = waves.reshape(len(waves), -1, time)
        # A reflection needs half a window; and a last hop that only the thin end of a
        # window covers would be blown up by the inverse.
        waves = fit(waves, max(-(-time // grid.hop) * grid.hop, grid.n_fft // 2 + 1))
        return stft(waves, n_fft=grid.n_fft, hop=grid.hop)

    def masks(self, v: Frames) -> list[Frames]:
        """Return a mask of a spectrogram for each class."""
        return METHODS[self.config.name](v, self.config, self.grid)


def rms(spectra: Array) -> Float[Array, "batch frames bins"]:
    """Root of the mean power of all channels."""
    return jnp.sqrt(jnp.mean(jnp.square(jnp.abs(spectra)), axis=1))


class Dictionaries(Masked):
    """NMF with templates of each class: activations alone are found in a song.

    Training learns the templates, each of sum one, from the stems of its class, whose
    activations follow by multiplicative updates.
    """

    config: DictionaryConfig
    objective = DictionaryConfig.objective
    outputs = MappingProxyType({"divergences": "learn"})

    def setup(self) -> None:
        """Declare the templates of all classes."""
        shape = len(self.sources), self.config.rank, self.grid.n_fft // 2 + 1
        self.logits = self.param("logits", nn.initializers.normal(1.0), shape)

    def masks(self, v: Frames) -> list[Frames]:
        """Return Wiener masks of the classes, after updates of all activations."""
        config, count = self.config, len(self.sources)
        v = v ** (2 - config.beta)
        v = v / jnp.maximum(v.max(), 1e-12)
        logits = [
            jax.random.normal(jax.random.key(index), own.shape)
            if name == config.adapted
            else own
            for index, (name, own) in enumerate(zip(self.sources, self.logits))
        ]
        w = jnp.concatenate([jax.nn.softmax(one) for one in logits])
        free = [name == config.adapted for name in self.sources]
        facts = dict(beta=config.beta, steps=config.steps)
        learned = jnp.repeat(jnp.array(free), config.rank)
        h, w, _ = factorize(v, first_activations(v, w), w, learned=learned, **facts)
        pairs = zip(jnp.split(h, count, axis=1), jnp.split(w, count))
        return shares([a @ b for a, b in pairs])

    def learn(
        self,
        mixture: Float[Array, "batch *channels time"],
        sources: Float[Array, "batch sources *channels time"],
    ) -> dict[str, Float[Array, "batch sources"]]:
        """Return how far each stem is from what its templates can make of it."""
        config = self.config

        def one(stem: Array, logits: Array) -> Array:
            v = rms(self.spectra(stem[None]))[0] ** (2 - config.beta)
            v, w = v / jnp.maximum(v.max(), 1e-12), jax.nn.softmax(logits)
            h, fixed = first_activations(v, w), jax.lax.stop_gradient(w)

            def update(_: Array, h: Array) -> Array:
                return update_activations(v, h, fixed, config.beta)

            h = jax.lax.fori_loop(0, config.steps // 2, update, h)
            value = divergence(v, jax.lax.stop_gradient(h) @ w, config.beta)
            return jnp.where(v.max() > 0, value, 0.0)

        each = jax.vmap(one, in_axes=(0, 0))
        return {"divergences": jax.lax.map(lambda x: each(x, self.logits), sources)}


def first_activations(v: Frames, w: Array) -> Float[Array, "frames rank"]:
    """As loud as the spectrogram, the same for all templates."""
    return jnp.repeat(v.sum(1, keepdims=True) / len(w) + 1e-10, len(w), axis=1)


@MODELS.register("classical")
def classical(
    config: ClassicalConfig, *, sources: tuple[str, ...], sample_rate: int
) -> Masked:
    """The system of a configuration."""
    kind = Dictionaries if isinstance(config, DictionaryConfig) else Masked
    return kind(sources, sample_rate, config, config.audio_channels)
