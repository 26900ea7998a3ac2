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
    spectral,
    tcn,
    wiener,
)

__all__ = [
    "augment",
    "augmentations",
    "filterbanks",
    "framing",
    "generation",
    "inverse",
    "live",
    "masking",
    "norms",
    "recurrent",
    "resample",
    "spectral",
    "tcn",
    "wiener",
]
