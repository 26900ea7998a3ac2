"""Training: one step, one loop, and what a run leaves behind.

Names are imported when they are first touched: what a run is made with needs no flax.
"""

import importlib
from typing import Any

_NAMES = {
    "PlateauState": "optim.plateau",
    "TrainState": "step",
    "init_state": "step",
    "make_eval_step": "step",
    "make_optimizer": "optim",
    "make_train_step": "step",
    "plateau_step": "optim.plateau",
    "train": "loop",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"sepjax.train.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'sepjax.train' has no attribute {name!r}")
