"""Optimisers by name, their schedules, and what they leave as it is."""

from sepjax.train.optim.chain import OPTIMIZERS as OPTIMIZERS
from sepjax.train.optim.chain import UNSUITED as UNSUITED
from sepjax.train.optim.chain import decayed as decayed
from sepjax.train.optim.chain import find_optimizer as find_optimizer
from sepjax.train.optim.chain import is_used as is_used
from sepjax.train.optim.chain import learning_rate as learning_rate
from sepjax.train.optim.chain import make_optimizer as make_optimizer
from sepjax.train.optim.chain import matrix_axes as matrix_axes
from sepjax.train.optim.chain import named_optimizers as named_optimizers
