"""Model families by name."""

from sepjax.registry import Registry

MODELS = Registry("model", package="sepjax.models", module="model")
"""``MODELS.build(config.name, config, sources=..., sample_rate=...)`` is a model."""
