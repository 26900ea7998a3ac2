"""Pure functions of arrays: every formula of sepjax, free of state and of Flax."""

from sepjax.functional import (
    augment,
    filterbanks,
    framing,
    generation,
    inverse,
    mask_network,
    masking,
    norms,
    recurrent,
    resample,
    resample_kaiser,
    spectral,
    tcn,
    wiener,
)

__all__ = [
    "augment",
    "filterbanks",
    "framing",
    "generation",
    "inverse",
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
