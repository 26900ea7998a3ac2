"""Numbers as pictures: color-mapped images, axis ticks, and figures as text."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import decibels

COLOR_MAP = "magma"  # perceptually uniform, and safe for color-blind readers
COLOR_LEVELS = 64  # more cannot be told apart, and cost bytes
CLASS_COLORS = 8  # colors in page.css; beyond that lines are dashed


class Scale(NamedTuple):
    """An axis with round ends."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def percent(self, value: float) -> str:
        """Place of a value along the axis.

        Example:
            >>> Scale(0.0, 10.0, ()).percent(2.5)
            '25.00%'
        """
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"

    def from_top(self, value: float) -> str:
        """Place of a value along an axis that goes up."""
        return f"{100 * (self.high - value) / (self.high - self.low):.2f}%"


def round_scale(values: list[float], ticks: int = 6) -> Scale:
    """An axis that holds all values, between round numbers.

    Example:
        >>> round_scale([-3.2, 8.9])
        Scale(low=-4.0, high=10.0, ticks=(-4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0))
    """
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # or floats cannot part them
        margin = max(1.0, 0.01 * abs(high))
        low, high = low - margin, high + margin
    rough = (high - low) / (ticks + 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * f for f in (1, 2, 5, 10) if power * f >= rough * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    marks = tuple(round(step * index, 10) for index in range(first, last + 1))
    return Scale(marks[0], marks[-1], marks)


def heat_image(decibels: np.ndarray, low: float, high: float, **attributes: Any):
    """An ``<img>`` of a matrix; row 0 is drawn at the bottom.

    Colors go from ``low``, which -inf and NaN get, to ``high``; give ``alt``.
    """
    from matplotlib import colormaps
    from PIL import Image

    part = (np.nan_to_num(decibels, nan=low, neginf=low) - low) / (high - low)
    levels = np.round(np.clip(part, 0, 1) * (COLOR_LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(levels[::-1])).convert("P")
    colors = colormaps[COLOR_MAP](np.linspace(0, 1, COLOR_LEVELS))[:, :3]
    image.putpalette(np.round(colors * 255).astype(np.uint8).tobytes())
    png = io.BytesIO()
    image.save(png, "PNG", optimize=True)
    uri, (height, width) = data_uri("image/png", png.getvalue()), levels.shape
    return element("img", src=uri, width=width, height=height, **attributes)


def color_bar(low: float, high: float, caption: str) -> Markup:
    """The legend of :func:`heat_image`."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    stops = [to_hex(colormaps[COLOR_MAP](place)) for place in np.linspace(0, 1, 9)]
    gradient = f"background:linear-gradient(90deg,{','.join(stops)})"
    bar = element("span", class_="bar", style=gradient)
    ends = (f"{decibels(low, 0)} dB", f"{decibels(high, 0)} dB {caption}")
    left, right = (element("span", text) for text in ends)
    return element("p", left, bar, right, class_="color-bar")


def line_path(points: Iterable[tuple[float, float | None]]) -> str:
    """The ``d`` of an SVG path through points; a None breaks the line.

    Example:
        >>> line_path([(0, 1), (1, 2), (2, None), (3, 4)])
        'M0.0 1.0L1.0 2.0M3.0 4.0'
    """
    path, pen = "", "M"
    for x, y in points:
        path, pen = (path, "M") if y is None else (f"{path}{pen}{x:.1f} {y:.1f}", "L")
    return path


def data_uri(media_type: str, content: bytes) -> str:
    """Content that needs no file.

    Example:
        >>> data_uri("text/plain", b"hi")
        'data:text/plain;base64,aGk='
    """
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def class_color(sources: Sequence[str], name: str) -> str:
    """CSS class that sets ``--class-color`` to the color of a source.

    Example:
        >>> class_color(("drums", "bass"), "bass")
        'color-1'
    """
    index = sources.index(name)
    dashed = " dashed" if index >= CLASS_COLORS else ""
    return f"color-{index % CLASS_COLORS}{dashed}"


def swatch(sources: Sequence[str], name: str) -> Markup:
    """The name of a class behind its color, which is its place among all."""
    return join([element("i", class_=f"swatch {class_color(sources, name)}"), name])
