"""Open-Unmix: a recurrent network for each source, and Wiener filters between them.

Reference: Stöter, Uhlich, Liutkus and Mitsufuji 2019; open-unmix-pytorch 1.3.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sepjax.functional.recurrent import lstm_state
from sepjax.models.magnitudes import bins_within
from sepjax.models.magnitudes_stream import StreamedMagnitudes
from sepjax.models.open_unmix.config import OpenUnmixConfig
from sepjax.models.open_unmix.network import (
    NORMS,
    magnitude_network,
    magnitude_network_parts,
    magnitude_network_step,
)
from sepjax.models.registry import MODELS


class OpenUnmix(StreamedMagnitudes):
    """Open-Unmix for all sources at once; parameters have a leading axis over sources.

    In training ``spectra`` draws its dropout from ``dropout``.
    """

    rngs = ("dropout",)
    batch_norms = NORMS
    # A step of the recurrence reads all weights, be it of one chunk or of many.
    cpu_batch_seconds = 40.0

    @property
    def heard(self) -> int:
        """Number of the lowest bins that the networks hear."""
        bandwidth, layout = self.config.bandwidth, dict(sample_rate=self.sample_rate)
        return bins_within(bandwidth, n_fft=self.config.n_fft, **layout)

    @property
    def offline(self) -> str:
        """Why there is no stream: layers of both directions, or a Wiener filter."""
        if self.config.bidirectional:
            return "its networks hear the future: not with model.bidirectional=False"
        return super().offline

    def init_magnitudes(self, batch: int) -> Any:
        """Return the states of the recurrent layers, those of all targets first."""
        config = self.config
        one = lstm_state(batch, config.hidden, config.compute_dtype)
        each = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(self.targets)), one)
        return [each] * config.layers

    def magnitudes_step(
        self,
        state: Any,
        mixture: Float[Array, "batch frames channels bins"],
        valid: Bool[Array, " frames"],
    ) -> tuple[Any, Float[Array, "batch targets frames channels bins"]]:
        """Estimate the next frames of a stream, as :meth:`magnitudes` the whole."""

        def network(parts: dict, statistics: dict, state: Any) -> tuple:
            how = dict(dtype=self.config.compute_dtype)
            return magnitude_network_step(
                parts, statistics, state, mixture, valid, **how
            )

        each = dict(self.parts), self._known(), state
        return jax.vmap(network, out_axes=(0, 1))(*each)

    def setup(self) -> None:
        """Declare parameters and statistics, those of all targets side by side."""
        config = self.config
        parts = magnitude_network_parts(
            bins=config.n_fft // 2 + 1,
            heard=self.heard,
            channels=self.audio_channels,
            hidden=config.hidden,
            layers=config.layers,
            bidirectional=config.bidirectional,
        )
        self._declare(parts)

    def magnitudes(
        self,
        mixture: Float[Array, "batch frames channels bins"],
        *,
        train: bool = False,
        axis_name: str | None = None,
    ) -> Float[Array, "batch targets frames channels bins"]:
        """Estimate the magnitudes of every target with its network."""
        config, count = self.config, len(self.targets)
        noisy = train and config.dropout and config.layers > 1
        keys = jax.random.split(self.make_rng("dropout"), count) if noisy else None

        options = dict(train=train, dropout=config.dropout if noisy else 0.0)
        options |= dict(dtype=config.compute_dtype, axis_name=axis_name)

        def network(parts: dict, statistics: dict, key: Array | None) -> tuple:
            return magnitude_network(parts, statistics, mixture, key=key, **options)

        each = dict(self.parts), self._known(), keys
        estimates, new = jax.vmap(network, out_axes=(1, 0))(*each)
        self._keep(new, train)
        return estimates


@MODELS.register("open_unmix")
def open_unmix(
    config: OpenUnmixConfig, *, sources: tuple[str, ...], sample_rate: int
) -> OpenUnmix:
    """Open-Unmix of the configured size, a network for each of the sources."""
    return OpenUnmix(sources, sample_rate, config)
