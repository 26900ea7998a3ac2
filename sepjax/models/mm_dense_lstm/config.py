"""The configuration of MMDenseLSTM."""

import dataclasses
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from sepjax.config import MODEL_CONFIGS, Config, positive, setting
from sepjax.models.magnitudes_config import MagnitudesConfig

NETWORK = re.compile(r"(\d{1,4}): *(\d{1,4}(\+\d{1,4})?( +|$))+")


class Network(NamedTuple):
    """Dense blocks: those of an hourglass from scale 1 down, and up again."""

    growth: int
    layers: tuple[int, ...]
    units: tuple[int, ...]  # of the recurrent network behind each block; 0: none


def parse_network(text: str) -> Network:
    """Parse the growth rate, and the layers and recurrent units of each dense block.

    Raises:
        ValueError: the text has another form.

    Example:
        >>> parse_network("14: 5 4+32 5")
        Network(growth=14, layers=(5, 4, 5), units=(0, 32, 0))
    """
    if not NETWORK.fullmatch(text):
        raise ValueError(f"{text!r} is no network such as '14: 5 5+128 5'")
    growth, _, blocks = text.partition(":")
    pairs = [block.partition("+") for block in blocks.split()]
    layers = tuple(int(first) for first, _, _ in pairs)
    return Network(int(growth), layers, tuple(int(last or 0) for _, _, last in pairs))


@MODEL_CONFIGS.register("mm_dense_lstm")
@dataclasses.dataclass(unsafe_hash=True)
class MmDenseLstmConfig(MagnitudesConfig):
    """The bands, and the networks of the bands, of all of them and of their outputs."""

    name: str = setting("mm_dense_lstm", "free")
    # Hz, upper edges of all bands but the last; what the audio lacks is left out.
    bands: tuple[float, ...] = (4100.0, 11000.0)
    networks: tuple[str, ...] = (  # growth: layers of the blocks, +recurrent units
        "14: 5 5 5 5+128 5 5+128 5",
        "4: 4 4 4 4+32 4 4 4",
        "2: 1 1 1+8 1 1",
        "7: 3 3 4 5 5+128 5 4 3+128 3",  # of the full band
    )
    final: str = "12: 3"  # dense block of what the networks find
    first: int = positive(32)  # channels of every network's first convolution

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problems of fields that do not go together."""
        yield from super().problems(config)
        width = config.data.sample_rate / self.n_fft
        if any(low + width > high for low, high in pairwise((0.0, *self.bands))):
            yield f"model.bands={self.bands} must rise from 0, by a bin of the spectra"
        if len(self.networks) != len(self.bands) + 2:
            yield (
                f"model.networks needs {len(self.bands) + 2}: one for each band, and "
                f"one for all; it has {len(self.networks)}"
            )
        if self.final.rpartition(":")[2].split()[1:]:
            yield f"model.final={self.final!r} is one block, such as '12: 3'"
        for text in (*self.networks, self.final):
            if not NETWORK.fullmatch(text):
                yield f"model.networks: {text!r} is no network such as '14: 5 5+128 5'"
                continue
            network = parse_network(text)
            if len(network.layers) % 2 == 0 or min(network.growth, *network.layers) < 1:
                yield f"model.networks: {text!r} needs an odd number of blocks, above 0"
            if any(units % 2 for units in network.units):
                yield f"model.networks: {text!r}: units are halved for two directions"
