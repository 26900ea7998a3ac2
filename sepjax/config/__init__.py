"""Typed configuration of a run: what it may say, and its tree of plain values."""

from sepjax.config.rules import validate as validate
from sepjax.config.schema import MODEL_CONFIGS as MODEL_CONFIGS
from sepjax.config.schema import Config as Config
from sepjax.config.schema import DataConfig as DataConfig
from sepjax.config.schema import EvalConfig as EvalConfig
from sepjax.config.schema import LiveConfig as LiveConfig
from sepjax.config.schema import LossConfig as LossConfig
from sepjax.config.schema import ModelConfig as ModelConfig
from sepjax.config.schema import OptimConfig as OptimConfig
from sepjax.config.schema import TrainConfig as TrainConfig
from sepjax.config.schema import choice as choice
from sepjax.config.schema import positive as positive
from sepjax.config.schema import setting as setting
from sepjax.config.tree import differences as differences
from sepjax.config.tree import from_dict as from_dict
from sepjax.config.tree import member_configs as member_configs
from sepjax.config.tree import member_folders as member_folders
from sepjax.config.tree import require_field as require_field
from sepjax.config.tree import resolve as resolve
from sepjax.config.tree import to_dict as to_dict
from sepjax.config.tree import variation_name as variation_name
from sepjax.config.tree import variations as variations
from sepjax.config.tree import with_values as with_values
