"""How songs spread over tags and classes: tables, and bars of all and of the chosen."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepjax.report.figures.grid import COLORS, QUIET, canvas, save, style_axes
from sepjax.report.html.document import Section
from sepjax.report.html.table import table


def write_survey(
    survey: Mapping[str, Sequence[Any]], output: Path, title: str
) -> tuple[list[Path], str]:
    """Draw the songs, and those chosen, over the values of each tag; also as tables.

    The survey is tag -> (value, songs, chosen). Output and result are those of
    :func:`sepjax.report.figures.grid.write_figure`.
    """
    text = f"Songs by {', '.join(survey)}: grey all, blue those that were chosen."
    heads = {name: [name, "songs", "chosen"] for name in survey}
    sections = [Section(name, table(heads[name], survey[name])) for name in survey]
    return save(output, title, text, functools.partial(_draw, survey), sections), text


def _draw(survey: Mapping[str, Sequence[Any]], title: str, text: str) -> Any:
    figure, grid, _ = canvas(title, text, 0.75, len(survey), 1)
    for index, (name, rows) in enumerate(survey.items()):
        axes = figure.add_subplot(grid[index, 0], ylabel="songs")
        axes.set_title(name, loc="left", fontsize=9.5)
        style_axes(axes)
        values, *counts = zip(*rows)
        places = range(len(values))
        axes.bar(places, counts[0], 0.8, color=QUIET, alpha=0.4)
        axes.bar(places, counts[1], 0.5, color=COLORS[0])
        labels = [value[:18] for value in values]
        axes.set_xticks(places, labels, rotation=15, ha="right", fontsize=7)
    return figure
