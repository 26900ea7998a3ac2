"""Scores of a set of tracks as pictures: a box for each class, SDR over time."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation.tables import in_unit, label, measured, shown_metrics, title
from sepjax.report.figures.grid import COLORS, INK, QUIET, render, style_axes

WIDTH = 9.0  # inches
ROW = 0.3  # height of a class, inches
FEW = 5  # tracks below which a box says more than is known
LEGEND = "dot: a track. line: median. diamond: mean. box: middle half of the tracks"
SPREAD = 0.28  # of the dots of a class, in rows


def write_plots(folder: Path, results: Mapping[str, Any]) -> list[Path]:
    """Write ``boxes.png`` and ``tracks/[subset/]track.png``.

    Returns:
        The picture of the boxes, if anything could be drawn, and the folder of tracks.
    """
    files = []
    if drawn_metrics(results):
        files.append(folder / "boxes.png")
        _save(files[0], box_figure(results))
    classes = list(results["model"])
    tracks = [track for track in results["tracks"] if has_curves(track)]
    for track in tracks:
        seconds = results["definition"]["window_seconds"]
        figure = windows_figure(track, classes, seconds, title(track))
        _save(folder / "tracks" / f"{title(track)}.png", figure)
    return [*files, folder / "tracks"] if tracks else files


def has_curves(track: Mapping[str, Any]) -> bool:
    """Whether any window of a track was scored."""
    return any(score["windows_scored"] for score in track["model"].values())


def _save(path: Path, figure: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(render(figure, "png"))


def box_figure(results: Mapping[str, Any]) -> Any:
    """One panel for each metric, one row for each class, one dot for each track.

    Boxes hold the middle half of the tracks, whiskers reach the last track within one
    and a half times their width, a line marks the median and a diamond the mean. With
    fewer than five tracks there are dots and marks only. Infinite scores are not drawn;
    their number stands beside the name of the class.

    Args:
        results: of :func:`sepjax.evaluation.scoring.make_results`.

    Returns:
        matplotlib's figure.
    """
    from matplotlib.figure import Figure

    names, metrics = list(results["model"]), drawn_metrics(results)
    across = min(2, len(metrics))
    down = -(-len(metrics) // across)
    height = 0.3 + down * (0.75 + ROW * len(names))
    figure = Figure((WIDTH, height), facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08, wspace=0.03)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, metric in zip(panels, metrics):
        _box_panel(axes, results, names, metric)
    figure.supxlabel(LEGEND, x=0.01, ha="left", fontsize=7.5, color=QUIET)
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()
    return figure


def drawn_metrics(results: Mapping[str, Any]) -> list[str]:
    """The metrics with a finite score in some track."""
    return [
        metric
        for metric in shown_metrics(results)
        if any(
            len(_finite(track_scores(results, name, metric)))
            for name in results["model"]
        )
    ]


def track_scores(results: Mapping[str, Any], name: str, metric: str) -> list[float]:
    """Scores of a class in all tracks that have it and in which it sounds."""
    rows = [t["model"][name] for t in results["tracks"] if name in t["model"]]
    values = [measured(row[metric]) for row in rows]
    return [value for value in values if not math.isnan(value)]


def _finite(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, float)
    return array[np.isfinite(array)]


def _box_panel(
    axes: Any, results: Mapping[str, Any], names: Sequence[str], metric: str
) -> None:
    ticks = []
    for row, name in enumerate(names):
        values = track_scores(results, name, metric)
        finite = _finite(values)
        ticks.append(_row_label(name, len(values), len(values) - len(finite)))
        if len(finite):
            _box(axes, row, finite, COLORS[row % len(COLORS)])
    style_axes(axes)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), ticks)
    axes.tick_params(axis="y", labelcolor=INK)
    text = f"{label(results, metric)}{in_unit(results, metric, ', ')}"
    axes.set_title(text, loc="left", fontsize=9.5, color=INK)
    how = results["definition"]["aggregation"][metric]
    axes.set_title(how, loc="right", fontsize=6.5, color=QUIET)


def _row_label(name: str, tracks: int, infinite: int) -> str:
    """Class and number of tracks.

    Example:
        >>> _row_label("electric_guitar", 3, 1)
        'electric guitar  3 (1 infinite)'
    """
    return f"{name.replace('_', ' ')}  {tracks}" + (
        f" ({infinite} infinite)" if infinite else ""
    )


def _box(axes: Any, row: int, values: np.ndarray, color: str) -> None:
    if len(values) >= FEW:
        axes.boxplot(
            [values],
            positions=[row],
            widths=0.56,
            orientation="horizontal",
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": color, "alpha": 0.22, "edgecolor": color},
            whiskerprops={"color": color},
            capprops={"color": color},
            medianprops={"linewidth": 0},
            manage_ticks=False,
        )
    # Neighbors of one score are set apart, the same way in every picture.
    shift = SPREAD * (np.arange(len(values)) * 0.618034 % 1 - 0.5) * (len(values) > 1)
    axes.plot(values, row + shift, "o", color=color, markersize=3, alpha=0.6, mew=0)
    middle = float(np.median(values))
    axes.plot([middle] * 2, [row - 0.28, row + 0.28], color=color, linewidth=2.2)
    axes.plot(
        [values.mean()], [row], "D", color="white", mec=color, markersize=4.5, mew=1.2
    )


def windows_figure(
    track: Mapping[str, Any],
    classes: Sequence[str],
    window_seconds: float,
    heading: str = "",
) -> Any:
    """SDR of every window of a track over time, a line for each class.

    A line is broken where nothing was scored: something is silent there. Peaks beyond
    the bulk of the windows end at the edge of the picture, as do infinite ones.

    Args:
        track: an entry of ``results["tracks"]``.
        classes: of all tracks, so that a class has one color in all pictures.
        window_seconds: length of a window, seconds.
        heading: above the lines.

    Returns:
        matplotlib's figure.
    """
    from matplotlib.figure import Figure

    figure = Figure((WIDTH, 2.5), facecolor="white")
    axes = figure.subplots()
    figure.subplots_adjust(left=0.07, right=0.985, bottom=0.21, top=0.89)
    windows = track["windows"].items()
    curves = {name: np.array([*map(measured, c["sdr"])]) for name, c in windows}
    low, high = _range(np.concatenate([*curves.values()]))
    for name, values in curves.items():
        if np.isnan(values).all():
            continue
        place = list(classes).index(name)
        time = (np.arange(len(values)) + 0.5) * window_seconds
        style = "-" if place < len(COLORS) else "--"
        axes.plot(
            time,
            np.clip(values, low, high),
            style,
            color=COLORS[place % len(COLORS)],
            linewidth=1.5,
            label=name.replace("_", " "),
            marker="o",
            markersize=3,
            markevery=_dotted(values),
        )
    style_axes(axes)
    axes.set_ylim(low, high)
    axes.set_xlim(0, track["seconds"])
    axes.xaxis.set_major_formatter(lambda value, _: clock(value))
    axes.set_xticks(np.arange(0, track["seconds"], _step(track["seconds"])))
    axes.set_ylabel(f"SDR of {window_seconds:g} s windows, dB", fontsize=8)
    if heading:
        axes.set_title(heading, loc="left", fontsize=9.5, color=INK)
    figure.legend(
        loc="lower left", ncols=8, frameon=False, fontsize=8, handlelength=1.6
    )
    return figure


def _range(values: np.ndarray) -> tuple[float, float]:
    """Ends of the axis: all windows but the last hundredth on either side."""
    finite = _finite(values)
    if not len(finite):
        return -10.0, 10.0
    low, high = np.percentile(finite, [1, 99])
    margin = max(0.08 * (high - low), 1.0)
    return float(low - margin), float(high + margin)


def _dotted(values: np.ndarray) -> list[bool]:
    """Windows that get a dot: all of a short track, else those without neighbors."""
    known = np.pad(~np.isnan(values), 1)
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    return list(map(bool, alone | (len(values) <= 60)))


def _step(seconds: float) -> float:
    """Seconds between the marks of a time axis: at most ten of them.

    Example:
        >>> _step(15), _step(240)
        (2, 30)
    """
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)
    return next((step for step in steps if seconds / step <= 10), seconds / 10)


def clock(seconds: float) -> str:
    """Minutes and seconds.

    Example:
        >>> clock(7), clock(83)
        ('0:07', '1:23')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
