"""Scores of a set of tracks as SVG pictures: a box for each class, SDR over time.

Written as text by our own hand: loading a library that draws costs more than scoring a
short song.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sepjax.evaluation.tables import file_title, head, measured, shown_metrics, title
from sepjax.report.figures.grid import COLORS, INK, QUIET, RULE
from sepjax.report.html.markup import Markup, element
from sepjax.report.html.numbers import MINUS, clock
from sepjax.report.html.pictures import line_path, round_scale
from sepjax.storage import write_atomically

WIDTH = 900  # of a picture, as all lengths here in CSS pixels
ROW = 28  # height of a class
NAMES = 140  # width of the names of classes
FEW = 5  # tracks below which a box says more than is known
LEGEND = "dot: a track. line: median. diamond: mean. box: middle half of the tracks"
SPREAD = 0.28  # of the dots of a class, in rows
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600)  # seconds between marks of time


class Panel(NamedTuple):
    """A rectangle with a linear axis along each side."""

    left: float
    top: float
    width: float
    height: float
    across: tuple[float, float]  # values at the left and right end
    up: tuple[float, float]  # values at the bottom and top

    def x(self, value: float) -> float:
        """Place of a value on the axis across."""
        low, high = self.across
        return round(self.left + self.width * (value - low) / (high - low), 1)

    def y(self, value: float) -> float:
        """Place of a value on the axis that goes up."""
        low, high = self.up
        return round(self.top + self.height * (high - value) / (high - low), 1)


def write_plots(folder: Path, results: Mapping[str, Any]) -> list[Path]:
    """Write ``boxes.svg`` and ``tracks/[subset/]track.svg``.

    Returns:
        The picture of the boxes, if anything could be drawn, and the folder of tracks.
    """
    files, classes, home = [], list(results["model"]), folder / "tracks"
    if drawn_metrics(results):
        files.append(write_atomically(folder / "boxes.svg", box_picture(results)))
    for track in results["tracks"]:
        # Windows of which any was scored make a curve.
        if any(score["windows_scored"] for score in track["model"].values()):
            seconds = results["definition"]["window_seconds"]
            picture = curve_picture(track, classes, seconds, title(track))
            write_atomically(home / f"{file_title(track)}.svg", picture)
            files += [home] if home not in files else []
    return files


def box_picture(results: Mapping[str, Any]) -> Markup:
    """One panel for each metric, one row for each class, one dot for each track.

    Boxes hold the middle half of the tracks, whiskers reach the last track within one
    and a half times their width, a line marks the median and a diamond the mean. With
    fewer than five tracks there are dots and marks only. Infinite scores are not drawn;
    their number stands beside the name of the class.
    """
    metrics = drawn_metrics(results)
    across = min(2, len(metrics))
    wide, high = WIDTH / across, ROW * len(sounding(results)) + 56
    marks = []
    for index, metric in enumerate(metrics):
        down, right = divmod(index, across)
        marks += _box_panel(results, metric, right * wide, down * high, wide)
    height = high * -(-len(metrics) // across) + 22
    legend = _text(8, height - 8, LEGEND, fill=QUIET, font_size=11)
    return _picture(height, marks, legend)


def sounding(results: Mapping[str, Any]) -> list[str]:
    """Return the classes with a score: those that sound nowhere have no row."""
    names, metrics = [*results["model"]], shown_metrics(results)
    return [n for n in names if any(track_scores(results, n, m).size for m in metrics)]


def drawn_metrics(results: Mapping[str, Any]) -> list[str]:
    """Return the metrics with a finite score in some track."""
    names = [*results["model"]]
    return [
        metric
        for metric in shown_metrics(results)
        if any(_finite(track_scores(results, name, metric)).size for name in names)
    ]


def track_scores(results: Mapping[str, Any], name: str, metric: str) -> np.ndarray:
    """Return a class' scores in all tracks that have it and in which it sounds."""
    rows = [t["model"][name] for t in results["tracks"] if name in t["model"]]
    values = np.array([measured(row[metric]) for row in rows], float)
    return values[~np.isnan(values)]


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _box_panel(
    results: Mapping[str, Any], metric: str, left: float, top: float, width: float
) -> list[Markup]:
    values = {n: track_scores(results, n, metric) for n in sounding(results)}
    finite = {name: _finite(scores) for name, scores in values.items()}
    scale = round_scale(np.concatenate([*finite.values()]).tolist())
    ends, rows = (scale.low, scale.high), len(values)
    place = left + NAMES, top + 26, width - NAMES - 22, ROW * rows
    panel = Panel(*place, ends, (rows - 0.5, -0.5))
    how, edge = results["definition"]["aggregation"][metric], left + width - 22
    style = {"fill": INK, "font_weight": 600}
    marks = [_text(left + 8, top + 17, head(results, metric), **style)]
    style = {"text_anchor": "end", "fill": QUIET, "font_size": 9.5}
    marks.append(_text(edge, top + 17, how, **style))
    marks += _ticks_across(panel, {tick: _plain(tick) for tick in scale.ticks})
    for row, (name, known) in enumerate(finite.items()):
        infinite = len(values[name]) - len(known)
        text = f"{name.replace('_', ' ')}  {len(values[name])}"
        text += f" ({infinite} infinite)" if infinite else ""
        at = panel.left - 10, panel.y(row) + 4
        marks.append(_text(*at, text, text_anchor="end", fill=INK))
        color = COLORS[[*results["model"]].index(name) % len(COLORS)]
        marks += _box(panel, row, color, known) if len(known) else []
    return marks


