"""Separation by estimated magnitudes: what the networks of spectra have in common.

The networks of the sources hear magnitudes; the phase comes from the mixture, and the
multichannel Wiener filter weighs the sources against each other.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from sepjax.functional.spectral import istft, stft
from sepjax.functional.training import initial_statistics
from sepjax.functional.wiener import wiener_em
from sepjax.models.contract import STATISTICS, Separation, SeparationModel
from sepjax.models.magnitudes_config import MagnitudesConfig

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


class MagnitudeSeparation(SeparationModel):
    """A network of magnitudes for every source, and the Wiener filter between them.

    A family has the method ``magnitudes`` and the parameter ``input_mean``, for as many
    of the lowest bins as ``heard``. Parameters have a leading axis over sources.

    Contract: ``(batch, time) -> Separation`` with ``estimates (batch, sources, time)``
    and neither masks nor latent; with ``audio_channels=2`` it takes ``(batch, 2,
    time)`` and estimates ``(batch, sources, 2, time)``. Any time will do. With
    ``residual`` what the networks leave of the mixture is one more source, the last.

    The running statistics of the norms are the collection ``batch_stats``; in training
    the method ``spectra`` changes them.
    """

    targets: tuple[str, ...]
    sample_rate: int
    config: Any
    excerpt_frames: int = 300
    objective = MagnitudesConfig.objective
    outputs = MappingProxyType(dict.fromkeys(("spectra", "source_spectra"), "spectra"))
    collections = ("batch_stats",)
    statistics = MappingProxyType(
        {"input_mean": lambda mean, _: -mean, "input_scale": _input_scale}
    )

    @property
    def audio_channels(self) -> int:
        """Audio channels of the model's input."""
        return self.config.audio_channels

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the estimates: the targets, and the residual if there is one."""
        return (*self.targets, *(RESIDUAL,) * self.config.wiener_residual)

    @property
    def heard(self) -> int:
        """Number of the lowest bins that the networks hear."""
        return self.config.n_fft // 2 + 1

    def magnitudes(
        self,
        mixture: Float[Array, "batch frames channels bins"],
        *,
        train: bool = False,
        axis_name: str | None = None,
    ) -> Float[Array, "batch targets frames channels bins"]:
        """Estimate the magnitudes of every target with its network."""
        raise NotImplementedError

    def _declare(self, parts: Mapping[str, Callable[[PRNGKeyArray], Any]]) -> None:
        """Declare networks of all targets side by side, and statistics of their norms.

        Of each part of a network there is the function that draws it; afterwards
        ``parts`` has the parameters, with a leading axis over targets.
        """

        def draw_each(key: PRNGKeyArray, draw: Callable) -> Any:
            return jax.vmap(draw)(jax.random.split(key, len(self.targets)))

        self.parts = {n: self.param(n, draw_each, draw) for n, draw in parts.items()}
        initial = initial_statistics(self.parts)
        self.running = {
            name: self.variable("batch_stats", name, initial.get, name)
            for name in initial
        }

    def _known(self) -> dict[str, Any]:
        """The running statistics of all norms."""
        return {name: variable.value for name, variable in self.running.items()}

    def _keep(self, statistics: Mapping[str, Any], train: bool) -> None:
        """Let a training step change the running statistics."""
        if train and self.is_mutable_collection("batch_stats"):
            for name, variable in self.running.items():
                variable.value = statistics[name]

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
        config = self.config
        if config.wiener_iterations and len(self.sources) == 1:
            raise ValueError(
                "a Wiener filter of one source returns the mixture: set "
                "wiener_iterations=0 or wiener_residual=True"
            )
        waves = self._channels(mixture)
        time = waves.shape[-1]
        # A reflection needs more samples than half a window.
        missing = max(config.n_fft // 2 + 1 - time, 0)
        waves = jnp.pad(waves, ((0, 0), (0, 0), (0, missing)))
        windows = dict(n_fft=config.n_fft, hop=config.hop)
        spectra = stft(waves, **windows)
        magnitudes = self.magnitudes(
            jnp.swapaxes(jnp.abs(spectra), 1, 2), train=train, axis_name=axis_name
        )
        separated = wiener_em(
            jnp.moveaxis(magnitudes, -2, -1),
            jnp.moveaxis(spectra, 1, -1),
            iterations=config.wiener_iterations,
            softmask=config.wiener_softmask,
            residual=config.wiener_residual,
            excerpt_frames=self.excerpt_frames,
        )
        estimates = istft(jnp.moveaxis(separated, -1, 2), **windows, time=time)
        shape = (*estimates.shape[:2], *mixture.shape[1:])
        return Separation(estimates.reshape(shape))

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

    def for_validation(self) -> "MagnitudeSeparation":
        """Return the model without the Wiener filter: only whole songs judge it."""
        config = dataclasses.replace(self.config, wiener_iterations=0)
        return self.clone(config=config)

    def observe(self, mixture: Float[Array, "batch *channels time"]) -> None:
        """Sow mean and variance of the magnitudes of every bin in use."""
        magnitudes = self._heard(mixture, 1).mean(-2)[..., : self.heard]
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
        windows = dict(n_fft=self.config.n_fft, hop=self.config.hop)
        magnitudes = jnp.abs(stft(waves, **windows, center=False))
        magnitudes = magnitudes.mean(-3, keepdims=True) if mono else magnitudes
        return jnp.swapaxes(magnitudes, -3, -2)
