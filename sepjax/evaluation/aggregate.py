"""From scores of tracks to scores of a set: means, medians, a table, JSON.

A score is a float in dB; NaN means that the class is silent in that track and
nothing was measured. Such tracks are left out, and the number of tracks that are
left in stands beside every average.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sepjax.registry import aligned

Scores = Mapping[str, Mapping[str, float]]  # class -> metric -> dB


def aggregate(tracks: Sequence[Scores]) -> dict[str, dict[str, float]]:
    """Mean and median over tracks of every metric of every class.

    Args:
        tracks: the scores of each track; NaN where a class is silent.

    Returns:
        For each class ``{metric: mean, metric_median: median, "tracks": n}`` where
        ``n`` counts the tracks in which the class sounds. NaN when there is none.

    Example:
        >>> songs = [{"bass": {"usdr": 1.0}}, {"bass": {"usdr": float("nan")}}]
        >>> aggregate(songs)
        {'bass': {'usdr': 1.0, 'usdr_median': 1.0, 'tracks': 1}}
    """
    classes = dict.fromkeys(name for track in tracks for name in track)
    return {
        name: _summary([track[name] for track in tracks if name in track])
        for name in classes
    }


def _summary(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    summary: dict[str, float] = {}
    sounding: list[float] = []
    for metric in scores[0]:
        values = [score[metric] for score in scores]
        sounding = [value for value in values if not math.isnan(value)]
        summary[metric] = float(np.mean(sounding)) if sounding else math.nan
        summary[f"{metric}_median"] = (
            float(np.median(sounding)) if sounding else math.nan
        )
    return {**summary, "tracks": len(sounding)}


def difference(scores: Scores, baseline: Scores, metric: str) -> Scores:
    """``scores - baseline`` of one metric of one track, for every class.

    Example:
        >>> difference({"bass": {"usdr": 3.0}}, {"bass": {"usdr": 1.0}}, "usdr")
        {'bass': {'usdr': 2.0}}
    """
    return {
        name: {metric: scores[name][metric] - baseline[name][metric]} for name in scores
    }


def mean_over_classes(summary: Scores, metric: str) -> float:
    """Mean of one metric over the classes that sound in some track."""
    values = [row[metric] for row in summary.values() if not math.isnan(row[metric])]
    return float(np.mean(values)) if values else math.nan


def format_table(results: Mapping[str, Any], metric: str = "si_sdr") -> str:
    """A table of plain text: model, mixture, oracle and improvement per class.

    Args:
        results: as written to ``results.json``; None or NaN for no value.
        metric: the metric to show, of those in ``results["model"]``.

    Returns:
        Aligned lines, the last one the mean over classes.
    """
    columns = ("model", "mixture", "oracle", "improvement")
    rows = [("class", *columns, "tracks")]
    for name, scores in results["model"].items():
        values = [results[column].get(name, {}).get(metric) for column in columns]
        rows.append((name, *_cells(values), str(scores["tracks"])))
    means = [results["mean"][column].get(metric) for column in columns]
    rows.append(("mean", *_cells(means), ""))
    return aligned(rows)


def _cells(values: Sequence[float | None]) -> list[str]:
    *scores, gain = (math.nan if value is None else value for value in values)
    cells = ["-" if math.isnan(value) else f"{value:.2f}" for value in scores]
    return [*cells, "-" if math.isnan(gain) else f"{gain:+.2f}"]
