"""Training: one step, one loop, and what a run leaves behind.

Names are imported when they are first touched: what a run is made with needs no flax.
"""

from typing import TYPE_CHECKING

from sepjax.registry import names_on_demand

if TYPE_CHECKING:
    from sepjax.train.loop import train as train
    from sepjax.train.optim import make_optimizer as make_optimizer
    from sepjax.train.step import TrainState as TrainState
    from sepjax.train.step import init_state as init_state
    from sepjax.train.step import make_eval_step as make_eval_step
    from sepjax.train.step import make_train_step as make_train_step

_NAMES = {
    "TrainState": "step",
    "init_state": "step",
    "make_eval_step": "step",
    "make_optimizer": "optim",
    "make_train_step": "step",
    "train": "loop",
}
__all__ = list(_NAMES)

if not TYPE_CHECKING:  # a checker shall miss what is misspelled
    __getattr__ = names_on_demand(__name__, _NAMES)
