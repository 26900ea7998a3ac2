"""Optimisers by name, their schedules, and what they leave as it is."""

from sepjax.train.optim.chain import (
    OPTIMIZERS,
    UNSUITED,
    decayed,
    find_optimizer,
    is_used,
    learning_rate,
    make_optimizer,
    matrix_axes,
    named_optimizers,
)

__all__ = [
    "OPTIMIZERS",
    "UNSUITED",
    "decayed",
    "find_optimizer",
    "is_used",
    "learning_rate",
    "make_optimizer",
    "matrix_axes",
    "named_optimizers",
]
