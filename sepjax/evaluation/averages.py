"""Averages of scores, of which some were not measured."""

import math
import statistics
from collections.abc import Iterable
from typing import Any

import numpy as np


def median(values: Iterable[float]) -> float:
    """Return the median without NaN; infinities keep their rank.

    Example:
        >>> median([1.0, math.nan, 3.0, math.inf])
        3.0
    """
    known = [value for value in values if not math.isnan(value)]
    return float(statistics.median(known)) if known else math.nan


def mean(values: Iterable[float]) -> float:
    """Return the mean without NaN.

    Example:
        >>> mean([1.0, math.nan, 3.0])
        2.0
    """
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def mean_and_deviation(values: Any) -> tuple[Any, Any]:
    """Mean over the first axis, and the deviation of a sample, 0 of a single value.

    Example:
        >>> [float(value) for value in mean_and_deviation([1.0, 3.0])]
        [2.0, 1.4142135623730951]
    """
    values = np.asarray(values, float)
    spread = values.std(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])
    return values.mean(0), spread
