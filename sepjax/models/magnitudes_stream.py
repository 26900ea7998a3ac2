"""Separation of a stream by estimated magnitudes: frames as they become known.

The transform is that of :mod:`sepjax.models.magnitudes`, whose first window lies half
before the signal, where the signal is reflected, as it is after its end. Blocks wait
for half a window, and so do the overlapping windows of the inverse transform.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sepjax.functional.framing import frame, overlap_add
from sepjax.functional.spectral import hann
from sepjax.functional.streaming import (
    Clock,
    Framing,
    next_part,
    overlap_add_step,
    reflect,
    start_clock,
)
from sepjax.functional.wiener import initial_estimates
from sepjax.models.contract import Streaming
from sepjax.models.magnitudes import MagnitudeSeparation

REFLECTED = 2  # samples before the first window to which the end is reflected


class StreamedMagnitudes(MagnitudeSeparation):
    """The state of a stream, for a family whose networks have one.

    It has the methods ``init_magnitudes`` and ``magnitudes_step``, and says ``offline``
    where its networks hear the future.
    """

    @property
    def offline(self) -> str:
        """Why there is no stream: what the Wiener filter hears."""
        if self.config.wiener_iterations:
            return "a Wiener filter hears whole songs: not with wiener_iterations=0"
        return ""

    def init_magnitudes(self, batch: int) -> Any:
        """Return the state of the networks before the first frame."""
        raise NotImplementedError

    def magnitudes_step(
        self,
        state: Any,
        mixture: Float[Array, "batch frames channels bins"],
        valid: Bool[Array, " frames"],
    ) -> tuple[Any, Float[Array, "batch targets frames channels bins"]]:
        """Estimate the magnitudes of the next frames of every target."""
        raise NotImplementedError

    @property
    def framing(self) -> Framing:
        """Windows around their frames' places; the first sample of a window is zero."""
        half, hop = self.config.n_fft // 2, self.config.hop
        return Framing(hop, before=half - 1, after=half, start=half - 1, stop=half)

    @property
    def streaming(self) -> Streaming | None:
        """Blocks of whole hops; the latency is a window's."""
        framing = self.framing
        how = Streaming(framing.latency, framing.hop, framing.lead)
        return None if self.offline else how

    def init_state(self, batch: int) -> dict[str, Any]:
        """Return the state before a stream's first block.

        It holds the clock, the samples that later windows see, the networks' state, and
        the sums of windows, and of their squares, to which later windows add.

        Raises:
            ValueError: the model hears the future; the message says what to change.
        """
        if self.offline:
            return super().init_state(batch)
        framing, channels = self.framing, self.audio_channels
        return {
            "clock": start_clock(framing),
            "past": jnp.zeros((batch, channels, framing.past + REFLECTED)),
            "network": self.init_magnitudes(batch),
            "rest": jnp.zeros((batch, len(self.sources), channels, framing.rest)),
            "weight": jnp.zeros(framing.rest),
        }

    def step(
        self,
        state: dict[str, Any],
        block: Float[Array, "batch *channels size"],
        samples: int | Array | None = None,
    ) -> tuple[dict[str, Any], Float[Array, "batch sources *channels size"]]:
        """Separate the next block of a stream, as a call does the whole.

        Raises:
            ValueError: the block is no whole number of hops.
        """
        if self.offline:
            return super().step(state, block)
        least, hop = self.config.n_fft // 2 + 1, self.config.hop
        kept, now, waves, valid = next_part(
            state,
            self._channels(block),
            samples,
            self.framing,
            lambda time: jnp.maximum(time, least) // hop + 1,
        )
        # A reflection needs more samples than half a window: silence follows.
        end, size = jnp.maximum(now.end, least), block.shape[-1]
        spectra = self._spectra(waves, now._replace(end=end), size)
        network, magnitudes = self.magnitudes_step(
            state["network"], jnp.swapaxes(jnp.abs(spectra), 1, 2), valid
        )
        separated = initial_estimates(
            jnp.moveaxis(magnitudes, -2, -1),
            jnp.moveaxis(spectra, 1, -1),
            softmask=self.config.wiener_softmask,
            residual=self.config.wiener_residual,
        )
        sums, estimates = self._waves(state, jnp.moveaxis(separated, -1, 2), valid)
        state = kept | dict(network=network) | sums
        return state, estimates.reshape(*estimates.shape[:2], *block.shape[1:])

    def _spectra(self, waves: Array, now: Clock, size: int) -> Array:
        """Transform the windows that a block makes known."""
        n_fft, hop = self.config.n_fft, self.config.hop
        past = waves.shape[-1] - size
        first = past + hop - self.framing.after - n_fft // 2
        seen = reflect(waves, now.position - past, now.end)[..., first:]
        frames = frame(seen[..., : size - hop + n_fft], n_fft, hop)
        window = jnp.broadcast_to(hann(n_fft).astype(frames.dtype), frames.shape)
        return jnp.fft.rfft(frames * window)

    def _waves(
        self, state: dict[str, Any], spectra: Array, valid: Array
    ) -> tuple[dict[str, Any], Array]:
        """What is left of the sums of windows, and a block of the inverse transform."""
        n_fft, hop = self.config.n_fft, self.config.hop
        frames = jnp.fft.irfft(spectra, n_fft)
        window = jnp.where(valid[:, None], hann(n_fft).astype(frames.dtype), 0)
        pieces = frames * jnp.broadcast_to(window, frames.shape)
        sums = dict(rest=pieces, weight=jnp.square(window))
        rest, blocks = {}, {}
        for name, parts in sums.items():
            wave = overlap_add(parts, hop)[..., 1:]  # before it every window is zero
            rest[name], blocks[name] = overlap_add_step(state[name], wave)
        weight = jnp.where(blocks["weight"] > 1e-8, blocks["weight"], 1.0)
        return rest, blocks["rest"] / jnp.broadcast_to(weight, blocks["rest"].shape)
