"""A chart of one row for each class on a common axis, of decibels or points."""

from typing import Any

from sepjax.report.html.markup import Markup, element
from sepjax.report.html.numbers import decibels
from sepjax.report.html.pictures import Scale


def dot_chart(
    rows: list[Markup],
    scale: Scale,
    label: str,
    caption: Any,
    class_: str = "dots",
    unit: str = "dB",
) -> Markup:
    """Rows of :func:`dot_row` above their axis; the label is for who cannot see it."""
    ticks = [
        element("span", decibels(tick, 0), style=f"left:{scale.percent(tick)}")
        for tick in scale.ticks
    ]
    axis = element("div", ticks, element("i", unit), class_="dot-axis")
    chart = element("div", rows, axis, class_=class_, role="img", aria_label=label)
    return element("figure", chart, element("figcaption", caption), class_="dot-chart")


def dot_row(
    name: Markup, marks: list[Markup], value: str, scale: Scale, height: int
) -> Markup:
    """A class: its name, SVG marks above the lines of the axis, and a number."""
    drawing = [vertical(scale, tick, 0, height) for tick in scale.ticks]
    before = element("span", name, class_="dot-name")
    after = element("span", value, class_="dot-gain")
    chart = element("svg", drawing, marks, height=height)
    return element("div", before, chart, after, class_="dot-row")


def vertical(
    scale: Scale, value: float, top: int, bottom: int, class_: str | None = None
) -> Markup:
    """A line at a value, between two heights in pixels."""
    x = scale.percent(value)
    return element("line", x1=x, x2=x, y1=top, y2=bottom, class_=class_)


def dot(
    scale: Scale, value: float, height: float, radius: float, class_: str
) -> Markup:
    """A dot at a value."""
    place = {"cx": scale.percent(value), "cy": height}
    return element("circle", class_=class_, **place, r=radius)