def _box(panel: Panel, row: int, color: str, values: np.ndarray) -> list[Markup]:
    y = panel.y(row)
    marks = []
    if len(values) >= FEW:
        low, high = np.percentile(values, [25, 75])
        reach = 1.5 * (high - low)
        inside = values[(values >= low - reach) & (values <= high + reach)]
        ends = panel.x(inside.min()), panel.x(low), panel.x(high), panel.x(inside.max())
        path = f"M{ends[0]} {y}H{ends[1]}M{ends[2]} {y}H{ends[3]}"
        path += "".join(f"M{end} {y - 4}v8" for end in (ends[0], ends[3]))
        marks.append(element("path", d=path, stroke=color))
        size = {"width": round(ends[2] - ends[1], 1), "height": 16}
        style = {"fill": color, "fill_opacity": 0.22, "stroke": color}
        marks.append(element("rect", x=ends[1], y=y - 8, **size, **style))
    # Neighbors of one score are set apart, the same way in every picture.
    shift = SPREAD * (np.arange(len(values)) * 0.618034 % 1 - 0.5) * (len(values) > 1)
    dots = [
        element("circle", cx=panel.x(value), cy=panel.y(row + away), r=2.5)
        for value, away in zip(values, shift)
    ]
    marks.append(element("g", dots, fill=color, fill_opacity=0.6))
    middle, mean = panel.x(np.median(values)), panel.x(values.mean())
    line = {"stroke": color, "stroke_width": 3}
    marks.append(element("path", d=f"M{middle} {y - 8}v16", **line))
    diamond = f"M{mean} {y - 4.5}l4.5 4.5l-4.5 4.5l-4.5 -4.5z"
    return [*marks, element("path", d=diamond, fill="#fff", stroke=color)]


