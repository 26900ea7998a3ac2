"""MMDenseLSTM: dense blocks and recurrent networks on magnitudes, one for each source.

Reference: Takahashi, Goswami and Mitsufuji 2018.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from sepjax.models.magnitudes import MagnitudeSeparation, bins_within
from sepjax.models.mm_dense_lstm.config import MmDenseLstmConfig
from sepjax.models.mm_dense_lstm.network import BandNetworks
from sepjax.models.registry import MODELS


class MmDenseLstm(MagnitudeSeparation):
    """A :class:`BandNetworks` for every source, one after the other.

    Masks, and standardized inputs, are taken over from Open-Unmix. Guesses, where the
    paper is silent: a dense block passes on its last layer; 1x1 convolutions give all
    bands the width of the widest; all networks begin with as many channels; units count
    both directions.
    """

    batch_norms = ("networks",)

    @nn.compact
    def magnitudes(
        self,
        mixture: Float[Array, "batch frames channels bins"],
        *,
        train: bool = False,
        axis_name: str | None = None,
    ) -> Float[Array, "batch targets frames channels bins"]:
        """Estimate the magnitudes of every target with its network."""
        config, count = self.config, len(self.targets)
        shape = (count, self.heard)
        mean = self.param("input_mean", nn.initializers.zeros, shape)
        scale = self.param("input_scale", nn.initializers.ones, shape)
        layout = dict(n_fft=config.n_fft, sample_rate=self.sample_rate)

        def of_one(network: BandNetworks, carry: tuple, *own: Array) -> tuple:
            return carry, network(mixture, *own)

        # Side by side their convolutions would be grouped, which CPUs are slow at; and
        # the images of one network at a time are enough for the backward pass.
        each = nn.scan(
            nn.remat(of_one, prevent_cse=False),
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True},
            out_axes=1,
            length=count,
        )
        fields = dict(networks=config.networks, final=config.final, first=config.first)
        narrow = None if config.compute_dtype == "float32" else config.compute_dtype
        fields |= dict(train=train, axis_name=axis_name, dtype=narrow)
        edges = (bins_within(edge, **layout) for edge in config.bands)
        edges = tuple(edge for edge in edges if edge < self.heard)
        networks = BandNetworks(edges=edges, **fields, name="networks")
        return each(networks, (), mean, scale)[1]


@MODELS.register("mm_dense_lstm")
def mm_dense_lstm(
    config: MmDenseLstmConfig, *, sources: tuple[str, ...], sample_rate: int
) -> MmDenseLstm:
    """MMDenseLSTM of the configured size, a network for each of the sources."""
    return MmDenseLstm(sources, sample_rate, config)
