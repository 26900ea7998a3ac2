"""Models by name: thin Flax shells around :mod:`sepjax.functional`.

A folder here is a family: its configuration, which needs no jax, its model, its
importers. Names are imported when they are first touched, so that a configuration can
be read without any model.
"""

from typing import TYPE_CHECKING

from sepjax.registry import names_on_demand

if TYPE_CHECKING:
    from sepjax.models.build import build_model as build_model
    from sepjax.models.contract import Model as Model
    from sepjax.models.contract import Separation as Separation
    from sepjax.models.contract import SeparationModel as SeparationModel
    from sepjax.models.contract import Streaming as Streaming
    from sepjax.models.registry import MODELS as MODELS

_NAMES = {
    "MODELS": "registry",
    "Model": "contract",
    "Separation": "contract",
    "SeparationModel": "contract",
    "Streaming": "contract",
    "build_model": "build",
}
__all__ = sorted(_NAMES)

if not TYPE_CHECKING:  # a checker shall miss what is misspelled
    __getattr__ = names_on_demand(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__"])
