"""Reduce the learning rate when validation stops improving, as PyTorch does."""

import math
from typing import NamedTuple


class PlateauState(NamedTuple):
    """Where the schedule stands; all of it is saved with a checkpoint."""

    learning_rate: float
    best: float = math.inf
    bad: int = 0  # evaluations since the best one
    cooldown: int = 0  # evaluations left during which none counts as bad


def plateau_step(
    state: PlateauState,
    value: float,
    *,
    factor: float,
    patience: int,
    cooldown: int = 0,
    threshold: float = 1e-4,
    threshold_mode: str = "abs",
    smallest_change: float = 1e-8,
) -> PlateauState:
    """Update the schedule after an evaluation; lower values are better.

    The rate is multiplied by ``factor`` when more than ``patience`` evaluations in
    sequence were no improvement, that is at evaluation ``patience + 1``. A value
    improves if it is below ``best - threshold``; the relative form ("rel"),
    ``best * (1 - threshold)``, accepts slightly worse values as better when losses are
    negative, as SI-SDR losses are, and serves only for comparison.

    Example:
        >>> state = PlateauState(learning_rate=1.0)
        >>> for value in (-5.0, -5.0, -5.0):
        ...     state = plateau_step(state, value, factor=0.5, patience=1)
        >>> state.learning_rate, state.best
        (0.5, -5.0)

    Reference:
        torch.optim.lr_scheduler.ReduceLROnPlateau, mode "min".
    """
    rate, best, bad, left = state
    margin = threshold if threshold_mode == "abs" else best * threshold
    better = value < best - margin if math.isfinite(best) else value < best
    best, bad = (value, 0) if better else (best, bad + 1)
    if left > 0:
        left, bad = left - 1, 0
    if bad > patience:
        left, bad = cooldown, 0
        if rate - rate * factor > smallest_change:
            rate = rate * factor
    return PlateauState(rate, best, bad, left)
