"""The temporal convolutional network of Conv-TasNet."""

from sepjax.functional.tcn.network import (
    FUSED,
    Norm,
    init_tcn,
    receptive_field,
    tcn,
    tcn_block,
)

__all__ = [
    "FUSED",
    "Norm",
    "init_tcn",
    "receptive_field",
    "tcn",
    "tcn_block",
]
