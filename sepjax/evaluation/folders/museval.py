"""Scores of one track as museval 0.4 stores them: JSON that its tools read.

    {"targets": [{"name": "vocals", "frames": [{"time": 0.0, "duration": 1.0,
     "metrics": {"SDR": 5.2, "SIR": 3.2, "SAR": 3.9, "ISR": 6.0}}, ...]}, ...],
     "museval_version": "0.4.1"}

Values are rounded to five decimals and infinities are NaN, which stands bare in the
file: museval's reader needs that, strict JSON forbids it. What is exact belongs
elsewhere.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation.results import NUMBER, TEXT, Kind, require
from sepjax.storage import read_json, write_atomically

METRICS = ("SDR", "SIR", "SAR", "ISR")
VALUE = Kind("a number, NaN or null", lambda v: v is None or v != v or NUMBER.fits(v))
FRAME = {"metrics!": {f"{metric}!": VALUE for metric in METRICS}}
TREE = {"targets!": [{"name!": TEXT, "frames!": [FRAME]}]}
Curves = Mapping[str, Mapping[str, Sequence[float]]]  # class -> metric -> windows


def museval_tree(
    curves: Curves, *, window_seconds: float = 1.0, hop_seconds: float = 1.0
) -> dict[str, Any]:
    """Return the tree that museval writes.

    Curves are the values of SDR, ISR, SIR and SAR (in any case) of each class in all
    windows, as the fields of :class:`sepjax.evaluation.BssScores`.

    Raises:
        ValueError: a class lacks a metric.

    Example:
        >>> scores = dict(sdr=[5.247482], isr=[2.0], sir=[float("inf")], sar=[1.0])
        >>> museval_tree({"vocals": scores})["targets"][0]["frames"][0]["metrics"]
        {'SDR': 5.24748, 'SIR': nan, 'SAR': 1.0, 'ISR': 2.0}
    """
    targets = []
    for name, values in curves.items():
        upper = {metric.upper(): values[metric] for metric in values}
        if missing := [metric for metric in METRICS if metric not in upper]:
            raise ValueError(f"{name!r} has no {', '.join(missing)}; museval needs it")
        frames = []
        for index in range(len(upper["SDR"])):
            scores = {metric: _stored(upper[metric][index]) for metric in METRICS}
            time, length = index * float(hop_seconds), float(window_seconds)
            frames.append({"time": time, "duration": length, "metrics": scores})
        targets.append({"name": name, "frames": frames})
    return {"targets": targets, "museval_version": "0.4.1"}


def _stored(value: float) -> float:
    # Half to even at the fifth decimal of the exact binary value, as museval's Decimal.
    return round(float(value), 5) if math.isfinite(value) else math.nan


def write_museval(path: Path, curves: Curves, **seconds: float) -> None:
    """Write :func:`museval_tree`; museval reads ``<folder>/test/**/<track>.json``."""
    tree = museval_tree(curves, **seconds)
    write_atomically(path, json.dumps(tree, indent=2, ensure_ascii=False))


def read_museval(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Class -> metric -> values of all windows; NaN and null are both NaN.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not of this format; names it and the field.
    """
    try:
        tree = read_json(path, dict, nan=True)
        require(tree, TREE, Path(path))
    except ValueError as error:
        raise ValueError(f"{path} is not a track of museval: {error}") from error
    curves = {}
    for target in tree["targets"]:
        frames = [frame["metrics"] for frame in target["frames"]]
        columns = ([frame[metric] for frame in frames] for metric in METRICS)
        arrays = (np.array(column, float) for column in columns)
        curves[target["name"]] = dict(zip(METRICS, arrays))
    return curves


def median_of_windows(values: Sequence[float]) -> float:
    """Median of the finite values: museval's number of a track; NaN if there is none.

    Example:
        >>> median_of_windows([1.0, float("nan"), 2.0, float("inf"), 9.0])
        2.0
    """
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else math.nan
