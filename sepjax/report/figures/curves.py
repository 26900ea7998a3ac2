"""Learning curves: SI-SDR of each class in validation, and of training batches."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import decibels
from sepjax.report.html.pictures import Scale, class_color, line_path, round_scale
from sepjax.report.run_folder import RunFolder, lookup, number

LABEL_GAP = 6.0  # percent of the height that a label at the end of a line needs


class Curve(NamedTuple):
    """A line of the chart; a value None breaks it."""

    name: str
    style: str  # CSS classes
    steps: list[int]
    values: list[float | None]

    @property
    def known(self) -> list[tuple[int, float]]:
        """Steps and values where there is one."""
        pairs = zip(self.steps, self.values)
        return [(step, value) for step, value in pairs if value is not None]

    @property
    def last(self) -> float | None:
        """The value at the right end."""
        return self.known[-1][1] if self.known else None


def curves_section(run: RunFolder) -> Markup:
    """The chart and its caption; metrics.jsonl must have been read."""
    curves = _curves(run)
    last = float(max(step for curve in curves for step in curve.steps))
    # The axis fits what was trained for, and ends at the last step, not a round one.
    along = Scale(0.0, max(last, 1.0), round_scale([0.0, last]).ticks)
    up, best, drops = _vertical_scale(curves), best_step(run), learning_rate_drops(run)
    places = [f"left:{along.percent(step)}" for step, _, _ in drops]
    cuts = [element("i", class_="drop", style=place) for place in places]
    lines = _grid(up), cuts, _lines(curves, along, up), _ends(curves, along, up)
    plot = element("div", lines, _best(best, along), class_="plot")
    labels = plot, _end_labels(curves, up), _bottom_labels(along)
    style = {"class_": "chart", "role": "img", "aria_label": _description(curves, best)}
    chart = element("div", _left_labels(up), labels, **style)
    return element("figure", chart, _caption(run, best, drops))


def best_step(run: RunFolder) -> int | None:
    """The step of the lowest validation loss, if it is that of all classes together."""
    if any(name.startswith("loss/") for line in run.valid for name in line):
        return None
    losses = _curve("", "", run.valid, "loss").known
    return max(losses, key=lambda pair: pair[1])[0] if losses else None


def learning_rate_drops(run: RunFolder) -> list[tuple[int, float, float]]:
    """Return (step, old rate, new rate) of every cut of the learning rate.

    There are none where it falls at every step, as under ``optim.schedule="cosine"``.
    """
    if lookup(run.config, "optim", "schedule") in ("restarts", "cosine"):
        return []
    pairs = itertools.pairwise(_curve("", "", run.train, "learning_rate").known)
    return [(step, old, new) for (_, old), (step, new) in pairs if new < old]


def _curves(run: RunFolder) -> list[Curve]:
    """Training first, so that it lies under the rest."""
    curves = [_curve("training", "training", run.train, "loss")]
    for name in run.sources:
        style = f"source {class_color(run.sources, name)}"
        curve = _curve(name, style, run.valid, f"si_sdr/{name}")
        curves += [curve] if curve.known else []
    curves.append(_curve("mean", "mean", run.valid, "loss"))
    return [curve for curve in curves if curve.steps]


def _curve(name: str, style: str, lines: list[dict[str, Any]], key: str) -> Curve:
    """The values of a key, losses with their sign turned."""
    values = [number(line.get(key)) for line in lines]
    if key == "loss":
        values = [None if value is None else -value for value in values]
    return Curve(name, style, [line["step"] for line in lines], values)


def _vertical_scale(curves: list[Curve]) -> Scale:
    """Holds all of validation; of the noisy training line the middle 90 %."""
    values: list[float] = []
    for curve in curves:
        finite = [value for _, value in curve.known]
        if curve.style == "training" and finite:
            finite = [float(v) for v in np.percentile(finite, [5, 95])]
        values += finite
    return round_scale(values or [0.0, 1.0])


def _grid(up: Scale) -> Markup:
    lines = []
    for tick in up.ticks:
        ends = {"x1": "0%", "x2": "100%", "y1": up.from_top(tick)}
        style = {"y2": up.from_top(tick), "class_": "zero" if tick == 0 else None}
        lines.append(element("line", **ends, **style))
    return element("svg", lines, class_="grid", aria_hidden="true")


def _lines(curves: list[Curve], along: Scale, up: Scale) -> Markup:
    """Lines in a stretched coordinate system, their width kept in pixels."""
    paths = []
    for curve in curves:
        x = [1000 * (s - along.low) / (along.high - along.low) for s in curve.steps]
        y = [
            v if v is None else 1000 * (up.high - v) / (up.high - up.low)
            for v in curve.values
        ]
        if curve.known:
            d = line_path(zip(x, y))
            paths.append(element("path", d=d, class_=f"curve {curve.style}"))
    stretch = {"viewBox": "0 0 1000 1000", "preserveAspectRatio": "none"}
    return element("svg", paths, class_="lines", **stretch)


def _ends(curves: list[Curve], along: Scale, up: Scale) -> Markup:
    """Dots at the last values: a curve of one evaluation is a point, not nothing."""
    dots = []
    for curve in curves:
        if curve.known and curve.style != "training":
            step, value = curve.known[-1]
            place = {"cx": along.percent(step), "cy": up.from_top(value)}
            dots.append(element("circle", r=3.5, class_=curve.style, **place))
    return element("svg", dots, class_="ends", aria_hidden="true")


def _best(step: int | None, along: Scale) -> Markup | None:
    if step is None:
        return None
    side = "left" if step > (along.low + along.high) / 2 else "right"
    label = element("span", "best", class_=side)
    return element("i", label, class_="best", style=f"left:{along.percent(step)}")


def _left_labels(up: Scale) -> Markup:
    labels = []
    for tick in up.ticks:
        text = decibels(tick, 0 if tick == round(tick) else 1)
        labels.append(element("span", text, style=f"top:{up.from_top(tick)}"))
    return element("div", labels, class_="chart-left")


def _bottom_labels(along: Scale) -> Markup:
    labels = [
        element("span", f"{tick:,.0f}", style=f"left:{along.percent(tick)}")
        for tick in along.ticks
        if along.low <= tick <= along.high
    ]
    return element("div", labels, element("i", "steps"), class_="chart-bottom")


def _end_labels(curves: list[Curve], up: Scale) -> Markup:
    """Names at the ends of the lines, pushed apart where they would overlap."""
    ended = [curve for curve in curves if curve.last is not None]
    ended.sort(key=lambda curve: -curve.last)
    places = _spread([float(up.from_top(curve.last)[:-1]) for curve in ended])
    labels = []
    for curve, place in zip(ended, places):
        # One batch says little: the noisy line gets no figure.
        figure = None if curve.style == "training" else f" {decibels(curve.last)}"
        style = {"class_": curve.style, "style": f"top:{place:.2f}%"}
        labels.append(element("span", element("b", curve.name), figure, **style))
    return element("div", labels, class_="chart-right")


def _spread(places: list[float]) -> list[float]:
    """Sorted places with at least LABEL_GAP between them, and the last within reach."""
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + LABEL_GAP)
    limit = 100.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], limit)
        limit = places[index] - LABEL_GAP
    return places


def _description(curves: list[Curve], best: int | None) -> str:
    ends = [f"{curve.name} {decibels(curve.last)} dB" for curve in curves]
    text = "Chart of SI-SDR over training steps. Last values: " + ", ".join(ends)
    return text + ("" if best is None else f". Best checkpoint: step {best:,}")


def _caption(run: RunFolder, best: int | None, drops: list) -> Markup:
    parts = ["SI-SDR of validation chunks in dB, by class; higher is better. "]
    if run.train:
        parts.append("Grey: the mean over training batches, with augmentation. ")
    if best is not None:
        mean = decibels(dict(_curve("", "", run.valid, "loss").known)[best])
        parts.append(f"Best checkpoint: step {best:,}, mean {mean} dB. ")
    for name in run.sources:
        losses = _curve("", "", run.valid, f"loss/{name}").known
        if losses:  # as they are: the lowest is the best
            step = min(losses, key=lambda pair: pair[1])[0]
            parts.append(f"Best parameters of {name}: step {step:,}. ")
    if drops:
        cuts = ", ".join(f"to {new:.3g} at step {step:,}" for step, _, new in drops)
        parts += [element("i", class_="key-drop"), f"Learning rate cut {cuts}. "]
    if lost := run.unreadable_lines:
        parts.append(f"{lost} unreadable line(s) of metrics.jsonl left out. ")
    return element("figcaption", join(parts))
