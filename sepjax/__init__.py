"""sepjax: a functional JAX laboratory for music source separation.

Submodules are imported when they are first touched, so that ``import sepjax`` is light:

    >>> import sepjax
    >>> sepjax.functional.framing.frames_for(64000, 20)
    3200
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "build_model": "sepjax.models",
    "load": "sepjax.train.load",
    "separate": "sepjax.inference.separate",
    "si_sdr": "sepjax.losses",
    "write_report": "sepjax.report",
}
_SUBMODULES = (
    *("config", "evaluation", "functional", "inference"),
    *("losses", "models", "report", "train", "weights"),
)

__all__ = ["__version__", *_NAMES, *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"sepjax.{name}")
    raise AttributeError(f"module 'sepjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
