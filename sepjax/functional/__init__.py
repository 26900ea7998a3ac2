"""Pure functions of arrays: every formula of sepjax, free of state and of Flax."""

from sepjax.functional import (
    augment,
    augmentations,
    filterbanks,
    framing,
    generation,
    inverse,
    live,
    masking,
    norms,
    recurrent,
    resample,
    resample_kaiser,
    spectral,
    tcn,
    wiener,
)
from sepjax.functional.live import audience, hall
from sepjax.models.meta_tasnet import network as mask_network
from sepjax.models.open_unmix import network as magnitude_network

__all__ = [
    "audience",
    "augment",
    "augmentations",
    "filterbanks",
    "framing",
    "generation",
    "hall",
    "inverse",
    "live",
    "magnitude_network",
    "mask_network",
    "masking",
    "norms",
    "recurrent",
    "resample",
    "resample_kaiser",
    "spectral",
    "tcn",
    "wiener",
]
