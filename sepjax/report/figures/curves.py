"""Learning curves: SI-SDR of each class in validation, and of training batches."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import decibels
from sepjax.report.html.pictures import Scale, class_color, round_scale
from sepjax.report.run_folder import RunFolder, lookup, number

LABEL_GAP = 6.0  # percent of the height that a label at the end of a line needs


class Curve(NamedTuple):
    """A line of the chart; y None breaks it."""

    name: str
    style: str  # CSS classes
    steps: list[int]
    values: list[float | None]

    def last(self) -> float | None:
        """The value at the right end."""
        return next((y for y in reversed(self.values) if y is not None), None)


def curves_section(run: RunFolder) -> Markup:
    """The chart and its caption; metrics.jsonl must have been read."""
    curves = _curves(run)
    last = float(max(step for curve in curves for step in curve.steps))
    # The axis fits what was trained for, and ends at the last step, not a round one.
    along = Scale(0.0, max(last, 1.0), round_scale([0.0, last]).ticks)
    up, best, drops = _vertical_scale(curves), best_step(run), learning_rate_drops(run)
    cuts = [
        element("i", class_="drop", style=f"left:{along.percent(step)}")
        for step, _, _ in drops
    ]
    lines = _grid(up), cuts, _lines(curves, along, up), _ends(curves, along, up)
    plot = element("div", lines, _best(best, along), class_="plot")
    labels = plot, _end_labels(curves, up), _bottom_labels(along)
    style = {"class_": "chart", "role": "img", "aria_label": _description(curves, best)}
    chart = element("div", _left_labels(up), labels, **style)
    return element("figure", chart, _caption(run, best, drops))


def best_step(run: RunFolder) -> int | None:
    """The step of the lowest validation loss: the best checkpoint."""
    losses = [(number(line.get("loss")), line["step"]) for line in run.valid]
    return min(
        ((loss, s) for loss, s in losses if loss is not None), default=[0, None]
    )[1]


def learning_rate_drops(run: RunFolder) -> list[tuple[int, float, float]]:
    """Return (step, old rate, new rate) of every cut of the learning rate.

    There are none where it falls at every step, as under ``optim.schedule="cosine"``.
    """
    if lookup(run.config, "optim", "schedule") in ("restarts", "cosine"):
        return []
    rates = [(line["step"], number(line.get("learning_rate"))) for line in run.train]
    rates = [(step, rate) for step, rate in rates if rate is not None]
    pairs = itertools.pairwise(rates)
    return [(step, old, new) for (_, old), (step, new) in pairs if new < old]


def _curves(run: RunFolder) -> list[Curve]:
    """Training first, so that it lies under the rest."""

    def curve(name: str, style: str, lines: list, values: list) -> Curve:
        return Curve(name, style, [line["step"] for line in lines], values)

    curves = []
    if run.train:
        losses = [_negative_loss(line) for line in run.train]
        curves.append(curve("training", "training", run.train, losses))
    for name in run.sources:
        style = f"source {class_color(run.sources, name)}"
        values = [number(line.get(f"si_sdr/{name}")) for line in run.valid]
        if any(value is not None for value in values):
            curves.append(curve(name, style, run.valid, values))
    if run.valid:
        losses = [_negative_loss(line) for line in run.valid]
        curves.append(curve("mean", "mean", run.valid, losses))
    return curves


def _negative_loss(line: dict[str, Any]) -> float | None:
    loss = number(line.get("loss"))
    return None if loss is None else -loss


def _vertical_scale(curves: list[Curve]) -> Scale:
    """Holds all of validation; of the noisy training line the middle 90 %."""
    values: list[float] = []
    for curve in curves:
        finite = [value for value in curve.values if value is not None]
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
    paths = [
        element("path", d=d, class_=f"curve {curve.style}")
        for curve in curves
        if (d := _path(curve, along, up))
    ]
    stretch = {"viewBox": "0 0 1000 1000", "preserveAspectRatio": "none"}
    return element("svg", paths, class_="lines", **stretch)


def _ends(curves: list[Curve], along: Scale, up: Scale) -> Markup:
    """Dots at the last values: a curve of one evaluation is a point, not nothing."""
    dots = []
    for curve in curves:
        known = [pair for pair in zip(curve.steps, curve.values) if pair[1] is not None]
        if known and curve.style != "training":
            step, value = known[-1]
            place = {"cx": along.percent(step), "cy": up.from_top(value)}
            dots.append(element("circle", r=3.5, class_=curve.style, **place))
    return element("svg", dots, class_="ends", aria_hidden="true")


def _path(curve: Curve, along: Scale, up: Scale) -> str:
    parts, pen = [], "M"
    for step, value in zip(curve.steps, curve.values):
        if value is None:
            pen = "M"
            continue
        x = 1000 * (step - along.low) / (along.high - along.low)
        y = 1000 * (up.high - value) / (up.high - up.low)
        parts.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return "".join(parts)


def _best(step: int | None, along: Scale) -> Markup | None:
    if step is None:
        return None
    side = "left" if step > (along.low + along.high) / 2 else "right"
    label = element("span", "best", class_=side)
    return element("i", label, class_="best", style=f"left:{along.percent(step)}")


def _left_labels(up: Scale) -> Markup:
    labels = [
        element(
            "span",
            decibels(tick, 0 if tick == round(tick) else 1),
            style=f"top:{up.from_top(tick)}",
        )
        for tick in up.ticks
    ]
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
    ends = [(curve, curve.last()) for curve in curves if curve.last() is not None]
    ends.sort(key=lambda end: -end[1])
    places = _spread([float(up.from_top(value)[:-1]) for _, value in ends])
    labels = []
    for (curve, value), place in zip(ends, places):
        # One batch says little: the noisy line gets no figure.
        figure = None if curve.style == "training" else f" {decibels(value)}"
        style = {"class_": curve.style, "style": f"top:{place:.2f}%"}
        labels.append(element("span", element("b", curve.name), figure, **style))
    return element("div", labels, class_="chart-right")


def _spread(places: list[float]) -> list[float]:
    """Sorted places with at least LABEL_GAP between them, and the last within reach.

    Example:
        >>> _spread([50.0, 51.0, 99.0])
        [50.0, 56.0, 99.0]
    """
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + LABEL_GAP)
    limit = 100.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], limit)
        limit = places[index] - LABEL_GAP
    return places


def _description(curves: list[Curve], best: int | None) -> str:
    ends = [f"{curve.name} {decibels(curve.last())} dB" for curve in curves]
    text = "Chart of SI-SDR over training steps. Last values: " + ", ".join(ends)
    return text + ("" if best is None else f". Best checkpoint: step {best:,}")


def _caption(run: RunFolder, best: int | None, drops: list) -> Markup:
    parts = ["SI-SDR of validation chunks in dB, by class; higher is better. "]
    if run.train:
        parts.append("Grey: the mean over training batches, with augmentation. ")
    if best is not None:
        line = next(line for line in run.valid if line["step"] == best)
        mean = decibels(_negative_loss(line))
        parts.append(f"Best checkpoint: step {best:,}, mean {mean} dB. ")
    if drops:
        cuts = ", ".join(f"to {new:.3g} at step {step:,}" for step, _, new in drops)
        mark = element("i", class_="key-drop")
        parts += [mark, f"Learning rate cut {cuts}. "]
    if run.unreadable_lines:
        parts.append(
            f"{run.unreadable_lines} unreadable line(s) of metrics.jsonl left out. "
        )
    return element("figcaption", join(parts))