def curve_picture(
    track: Mapping[str, Any], classes: list[str], window_seconds: float, heading: str
) -> Markup:
    """SDR of every window of a track over time, a line for each class.

    A line is broken where nothing was scored: something is silent there. Peaks beyond
    the bulk of the windows end at the edge of the picture, as do infinite ones. Classes
    are those of all tracks, so that each has one color in all pictures.
    """
    windows = track["windows"].items()
    curves = {name: np.array([*map(measured, c["sdr"])]) for name, c in windows}
    low, high = _range(np.concatenate([*curves.values()]))
    seconds = track["seconds"]
    panel = Panel(56, 30, WIDTH - 76, 160, (0, seconds), (low, high))
    step = next((s for s in STEPS if seconds / s <= 10), seconds / 10)
    times = np.arange(0, seconds, step).tolist()
    marks = [_text(panel.left, 20, heading, fill=INK, font_weight=600)]
    marks += _ticks_across(panel, {time: clock(time) for time in times})
    for tick in round_scale([low, high]).ticks:
        if low <= tick <= high:
            path = f"M{panel.left} {panel.y(tick)}h{panel.width}"
            marks.append(element("path", d=path, stroke=RULE))
            at = panel.left - 8, panel.y(tick) + 4
            marks.append(_text(*at, _plain(tick), text_anchor="end", fill=QUIET))
    left = panel.left
    for name, values in curves.items():
        if np.isnan(values).all():
            continue
        place = classes.index(name)
        color = COLORS[place % len(COLORS)]
        dash = None if place < len(COLORS) else "6 4"
        marks.append(_line(panel, values, window_seconds, color, dash))
        key = {"stroke": color, "stroke_width": 2, "stroke_dasharray": dash}
        marks.append(element("path", d=f"M{left} 226h20", **key))
        marks.append(_text(left + 26, 230, name.replace("_", " "), fill=INK))
        left += 54 + 7 * len(name)
    unit = f"SDR of {window_seconds:g} s windows, dB"
    end = {"text_anchor": "end", "fill": QUIET}
    return _picture(240, marks, _text(WIDTH - 20, 20, unit, **end))


def _line(
    panel: Panel, values: np.ndarray, seconds: float, color: str, dash: str | None
) -> Markup:
    """A curve, dotted in a short track, otherwise where a window has no neighbor."""
    known = np.pad(~np.isnan(values), 1)
    dotted = known[1:-1] & (~known[:-2] & ~known[2:] | (len(values) <= 60))
    places = [panel.x((index + 0.5) * seconds) for index in range(len(values))]
    heights = [None if np.isnan(v) else panel.y(v) for v in np.clip(values, *panel.up)]
    points = list(zip(places, heights))
    ends = itertools.compress(points, dotted)
    dots = [element("circle", cx=x, cy=y, r=2.2) for x, y in ends]
    style = {"stroke": color, "stroke_width": 1.8, "stroke_dasharray": dash}
    d = line_path(points)
    line = element("path", d=d, fill="none", stroke_linejoin="round", **style)
    return element("g", line, element("g", dots, fill=color))


def _range(values: np.ndarray) -> tuple[float, float]:
    """Ends of the axis: all windows but the last hundredth on either side."""
    finite = _finite(values)
    if not len(finite):
        return -10.0, 10.0
    low, high = np.percentile(finite, [1, 99])
    margin = max(0.08 * (high - low), 1.0)
    return float(low - margin), float(high + margin)


def _ticks_across(panel: Panel, ticks: Mapping[float, str]) -> list[Markup]:
    marks = []
    for value, text in ticks.items():
        path = f"M{panel.x(value)} {panel.top}v{panel.height}"
        marks.append(element("path", d=path, stroke=RULE))
        at = panel.x(value), panel.top + panel.height + 15
        marks.append(_text(*at, text, text_anchor="middle", fill=QUIET))
    return marks


def _plain(tick: float) -> str:
    return f"{tick:g}".replace("-", MINUS)


def _text(x: float, y: float, text: str, **style: Any) -> Markup:
    return element("text", text, x=x, y=y, **style)


def _picture(height: float, *marks: Any) -> Markup:
    size = {"width": WIDTH, "height": height, "viewBox": f"0 0 {WIDTH} {height:g}"}
    font = {"font_family": "system-ui, sans-serif", "font_size": 12}
    paper = element("rect", width=WIDTH, height=height, fill="#fff")
    space = "http://www.w3.org/2000/svg"
    return element("svg", paper, marks, xmlns=space, **size, **font)
