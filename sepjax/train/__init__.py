"""Training: one step, one loop, and what a run leaves behind."""

from sepjax.train.loop import train
from sepjax.train.optim import make_optimizer
from sepjax.train.optim.plateau import PlateauState, plateau_step
from sepjax.train.step import TrainState, init_state, make_eval_step, make_train_step

__all__ = [
    "PlateauState",
    "TrainState",
    "init_state",
    "make_eval_step",
    "make_optimizer",
    "make_train_step",
    "plateau_step",
    "train",
]
