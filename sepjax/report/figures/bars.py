"""The scores of several runs as bars beside what an ideal mask would reach."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation.averages import mean_and_deviation
from sepjax.report.figures.grid import COLORS, INK, canvas, save, style_axes
from sepjax.report.score_table import read_scores, scores_of

TOP = 0.75  # inches above the bars, with a title and the legend


def write_bars(runs: Sequence[Path], output: Path) -> tuple[list[Path], str]:
    """Draw the SI-SDR improvement of every run by class, and the oracle's.

    The share of the way to the ideal masks that a run goes shows whether a class is
    worth training, and whether a short training is enough.

    Args:
        runs: as :func:`sepjax.report.score_table.score_table` takes them.
        output: file, as :func:`sepjax.report.figures.grid.write_figure` names it.

    Returns:
        The files, and the caption.

    Raises:
        FileNotFoundError: a folder has no scores.
        ValueError: the runs were scored by different definitions.
    """
    scored = read_scores(runs)
    first = next(iter(scored.values()))[0]
    classes = [*first["model"], "mean"]
    bars = {
        name: np.array([improvements(one, classes) for one in found])
        for name, found in scored.items()
    }
    masks, mixture = (scores_of(first, column) for column in ("oracle", "mixture"))
    oracle = np.array([masks[name] - mixture[name] for name in classes])
    seeds = {name: len(found) for name, found in scored.items()}
    several = "; whiskers: deviation over seeds" if max(seeds.values()) > 1 else ""
    definition = first["definition"]
    text = (
        "SI-SDR improvement over the mixture in dB, higher is better; lines: ideal "
        f"ratio masks{several}. Split {definition['split']} of "
        f"{definition['dataset']}, {definition['sample_rate']} Hz, "
        f"{len(first['tracks'])} songs, mean over those in which a class sounds. "
        + " ".join(f"{n}: {k} seed{'s' * (k > 1)}." for n, k in seeds.items())
    )

    def draw(title: str, text: str) -> Any:
        return _draw(classes, bars, oracle, title, text)

    title = "Improvement by class, and the way to the ideal masks"
    return save(output, title, text, draw), text


def _draw(
    classes: list[str],
    bars: Mapping[str, np.ndarray],
    oracle: np.ndarray,
    title: str,
    text: str,
) -> Any:
    figure, grid, below = canvas(title, text, TOP, 1, 1)
    axes = figure.add_subplot(grid[0, 0])
    style_axes(axes)
    place, width = np.arange(len(classes)), 0.8 / len(bars)
    for index, (name, values) in enumerate(bars.items()):
        mean, spread = mean_and_deviation(values)
        style = {"width": 0.9 * width, "color": COLORS[index % len(COLORS)]}
        style |= {"yerr": spread if len(values) > 1 else None, "label": name}
        axes.bar(place + (index - (len(bars) - 1) / 2) * width, mean, **style)
    ends = place - 0.42, place + 0.42
    style = {"color": INK, "linewidth": 1.4, "label": "ideal ratio masks"}
    axes.hlines(oracle, *ends, **style)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_xticks(place, [name.replace("_", " ") for name in classes])
    axes.set_ylabel("dB", fontsize=8)
    place = {"loc": "upper left", "bbox_to_anchor": (0.05, below)}
    figure.legend(ncols=4, fontsize=8, frameon=False, **place)
    return figure


def improvements(results: Mapping[str, Any], classes: list[str]) -> np.ndarray:
    """The SI-SDR improvement of each class, dB; NaN where it sounds nowhere."""
    values = scores_of(results, "improvement")
    return np.array([values[name] for name in classes])
