"""Typed configuration of a run: what it may say, and its tree of plain values."""

from sepjax.config.rules import get_field, validate
from sepjax.config.schema import (
    Config,
    DataConfig,
    EvalConfig,
    LiveConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
    layer_strides,
)
from sepjax.config.tree import (
    differences,
    from_dict,
    member_configs,
    member_folders,
    resolve,
    to_dict,
    variation_name,
    variations,
    with_values,
)

__all__ = [
    "Config",
    "DataConfig",
    "EvalConfig",
    "LiveConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "TrainConfig",
    "differences",
    "from_dict",
    "get_field",
    "layer_strides",
    "member_configs",
    "member_folders",
    "resolve",
    "to_dict",
    "validate",
    "variation_name",
    "variations",
    "with_values",
]
