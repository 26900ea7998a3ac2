"""Configurations and models from loose fields, for tests of any family."""

from sepjax.config import MODEL_CONFIGS, Config, DataConfig
from sepjax.models.build import model_of
from sepjax.train.objective import make_objective
from sepjax.train.step import objective_gradient

MUSDB = ("drums", "bass", "other", "vocals")


def config_of(name="tasnet", sources=MUSDB, sample_rate=8000, **fields):
    """A configuration of a family; ``fields`` are its model's."""
    model = MODEL_CONFIGS.find(name)(**fields)
    return Config(
        model=model, data=DataConfig(sources=sources, sample_rate=sample_rate)
    )


def make_model(name="tasnet", **fields):
    """The model of :func:`config_of`."""
    return model_of(config_of(name, **fields))


def gradient_of(model, loss=None, **options):
    """``(params, excerpt) -> (gradients, metrics)`` of the whole batch's loss."""
    gradient = objective_gradient(make_objective(model, loss), **options)
    return lambda params, excerpt: gradient(params, excerpt, {})[:2]
