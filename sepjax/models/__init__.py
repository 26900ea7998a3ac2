"""Models by name: thin Flax shells around :mod:`sepjax.functional`."""

import copy

import flax.linen as nn

from sepjax.config import ModelConfig
from sepjax.models.demucs import model as demucs  # noqa: F401
from sepjax.models.meta_tasnet import model as meta_tasnet  # noqa: F401
from sepjax.models.open_unmix import model as open_unmix  # noqa: F401
from sepjax.models.registry import BANKS, DECODERS, ENCODERS, MODELS, SEPARATORS
from sepjax.models.tasnet import (  # noqa: F401
    banks,
    branches,
    decoders,
    deep,
    encoders,
    separators,
)
from sepjax.models.tasnet.model import MaskedSeparation, Separation

__all__ = [
    "BANKS",
    "DECODERS",
    "ENCODERS",
    "MODELS",
    "SEPARATORS",
    "MaskedSeparation",
    "Separation",
    "build_model",
]


def build_model(config: ModelConfig) -> nn.Module:
    """The model a configuration describes.

    Args:
        config: ``config.model`` of a run; later changes to it do not reach the model.

    Returns:
        A module with attributes ``sources``, ``sample_rate``, ``audio_channels`` and
        ``oracle``; ``init(key, mixture)`` draws parameters and
        ``apply(variables, mixture)`` returns a :class:`Separation`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = build_model(ModelConfig(N=16, B=8, H=8, layers=2, stack=1))
        >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 800)))
        >>> model.apply(variables, jnp.ones((2, 800))).estimates.shape
        (2, 4, 800)
    """
    return MODELS.build(config.name, copy.deepcopy(config))
