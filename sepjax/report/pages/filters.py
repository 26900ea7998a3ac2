"""Learned filters before and after training, in frequency and in time.

Source: the kind of picture of the thesis' fig. 5.2 (impulse and magnitude
responses of the encoder).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import GAP, count, hertz
from sepjax.report.html.pictures import color_bar, heat_image, round_scale
from sepjax.report.html.table import table
from sepjax.report.run_folder import FACTS, RunFolder

RANGE = 40.0  # dB below its own peak down to which a response is drawn
ROWS = 192  # rows of a magnitude image
SHOWN = 8  # impulse responses
TIMES = {"initial": "Before training", "final": "After training"}


def magnitude_response(kernel: np.ndarray, points: int = ROWS) -> np.ndarray:
    """Magnitude ``|H(f)|`` of every filter on an even grid from 0 to the Nyquist rate.

    From taps (length, filters) to (points, filters), linear, both ends included.

    Example:
        >>> magnitude_response(np.array([[1.0], [-1.0]]), 3).round(3).T
        array([[0.   , 1.414, 2.   ]])
    """
    fold = 2 * (points - 1)
    # A transform shorter than the kernel would cut taps off: sample a longer one.
    factor = -(-len(kernel) // fold)
    return np.abs(np.fft.rfft(kernel, fold * factor, axis=0))[::factor]


def peak_frequencies(kernel: np.ndarray, sample_rate: float) -> np.ndarray:
    """Frequency in Hz at which each filter is loudest, to about 1 Hz in 2000.

    Example:
        >>> tone = np.cos(2 * np.pi * 0.125 * np.arange(64))[:, None]
        >>> peak_frequencies(tone, 8000.0).round(-1)
        array([1000.])
    """
    points = 2049
    peaks = magnitude_response(kernel, points).argmax(axis=0)
    return peaks * sample_rate / 2 / (points - 1)


def filters_section(run: RunFolder) -> Markup:
    """The branches of encoders, and a figure for every kernel array of filters.npz."""
    figures = []
    for name in sorted({name.partition("/")[2] for name in run.filters}):
        both = {time: run.filters.get(f"{time}/{name}") for time in TIMES}
        kernels = {time: taps for time, taps in both.items() if taps is not None}
        figures.append(_figure(name, kernels, run.sample_rate))
    note = element(
        "p",
        "Impulse and magnitude responses before training and of the best checkpoint, "
        "as in fig. 5.2 of the thesis. A column of a picture is one filter; they are "
        "sorted by the frequency at which they are loudest, and each is drawn relative "
        "to its own peak.",
        class_="note",
    )
    return join([_branches(run), note, figures])


def branch_cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The cells of a table of branches, the names of its columns first.

    Example:
        >>> row = dict.fromkeys(FACTS) | {"branch": "encoder/conv_0", "channels": 220}
        >>> branch_cells([row])[1][:3]
        ['encoder/conv_0', '220', '–']
    """
    values = ([row[name] for name in FACTS[1:]] for row in rows)
    cells = [[GAP if v is None else f"{v:.3g}" for v in each] for each in values]
    return [[*FACTS], *([row["branch"], *each] for row, each in zip(rows, cells))]


def _branches(run: RunFolder) -> Markup | None:
    if not run.branches:
        return None
    note = (
        "Branches: medians over channels of the norm of their weights into the layer "
        "that joins the branches and of the deviation of their output; shares of the "
        "squared norms, of these times the squared deviations, of what arrives there."
    )
    head, *rows = branch_cells(run.branches)
    return join([element("p", note, class_="note"), table(head, rows)])


def _figure(name: str, kernels: dict[str, np.ndarray], rate: float | None) -> Markup:
    images = [_magnitude(name, time, kernel, rate) for time, kernel in kernels.items()]
    return element(
        "figure",
        element("h3", heading(name)),
        element("p", _summary(kernels, rate), class_="note"),
        element("div", images, class_="pair"),
        color_bar(-RANGE, 0.0, "re each filter's peak"),
        _impulses(name, kernels, rate),
        element("figcaption", _caption(kernels, rate)),
        class_="filters",
    )


def heading(name: str) -> str:
    """The name of an array in words.

    Example:
        >>> heading("decoder/filters_0"), heading("encoder/conv")
        ('Decoder: filters 1', 'Encoder: conv')
    """
    text = re.sub(r"_(\d+)(?=/|$)", lambda m: f" {int(m[1]) + 1}", name)
    text = text.replace("/", ": ").replace("_", " ")
    return text[:1].upper() + text[1:]


