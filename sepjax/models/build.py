"""From a configuration to a model."""

import copy
from collections.abc import Sequence

from sepjax.config import Config, ModelConfig
from sepjax.models.contract import SeparationModel
from sepjax.models.registry import MODELS


def build_model(
    config: ModelConfig, *, sources: Sequence[str], sample_rate: int
) -> SeparationModel:
    """Build the model that a configuration describes.

    Args:
        config: ``config.model`` of a run; later changes to it do not reach the model.
        sources: names of the classes, ``config.data.sources``.
        sample_rate: Hz, ``config.data.sample_rate``.

    Returns:
        A module that keeps the contract :class:`sepjax.models.contract.Model`:
        ``init(key, mixture)`` draws variables and ``apply(variables, mixture)`` returns
        a :class:`~sepjax.models.contract.Separation`.

    Raises:
        ValueError: there is no such family; the nearest names are suggested.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from sepjax.models.tasnet.config import TasNetConfig
        >>> small = TasNetConfig(N=16, B=8, H=8, layers=2, stack=1)
        >>> model = build_model(small, sources=("voice", "rest"), sample_rate=8000)
        >>> variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 800)))
        >>> jax.jit(model.apply)(variables, jnp.ones((2, 800))).estimates.shape
        (2, 2, 800)
    """
    if type(config).__hash__ is None:
        raise ValueError(
            f"{type(config).__name__} cannot be hashed, as models that are compiled "
            "must be: decorate it with @dataclasses.dataclass(unsafe_hash=True)"
        )
    facts = dict(sources=tuple(sources), sample_rate=sample_rate)
    return MODELS.build(config.family or config.name, copy.deepcopy(config), **facts)


def model_of(config: Config) -> SeparationModel:
    """Build the model of a configuration: :func:`build_model` of two of its sections.

    Example:
        >>> from sepjax.models.demucs.config import DemucsConfig
        >>> model_of(Config(model=DemucsConfig())).sources
        ('drums', 'bass', 'other', 'vocals')
    """
    data = config.data
    return build_model(config.model, sources=data.sources, sample_rate=data.sample_rate)
