"""Models by name: thin Flax shells around :mod:`sepjax.functional`.

A folder here is a family: its configuration, which needs no jax, its model, its
importers. Names are imported when they are first touched, so that a configuration can
be read without any model.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sepjax.models.build import build_model as build_model
    from sepjax.models.contract import Model as Model
    from sepjax.models.contract import Separation as Separation
    from sepjax.models.contract import SeparationModel as SeparationModel
    from sepjax.models.registry import MODELS as MODELS

_NAMES = {
    "MODELS": "sepjax.models.registry",
    "Model": "sepjax.models.contract",
    "Separation": "sepjax.models.contract",
    "SeparationModel": "sepjax.models.contract",
    "build_model": "sepjax.models.build",
}
__all__ = sorted(_NAMES)

if not TYPE_CHECKING:  # a checker shall miss what is misspelled

    def __getattr__(name: str) -> Any:
        if name in _NAMES:
            return getattr(importlib.import_module(_NAMES[name]), name)
        raise AttributeError(f"module 'sepjax.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__"])
