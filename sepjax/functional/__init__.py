"""Pure functions of arrays: every formula of sepjax, free of state and of Flax."""

from sepjax.functional import (
    augment,
    filterbanks,
    framing,
    inverse,
    masking,
    norms,
    recurrent,
    spectral,
    tcn,
)

__all__ = [
    "augment",
    "filterbanks",
    "framing",
    "inverse",
    "masking",
    "norms",
    "recurrent",
    "spectral",
    "tcn",
]