def _peaks(kernel: np.ndarray, rate: float | None) -> np.ndarray:
    """Peaks in Hz; without a rate in cycles per sample."""
    return peak_frequencies(kernel, rate or 1.0)


def _frequency(value: float, rate: float | None) -> str:
    return hertz(value) if rate else f"{value:.3g} cycles/sample"


def _summary(kernels: dict[str, np.ndarray], rate: float | None) -> str:
    length, filters = list(kernels.values())[-1].shape
    duration = f" ({1000 * length / rate:.3g} ms)" if rate else ""
    text = f"{count(filters, 'filter')} of {count(length, 'tap')}{duration}."
    peaks = [_peaks(kernel, rate) for kernel in kernels.values()]
    medians = [_frequency(float(np.median(each)), rate) for each in peaks]
    text += f" Half of them peak below {' before and '.join(medians)}"
    if len(peaks) < 2:
        return text + "."
    text += " after training"
    if len({kernel.shape for kernel in kernels.values()}) == 1:
        moved = float(np.median(np.abs(peaks[1] - peaks[0])))
        text += f". Half of them moved by more than {_frequency(moved, rate)}"
    return text + "."


def _magnitude(name: str, time: str, kernel: np.ndarray, rate: float | None) -> Markup:
    order = np.argsort(_peaks(kernel, rate), kind="stable")
    response = magnitude_response(kernel[:, order])
    peak = np.maximum(response.max(axis=0), np.finfo(float).tiny)
    with np.errstate(divide="ignore"):
        levels = 20 * np.log10(response / peak)
    # Few filters: several pixels each, so that a browser does not blur them.
    levels = np.repeat(levels, -(-256 // levels.shape[1]), axis=1)
    when = TIMES[time]
    alt = f"Magnitude responses of {name}, {when.lower()}, filters sorted by peak"
    labels, top = [], (rate or 1.0) / 2
    for tick in round_scale([0.0, top], 4).ticks:
        if 0 <= tick <= top:
            text = f"{tick:,.0f} Hz" if rate else f"{tick:.2g}"
            style = f"bottom:{100 * tick / top:.2f}%"
            labels.append(element("span", text, style=style))
    axis = element("div", labels, class_="axis-left", aria_hidden="true")
    image = heat_image(levels, -RANGE, 0.0, alt=alt, class_="heat")
    picture = element("div", axis, image, class_="with-axis")
    under = f"filters 1 \N{EN DASH} {kernel.shape[1]:,}"
    under = element("p", under, class_="axis-under")
    return element("div", element("h4", when), picture, under)


def _impulses(name: str, kernels: dict[str, np.ndarray], rate: float | None) -> Markup:
    """The same few filters before and after, low to high by their last state."""
    *_, last = kernels.values()
    order = np.argsort(_peaks(last, rate), kind="stable")
    places = np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)
    same = [k for k in kernels.values() if k.shape == last.shape]
    cells = []
    for i in order[places]:
        drawn = [
            _impulse(k[:, i], "after" if k is last else "before", rate) for k in same
        ]
        cells.append(element("li", drawn))
    label = f"Impulse responses of {len(cells)} filters of {name}, before and after"
    return element("ol", cells, class_="impulses", aria_label=label)


def _impulse(taps: np.ndarray, style: str, rate: float | None) -> Markup:
    """One response, and the frequency of its peak."""
    height = max(float(np.abs(taps).max()), np.finfo(float).tiny)
    across = 100 / max(len(taps) - 1, 1)
    heights = 50 - 45 * taps / height
    points = " ".join(f"{i * across:.2f},{y:.1f}" for i, y in enumerate(heights))
    zero = element("line", x1=0, x2=100, y1=50, y2=50)
    line = element("polyline", points=points)
    stretch = {"viewBox": "0 0 100 100", "preserveAspectRatio": "none"}
    drawing = element("svg", zero, line, class_=style, aria_hidden="true", **stretch)
    peak = float(_peaks(taps[:, None], rate)[0])
    return join([drawing, element("span", _frequency(peak, rate))])


def _caption(kernels: dict[str, np.ndarray], rate: float | None) -> str:
    length = len(list(kernels.values())[-1])
    width = f"{1000 * length / rate:.3g} ms" if rate else f"{length} taps"
    rows = "before (grey) and after (color) training"
    rows = rows if len(kernels) > 1 else "in the only state that was kept"
    return (
        f"Above: magnitude responses. Below: impulse responses of {SHOWN} of these "
        f"filters, low to high, {rows}, with the frequency of the peak; each {width} "
        "wide and scaled to its own height."
    )
