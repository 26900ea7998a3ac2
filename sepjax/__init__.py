"""sepjax: a functional JAX laboratory for music source separation.

Submodules are imported when they are first touched, so that ``import sepjax`` is light:

    >>> import sepjax
    >>> sepjax.functional.framing.frames_for(64000, 20)
    3200
"""

from typing import TYPE_CHECKING

from sepjax.registry import names_on_demand

if TYPE_CHECKING:
    from sepjax import config as config
    from sepjax import evaluation as evaluation
    from sepjax import functional as functional
    from sepjax import inference as inference
    from sepjax import losses as losses
    from sepjax import models as models
    from sepjax import report as report
    from sepjax import train as train
    from sepjax import weights as weights
    from sepjax.inference.separate import separate as separate
    from sepjax.inference.separator import Cancelled as Cancelled
    from sepjax.inference.separator import Separator as Separator
    from sepjax.losses import si_sdr as si_sdr
    from sepjax.models import build_model as build_model
    from sepjax.report import write_report as write_report
    from sepjax.train.load import load as load

__version__ = "0.1.0"

_NAMES = {
    "Cancelled": "inference.separator",
    "Separator": "inference.separator",
    "build_model": "models",
    "load": "train.load",
    "separate": "inference.separate",
    "si_sdr": "losses",
    "write_report": "report",
    **dict.fromkeys(("config", "evaluation", "functional", "inference"), ""),
    **dict.fromkeys(("losses", "models", "report", "train", "weights"), ""),
}
__all__ = ["__version__", *_NAMES]

if not TYPE_CHECKING:  # a checker shall miss what is misspelled
    __getattr__ = names_on_demand(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
