"""The scores of several runs as bars beside what an ideal mask would reach."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation.averages import mean_and_deviation
from sepjax.evaluation.tables import scores_of
from sepjax.report.figures.grid import COLORS, INK, canvas, save, style_axes
from sepjax.report.score_table import read_scores

TOP = 0.75  # inches above the bars, with a title and the legend


def write_bars(runs: Sequence[Path], output: Path) -> tuple[list[Path], str]:
    """Draw the SI-SDR improvement of every run by class, and the oracle's.

    The share of the way to the ideal masks that a run goes shows whether a class is
    worth training, and whether a short training is enough.

    Runs and errors are those of :func:`sepjax.report.score_table.read_scores`,
    output and result those of :func:`sepjax.report.figures.grid.write_figure`.
    """
    scored = read_scores(runs)
    first = next(iter(scored.values()))[0]
    classes = [*first["model"], "mean"]
    bars = improvements(scored, classes)
    masks, mixture = (scores_of(first, column) for column in ("oracle", "mixture"))
    ways = [masks.get(n, np.nan) - mixture.get(n, np.nan) for n in classes]
    seeds = {name: len(found) for name, found in scored.items()}
    several = "; whiskers: deviation over seeds" if max(seeds.values()) > 1 else ""
    text = (
        "SI-SDR improvement over the mixture in dB, higher is better; lines: ideal "
        f"ratio masks{several}. {songs_of(first)}, mean over those in which a class "
        "sounds. "
        + " ".join(f"{n}: {k} seed{'s' * (k > 1)}." for n, k in seeds.items())
    )
    title = "Improvement by class, and the way to the ideal masks"
    draw = functools.partial(_draw, classes, bars, np.array(ways))
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
    style = {"color": INK, "linewidth": 1.4, "label": "ideal ratio masks"}
    axes.hlines(oracle, place - 0.42, place + 0.42, **style)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_xticks(place, [name.replace("_", " ") for name in classes])
    axes.set_ylabel("dB", fontsize=8)
    place = {"loc": "upper left", "bbox_to_anchor": (0.05, below)}
    figure.legend(ncols=4, fontsize=8, frameon=False, **place)
    return figure


def improvements(
    scored: Mapping[str, Sequence[Mapping[str, Any]]], classes: Sequence[str]
) -> dict[str, np.ndarray]:
    """Run -> SI-SDR improvement in dB (seeds, classes); NaN for no score."""
    table = {}
    for name, found in scored.items():
        rows = [scores_of(one, "improvement") for one in found]
        table[name] = np.array(
            [[row.get(column, np.nan) for column in classes] for row in rows]
        )
    return table


def songs_of(results: Mapping[str, Any]) -> str:
    """The songs that were scored, in the words of a caption."""
    facts, songs = results.get("definition", {}), len(results.get("tracks", []))
    split, data, rate = (facts.get(key) for key in ("split", "dataset", "sample_rate"))
    return f"Split {split} of {data}, {rate} Hz, {songs} songs"
