"""The network of MMDenseLSTM for one source: dense blocks at several scales and bands.

Images are channel-last: ``(batch, frames, bins, channels)``.

Reference: Takahashi, Goswami and Mitsufuji 2018, "MMDenseLSTM: an efficient combination
of convolutional and recurrent neural networks for audio source separation"; Takahashi
and Mitsufuji 2017, "Multi-scale multi-band DenseNets for audio source separation".
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.functional.recurrent import init_lstm, lstm
from sepjax.models.mm_dense_lstm.config import Network, parse_network

Image = Float[Array, "batch _ _ _"]


class BandNetworks(nn.Module):
    """Networks of the bands and of all of them, and a dense block of what they find.

    Estimates are ``relu(1 + y)`` times the mixture's magnitudes.

    Attributes:
        networks: as the configuration has them; ``final`` and ``first`` too.
        edges: bins at which a new band begins.
        train: norms use the statistics of this batch, and keep a tenth of them.
        axis_name: axis of devices along which the batch is split, if it is.
        dtype: of products, None: that of the parameters; norms are float32 at least.
    """

    networks: tuple[str, ...]
    edges: tuple[int, ...]
    final: str
    first: int
    train: bool
    axis_name: str | None
    dtype: str | None

    @nn.compact
    def __call__(
        self,
        magnitudes: Float[Array, "batch frames channels bins"],
        mean: Float[Array, " bins"],
        scale: Float[Array, " bins"],
    ) -> Float[Array, "batch frames channels bins"]:
        """Estimate the magnitudes of a source; ``(X + mean) * scale`` is heard."""
        x = (magnitudes + mean[None, None, None]) * scale[None, None, None]
        x = jnp.swapaxes(x, 2, 3)
        *networks, whole = map(parse_network, self.networks)
        width = max(network.growth for network in networks[: len(self.edges) + 1])
        bands = []
        for index, band in enumerate(jnp.split(x, self.edges, axis=2)):
            band = self._hourglass(band, networks[index], f"band_{index}")
            bands.append(self._convolve(band, width, 1, f"band_{index}_width"))
        full = self._hourglass(x, whole, "full")
        y = jnp.concatenate([jnp.concatenate(bands, axis=2), full], axis=-1)
        growth, (layers,), (units,) = parse_network(self.final)
        y = nn.relu(self._norm(self._dense(y, growth, layers, units, "final"), "norm"))
        y = self._convolve(y, x.shape[-1], 1, "output").astype(magnitudes.dtype)
        return nn.relu(1 + jnp.swapaxes(y, 2, 3)) * magnitudes

    def _hourglass(self, x: Image, network: Network, name: str) -> Image:
        """Dense blocks at scales 1, 1/2, 1/4 ... and back, equal ones side by side."""
        growth, layers, units = network
        depth, seen = len(layers) // 2, []
        x = self._convolve(x, self.first, 3, f"{name}_first")
        for index, block in enumerate(zip(layers, units)):
            if index > depth:
                other, size = seen.pop(), (2, 2)
                options = dict(
                    strides=size, dtype=self.dtype, name=f"{name}_up_{index}"
                )
                x = nn.ConvTranspose(x.shape[-1], size, **options)(x)
                x = x[:, : other.shape[1], : other.shape[2]]
                x = jnp.concatenate([x, other], axis=-1)
            x = self._dense(x, growth, *block, f"{name}_{index}")
            if index < depth:
                seen.append(x)
                x = self._convolve(x, x.shape[-1], 1, f"{name}_down_{index}")
                window = dict(strides=(2, 2), padding="SAME", count_include_pad=False)
                x = nn.avg_pool(_wide(x), (2, 2), **window)
        return x

    def _dense(
        self, x: Image, growth: int, layers: int, units: int, name: str
    ) -> Image:
        """Layers that hear the input and all layers before; the last one's channels.

        With ``units`` there is one channel more: 1x1 to one, frames heard in both
        directions, states mapped back to the bins.
        """
        new = x
        for layer in range(layers):
            normed = nn.relu(self._norm(x, f"{name}_norm_{layer}"))
            new = self._convolve(normed, growth, 3, f"{name}_conv_{layer}")
            x = jnp.concatenate([x, new.astype(x.dtype)], axis=-1)
        if not units:
            return new
        frames = self._convolve(new, 1, 1, f"{name}_squeeze")[..., 0]
        bins = frames.shape[-1]
        draw = functools.partial(init_lstm, inputs=bins, hidden=units // 2)
        states = lstm(self.param(f"{name}_lstm", draw), frames)
        back = nn.Dense(bins, dtype=self.dtype, name=f"{name}_back")(states)
        return jnp.concatenate([new, back[..., None]], axis=-1)

    def _norm(self, x: Image, name: str) -> Image:
        axis = None if self.is_initializing() else self.axis_name
        options = dict(momentum=0.9, axis_name=axis, use_fast_variance=False)
        options |= dict(use_running_average=not self.train, name=name)
        norm = nn.BatchNorm(**options)
        return norm(_wide(x))

    def _convolve(self, x: Image, width: int, size: int, name: str) -> Image:
        return nn.Conv(width, (size, size), dtype=self.dtype, name=name)(x)


def _wide(x: Image) -> Image:
    return x.astype(np.promote_types(x.dtype, jnp.float32))
