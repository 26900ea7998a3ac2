"""Diagrams of the models of chapter 5: boxes, and arrows with the shapes of arrays.

The subjects of figures 5.1 and 5.3 to 5.5 are inferred from the thesis' text.
"""

import functools
import itertools
from pathlib import Path
from typing import Any, NamedTuple

from sepjax.report.figures.grid import COLORS, INK, QUIET, canvas, save

WIDE, HIGH = 0.64, 0.62  # of a box, in steps between boxes
TOP = 0.5  # inches above the boxes
PLAIN, LEARNED, FIXED = "#ffffff", "#e3eef6", "#f6ede0"
"""Fill of signals, of what has parameters of its own, and of what is computed."""


LABEL = {"fontsize": 6.5, "color": QUIET}


class Diagram(NamedTuple):
    """Boxes at places (column, row) of a grid, row 0 at the bottom, and arrows."""

    title: str
    text: str
    boxes: dict[str, tuple[float, float, str, str]]  # name -> column, row, label, fill
    arrows: tuple[tuple[str, str, str], ...]  # from, to, what flows


def _chain(*names: str, flows: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    pairs = zip(itertools.pairwise(names), flows, strict=True)
    return tuple((*pair, flow) for pair, flow in pairs)


DIAGRAMS = {
    "5.1": Diagram(
        "A TasNet: encoder, separator, decoder",
        "Frames of W samples become N channels; the separator estimates a mask in them "
        "for each of the C classes; what a mask leaves is decoded to the estimate of "
        "its class. With ideal masks (eq. 5.1) the separator is replaced by the ratios "
        "of the encoded classes themselves. Blue: learned.",
        {
            "x": (0, 0, "mixture", PLAIN),
            "e": (1, 0, "encoder", LEARNED),
            "s": (2, 1, "separator\n(TCN)", LEARNED),
            "m": (3, 0, "product", PLAIN),
            "d": (4, 0, "decoder", LEARNED),
            "y": (5, 0, "estimates", PLAIN),
        },
        (
            *_chain("x", "e", "m", flows=("T", "K * N")),
            *_chain("e", "s", "m", flows=("", "C * K * N")),
            *_chain("m", "d", "y", flows=("C * K * N", "C * T")),
        ),
    ),
    "5.3": Diagram(
        "A filterbank and its pseudo-inverse",
        "Few parameters of each filter (edges of a band; centre, bandwidth, phase of "
        "a gammatone) give its L taps; the decoder is the pseudo-inverse of the same "
        "taps (model.who_is_pinv=dec), or a bank of its own. Blue: learned; brown: "
        "computed in every step, gradients pass.",
        {
            "x": (0, 0, "mixture", PLAIN),
            "p": (1, 1, "parameters of\nN filters", LEARNED),
            "f": (2, 1, "taps F\nL * N", FIXED),
            "i": (3, 1, "pseudo-inverse\nof F", FIXED),
            "e": (2, 0, "correlation", PLAIN),
            "m": (3, 0, "masks", PLAIN),
            "d": (4, 0, "overlap-add", PLAIN),
            "y": (5, 0, "estimates", PLAIN),
        },
        (
            *_chain("p", "f", "i", flows=("", "")),
            *_chain(
                "x", "e", "m", "d", "y", flows=("T", "K * N", "C * K * N", "C * T")
            ),
            ("f", "e", ""),
            ("i", "d", ""),
        ),
    ),
    "5.4": Diagram(
        "A hybrid encoder",
        "Free convolutions and a filterbank (or a spectrogram) hear the same frames; "
        "rho is the share of the filterbank (model.fb_ratio). Two 1x1 convolutions mix "
        "the branches to the latent. Blue: learned.",
        {
            "x": (0, 0.5, "mixture", PLAIN),
            "c": (1, 1, "convolutions,\nReLU", LEARNED),
            "f": (1, 0, "filterbank or\nspectrogram", LEARNED),
            "j": (2, 0.5, "concatenation", PLAIN),
            "b": (3, 0.5, "1x1, ReLU", LEARNED),
            "o": (4, 0.5, "1x1", LEARNED),
            "y": (5, 0.5, "latent", PLAIN),
        },
        (
            *_chain("x", "c", "j", flows=("", "(1 - rho) N")),
            *_chain("x", "f", "j", flows=("", "rho N")),
            *_chain("j", "b", "o", "y", flows=("N", "N", "K * N")),
        ),
    ),
    "5.5": Diagram(
        "A deep encoder",
        "Layers of filterbanks or convolutions follow one another, each with a stride "
        "(model.deep_strides); the decoder mirrors them. In the second layer each pair "
        "of channels has a filter with parameters of its own. Blue: learned.",
        {
            "x": (0, 0, "mixture", PLAIN),
            "a": (1, 0, "layer 1\n1 → N", LEARNED),
            "b": (2, 0, "ReLU, layer 2\nN → N", LEARNED),
            "s": (3, 1, "separator", LEARNED),
            "m": (3, 0, "product", PLAIN),
            "c": (4, 0, "mirrored\nlayers", LEARNED),
            "y": (5, 0, "estimates", PLAIN),
        },
        (
            *_chain("x", "a", "b", "m", flows=("T", "T / W", "T / W^2")),
            *_chain("b", "s", "m", flows=("", "masks")),
            *_chain("m", "c", "y", flows=("", "C * T")),
        ),
    ),
}


def write_diagram(number: str, output: Path) -> tuple[list[Path], str]:
    """Draw a diagram of :data:`DIAGRAMS`; return its files and its caption.

    The files are those of :func:`sepjax.report.figures.grid.save`.
    """
    diagram = DIAGRAMS[number]
    title = f"Figure {number}: {diagram.title}"
    files = save(output, title, diagram.text, functools.partial(_draw, diagram))
    return files, diagram.text


def _draw(diagram: Diagram, title: str, text: str) -> Any:
    figure, grid, _ = canvas(title, text, TOP, 1, 1)
    axes = figure.add_subplot(grid[0, 0])
    axes.set_axis_off()
    for column, row, label, fill in diagram.boxes.values():
        style = {"boxstyle": "round,pad=0.02", "facecolor": fill, "edgecolor": QUIET}
        corner = (column - WIDE / 2, row - HIGH / 2)
        axes.add_patch(_box(corner, style))
        axes.text(column, row, label, ha="center", va="center", fontsize=8, color=INK)
    for start, end, flow in diagram.arrows:
        _arrow(axes, diagram.boxes[start][:2], diagram.boxes[end][:2], flow)
    columns, rows = zip(*(box[:2] for box in diagram.boxes.values()))
    axes.set_xlim(min(columns) - 0.5, max(columns) + 0.5)
    axes.set_ylim(min(rows) - 0.6, max(rows) + 0.6)
    return figure


def _box(corner: tuple[float, float], style: dict[str, Any]) -> Any:
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(corner, WIDE, HIGH, linewidth=0.8, **style)


def _arrow(axes: Any, start: Any, end: Any, flow: str) -> None:
    """An arrow from box to box, which it leaves sideways unless they lie above."""
    (x0, y0), (x1, y1) = start, end
    upright = x0 == x1
    if upright:
        sign = 1 if y1 > y0 else -1
        ends = (x0, y0 + sign * HIGH / 2), (x1, y1 - sign * HIGH / 2)
    else:
        ends = (x0 + WIDE / 2, y0), (x1 - WIDE / 2, y1)
    style = {"arrowstyle": "-|>", "color": COLORS[7], "shrinkA": 1, "shrinkB": 1}
    axes.annotate("", xy=ends[1], xytext=ends[0], arrowprops=style)
    part = 0.5 if y0 == y1 or upright else 0.35  # of the way
    x, y = (a + part * (b - a) for a, b in zip(*ends))
    # Beside what is steep, above what is level.
    place = (
        {"ha": "left", "x": x + 0.04, "y": y} if y0 != y1 else {"x": x, "y": y + 0.1}
    )
    axes.text(s=flow, **{"ha": "center", "va": "center"} | place, **LABEL)
