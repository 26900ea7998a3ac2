"""Open-Unmix: a recurrent network for each source, and Wiener filters between them.

Reference: Stöter, Uhlich, Liutkus and Mitsufuji 2019; open-unmix-pytorch 1.3.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.functional.spectral import istft, stft
from sepjax.functional.wiener import wiener_em
from sepjax.models.contract import STATISTICS, Separation, SeparationModel
from sepjax.models.open_unmix.config import OpenUnmixConfig
from sepjax.models.open_unmix.network import (
    NORMS,
    initial_statistics,
    magnitude_network,
    magnitude_network_parts,
)
from sepjax.models.registry import MODELS

RESIDUAL = "residual"


def bins_within(bandwidth: float, *, n_fft: int, sample_rate: int) -> int:
    """Count the bins of a spectrum up to a frequency in Hz; 0: all.

    Example:
        >>> bins_within(16000, n_fft=4096, sample_rate=44100)
        1487
    """
    frequencies = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    return int(np.sum(frequencies <= bandwidth)) if bandwidth else len(frequencies)


def _input_scale(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    # A bin in which nothing sounds must not be blown up.
    return 1 / np.maximum(deviation, max(1e-4 * deviation.max(), 1e-12))


class OpenUnmix(SeparationModel):
    """Open-Unmix for all sources at once; parameters have a leading axis over sources.

    The networks hear magnitudes; the phase comes from the mixture, and the multichannel
    Wiener filter weighs the sources against each other.

    Contract: ``(batch, time) -> Separation`` with ``estimates (batch, sources, time)``
    and neither masks nor latent; with ``audio_channels=2`` it takes ``(batch, 2,
    time)`` and estimates ``(batch, sources, 2, time)``. Any time will do. With
    ``residual`` what the networks leave of the mixture is one more source, the last.

    The running statistics of the norms are the collection ``batch_stats``; in training
    the method ``spectra`` changes them, and draws its dropout from ``dropout``.
    """

    targets: tuple[str, ...]
    sample_rate: int
    audio_channels: int = 1
    hidden: int = 512
    layers: int = 3
    bidirectional: bool = True
    bandwidth: float = 16000.0
    n_fft: int = 4096
    hop: int = 1024
    dropout: float = 0.4
    iterations: int = 1
    softmask: bool = False
    residual: bool = False
    excerpt_frames: int = 300
    dtype: str = "float32"
    objective = OpenUnmixConfig.objective
    outputs = MappingProxyType(dict.fromkeys(("spectra", "source_spectra"), "spectra"))
    collections = ("batch_stats",)
    rngs = ("dropout",)
    batch_norms = NORMS
    statistics = MappingProxyType(
        {"input_mean": lambda mean, _: -mean, "input_scale": _input_scale}
    )
    # A step of the recurrence reads all weights, be it of one chunk or of many.
    cpu_batch_seconds = 40.0

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the estimates: the targets, and the residual if there is one."""
        return (*self.targets, *(RESIDUAL,) * self.residual)

    def setup(self) -> None:
        """Declare parameters and statistics, those of all targets side by side."""
        rate = self.sample_rate
        parts = magnitude_network_parts(
            bins=self.n_fft // 2 + 1,
            heard=bins_within(self.bandwidth, n_fft=self.n_fft, sample_rate=rate),
            channels=self.audio_channels,
            hidden=self.hidden,
            layers=self.layers,
            bidirectional=self.bidirectional,
        )
        count = len(self.targets)

        def draw_each(key: Array, draw: Callable) -> Any:
            return jax.vmap(draw)(jax.random.split(key, count))

        self.parts = {n: self.param(n, draw_each, draw) for n, draw in parts.items()}
        initial = initial_statistics(self.parts)
        self.running = {
            name: self.variable("batch_stats", name, initial.get, name)
            for name in NORMS
        }

    def __call__(
        self,
        mixture: Float[Array, "batch *channels time"],
        *,
        train: bool = False,
        axis_name: str | None = None,
    ) -> Separation:
        """Separate a batch of mixtures; ``train`` and ``axis_name`` as for spectra.

        Raises:
            ValueError: another number of channels than the model's, or a Wiener filter
                of one source.
        """
        if self.iterations and len(self.sources) == 1:
            raise ValueError(
                "a Wiener filter of one source returns the mixture: set "
                "wiener_iterations=0 or wiener_residual=True"
            )
        waves = self._channels(mixture)
        time = waves.shape[-1]
        # A reflection needs more samples than half a window.
        missing = max(self.n_fft // 2 + 1 - time, 0)
        waves = jnp.pad(waves, ((0, 0), (0, 0), (0, missing)))
        spectra = stft(waves, n_fft=self.n_fft, hop=self.hop)
        magnitudes = self.magnitudes(
            jnp.swapaxes(jnp.abs(spectra), 1, 2), train=train, axis_name=axis_name
        )
        separated = wiener_em(
            jnp.moveaxis(magnitudes, -2, -1),
            jnp.moveaxis(spectra, 1, -1),
            iterations=self.iterations,
            softmask=self.softmask,
            residual=self.residual,
            excerpt_frames=self.excerpt_frames,
        )
        estimates = istft(
            jnp.moveaxis(separated, -1, 2), n_fft=self.n_fft, hop=self.hop, time=time
        )
        shape = (*estimates.shape[:2], *mixture.shape[1:])
        return Separation(estimates.reshape(shape))

    def magnitudes(
        self,
        mixture: Float[Array, "batch frames channels bins"],
        *,
        train: bool = False,
        axis_name: str | None = None,
    ) -> Float[Array, "batch targets frames channels bins"]:
        """Estimate the magnitudes of every target with its network."""
        count = len(self.targets)
        noisy = train and self.dropout and self.layers > 1
        keys = jax.random.split(self.make_rng("dropout"), count) if noisy else None

        options = dict(train=train, dropout=self.dropout if noisy else 0.0)
        options |= dict(dtype=self.dtype, axis_name=axis_name)

        def network(parts: dict, statistics: dict, key: Array | None) -> tuple:
            return magnitude_network(parts, statistics, mixture, key=key, **options)

        known = {name: variable.value for name, variable in self.running.items()}
        estimates, new = jax.vmap(network, out_axes=(1, 0))(
            dict(self.parts), known, keys
        )
        if train and self.is_mutable_collection("batch_stats"):
            for name, variable in self.running.items():
                variable.value = new[name]
        return estimates

    def spectra(
        self,
        mixture: Float[Array, "batch *channels time"],
        sources: Float[Array, "batch targets *channels time"],
        *,
        train: bool = False,
        axis_name: str | None = None,
    ) -> dict[str, Float[Array, "batch targets frames bins channels"]]:
        """Return targets' magnitudes, estimated and true: ``spectra, source_spectra``.

        Frames are those inside the signal, which is at least a window long. A mono
        model hears the mean of the magnitudes of all channels. ``train`` and
        ``axis_name`` as in :func:`~sepjax.models.open_unmix.network.magnitude_network`.
        """
        magnitudes, truth = self._heard(mixture, 1), self._heard(sources, 2)
        estimates = self.magnitudes(magnitudes, train=train, axis_name=axis_name)
        return {
            "spectra": jnp.moveaxis(estimates, -2, -1),
            "source_spectra": jnp.moveaxis(truth, -2, -1),
        }

    def for_validation(self) -> "OpenUnmix":
        """Return the model without the Wiener filter: only whole songs judge it."""
        return self.clone(iterations=0)

    def observe(self, mixture: Float[Array, "batch *channels time"]) -> None:
        """Sow mean and variance of the magnitudes of every bin in use."""
        bins = self.parts["input_mean"].shape[-1]
        magnitudes = self._heard(mixture, 1).mean(-2)[..., :bins]
        moments = jnp.stack([magnitudes.mean((0, 1)), magnitudes.var((0, 1))])
        self.sow(STATISTICS, "observed", moments)

    def _channels(self, waves: Array, lead: int = 1) -> Array:
        """Waves (..., channels, time), whatever their channels are."""
        expected = (self.audio_channels,) if self.audio_channels > 1 else ()
        if waves.shape[lead:-1] not in (expected, (self.audio_channels,)):
            axes = ", ".join(map(str, (*expected, "time")))
            raise ValueError(
                f"a model of audio_channels={self.audio_channels} hears (batch, "
                f"{axes}), not {waves.shape}"
            )
        return waves.reshape(*waves.shape[:lead], self.audio_channels, waves.shape[-1])

    def _heard(self, waves: Array, lead: int) -> Array:
        """Magnitudes (..., frames, channels, bins) of waves (..., *channels, time)."""
        mono = self.audio_channels == 1 and waves.ndim > lead + 1
        waves = waves if mono else self._channels(waves, lead)
        magnitudes = jnp.abs(stft(waves, n_fft=self.n_fft, hop=self.hop, center=False))
        magnitudes = magnitudes.mean(-3, keepdims=True) if mono else magnitudes
        return jnp.swapaxes(magnitudes, -3, -2)


@MODELS.register("open_unmix")
def open_unmix(
    config: OpenUnmixConfig, *, sources: tuple[str, ...], sample_rate: int
) -> OpenUnmix:
    """Open-Unmix of the configured size, a network for each of the sources."""
    return OpenUnmix(
        targets=sources,
        sample_rate=sample_rate,
        audio_channels=config.audio_channels,
        hidden=config.hidden,
        layers=config.layers,
        bidirectional=config.bidirectional,
        bandwidth=config.bandwidth,
        n_fft=config.n_fft,
        hop=config.hop,
        dropout=config.dropout,
        iterations=config.wiener_iterations,
        softmask=config.wiener_softmask,
        residual=config.wiener_residual,
        dtype=config.compute_dtype,
    )
