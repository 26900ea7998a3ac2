"""The loss that learns dictionaries."""

from jaxtyping import Array, Float

from sepjax.losses.registry import LOSSES
from sepjax.losses.waveform import Values


@LOSSES.register(
    "classical",
    label="divergence",
    over_sources="sum",
    counts_silence=True,
    positive=True,
)
def classical(divergences: Float[Array, "batch sources"]) -> Values:
    """Divergence of each stem from what the templates of its class can make of it."""
    return divergences
