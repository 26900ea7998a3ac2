"""Optimisers by name, their schedules, and what they leave as it is."""

from sepjax.train.optim.chain import OPTIMIZERS as OPTIMIZERS
from sepjax.train.optim.chain import decayed as decayed
from sepjax.train.optim.chain import make_optimizer as make_optimizer
from sepjax.train.optim.chain import named_optimizers as named_optimizers
from sepjax.train.optim.matrices import matrix_axes as matrix_axes
