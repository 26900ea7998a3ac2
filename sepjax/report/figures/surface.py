"""The scores of a run's variations (``train.vary``) over the values that vary."""

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation.averages import mean_and_deviation
from sepjax.report.figures.bars import improvements, songs_of
from sepjax.report.figures.grid import COLORS, LEFT, canvas, save, style_axes
from sepjax.report.html.document import Section
from sepjax.report.html.numbers import with_spread
from sepjax.report.html.table import table
from sepjax.report.score_table import read_scores

ALONG = {"optim.lr": "learning rate", "optim.weight_decay": "weight decay"}


def write_surface(folders: Sequence[Path], output: Path) -> tuple[list[Path], str]:
    """Draw the SI-SDR improvement over the first varied field.

    The values of the other fields have a line each. Panels are the mean over classes
    and every class; a band is one sample deviation over seeds. The page has the
    numbers.

    Folders without scores, whose numbers left the reals, are left out, and the caption
    says so. Output and result are those of
    :func:`sepjax.report.figures.grid.write_figure`.

    Raises:
        FileNotFoundError: no variation has scores.
        ValueError: the variations were scored by different definitions.
    """
    known = [folder for folder in folders if any(folder.rglob("results.json"))]
    if not known:
        raise FileNotFoundError(
            "no variation has scores: train with train.vary, then --mode=evaluate"
        )
    scored = read_scores(known)
    first = next(iter(scored.values()))[0]
    classes = ["mean", *first["model"]]
    points = {name: parse_variation(name) for name in scored}
    order = sorted(scored, key=lambda name: tuple(points[name].values()))
    surface = improvements({name: scored[name] for name in order}, classes)
    seeds = max(map(len, scored.values()))
    band = "; bands: one sample deviation over seeds" if seeds > 1 else ""
    text = (
        f"SI-SDR improvement over the mixture in dB, higher is better{band}. "
        f"{len(surface)} variations of {seeds} seed{'s' * (seeds > 1)}, trained side "
        f"by side. {songs_of(first)}."
    )
    if lost := [folder.name for folder in folders if folder not in known]:
        text += f" Without scores: {'; '.join(lost)}."
    rows = [
        [name, *map(with_spread, *mean_and_deviation(values))]
        for name, values in surface.items()
    ]
    sections = [Section("", table(["variation", *classes], rows))]
    title = "Scores over " + ", ".join(points[order[0]])
    draw = functools.partial(_draw, surface, points, classes)
    return save(output, title, text, draw, sections), text


def variations_in(run: Path) -> list[Path]:
    """The folders of a run's variations: of one set of fields, the most frequent.

    Raises:
        FileNotFoundError: there are none.
    """
    groups: dict[tuple, list[Path]] = {}
    for child in sorted(run.iterdir()):
        with contextlib.suppress(ValueError):
            if child.is_dir():
                groups.setdefault(tuple(parse_variation(child.name)), []).append(child)
    if not groups:
        raise FileNotFoundError(f"{run} has no variations: train it with train.vary")
    return max(groups.values(), key=len)


def parse_variation(name: str) -> dict[str, float]:
    """Read the values of a variation from the name of its folder.

    Raises:
        ValueError: it is not the name of one.

    Example:
        >>> parse_variation("optim.lr=0.003,optim.clip=5")
        {'optim.lr': 0.003, 'optim.clip': 5.0}
    """
    pairs = (part.partition("=") for part in name.split(","))
    return {field: float(value) for field, _, value in pairs}


def _draw(
    surface: Mapping[str, np.ndarray],
    points: Mapping[str, Mapping[str, float]],
    classes: Sequence[str],
    title: str,
    caption: str,
) -> Any:
    field = next(iter(next(iter(points.values()))))
    lines: dict[str, list[str]] = {}
    for name in surface:
        rest = [f"{key} {x:g}" for key, x in points[name].items() if key != field]
        lines.setdefault(", ".join(rest), []).append(name)
    across, down = 2, -(-len(classes) // 2)
    top = 0.4 + (0.3 if title else 0) + 0.19 * (len(lines) > 1)
    figure, grid, start = canvas(title, caption, top, down, across)
    for index, column in enumerate(classes):
        axes = figure.add_subplot(grid[index // across, index % across])
        for color, (label, names) in zip(COLORS * len(lines), lines.items()):
            x = np.array([points[name][field] for name in names])
            values = [mean_and_deviation(surface[name][:, index]) for name in names]
            mean, deviation = np.transpose(values)
            low, high = mean - deviation, mean + deviation
            axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
            axes.plot(x, mean, "o-", color=color, label=label, linewidth=1.6)
        if x.min() > 0 and x.max() >= 10 * x.min():
            axes.set_xscale("log")
        axes.set_title(column.replace("_", " "), loc="left", fontsize=9.5)
        if index + across >= len(classes):
            axes.set_xlabel(ALONG.get(field, field), fontsize=8)
        style_axes(axes)
    if len(lines) > 1:
        handles = figure.axes[0].lines
        place = dict(loc="upper left", bbox_to_anchor=(LEFT, start))
        figure.legend(handles=handles, ncols=4, frameon=False, fontsize=8.5, **place)
    return figure
