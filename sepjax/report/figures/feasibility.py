"""Pictures of the feasibility report: scores beside the mark, and who masks whom."""

from collections.abc import Mapping
from typing import Any

from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.pictures import Scale, class_color, decibels, round_scale

REFERENCE = "adaptive"


def mark_chart(results: Mapping[str, Any]) -> Markup:
    """A bar and the songs' dots for every class, best first, and the mark."""
    mark = results["definition"]["mark"]
    values = {name: row["si_sdr"] for name, row in results["scores"][REFERENCE].items()}
    order = sorted(values, key=lambda name: -(values[name] or -1e9))
    songs = {name: _song_scores(results, name) for name in values}
    known = [v for name in order for v in [values[name], *songs[name]] if v is not None]
    scale = round_scale([0.0, mark, *known])
    rows = [
        _bar_row(results, name, values[name], songs[name], scale, mark)
        for name in order
    ]
    labels = [
        element("span", decibels(tick, 0), style=f"left:{scale.percent(tick)}")
        for tick in scale.ticks
    ]
    axis = element("div", labels, element("i", "dB"), class_="dot-axis")
    told = "; ".join(f"{name} {decibels(values[name])} dB" for name in order)
    chart = element(
        "div",
        rows,
        axis,
        class_="dots marks",
        role="img",
        aria_label=f"SI-SDR of the oracle mask: {told}; the mark is {mark:g} dB",
    )
    caption = element(
        "figcaption",
        "SI-SDR of the oracle mask under adaptive mixing: the bar is the median over "
        f"songs, dots are songs, the line is the mark of {mark:g} dB.",
    )
    return element("figure", chart, caption, class_="dot-chart")


def _bar_row(
    results: Mapping[str, Any],
    name: str,
    value: float | None,
    songs: list[float],
    scale: Scale,
    mark: float,
) -> Markup:
    marks = [
        element("line", x1=scale.percent(t), x2=scale.percent(t), y1=0, y2=36)
        for t in scale.ticks
    ]
    if value is not None:
        low, high = sorted((0.0, value))
        width = f"{100 * (high - low) / (scale.high - scale.low):.2f}%"
        short = " short" * (value < mark)
        place = scale.percent(low)
        marks.append(
            element(
                "rect",
                class_=f"oracle-bar{short}",
                x=place,
                y=9,
                width=width,
                height=18,
            )
        )
    marks += [
        element("circle", class_="song", cx=scale.percent(v), cy=18, r=2.5)
        for v in songs
    ]
    x = scale.percent(mark)
    marks.append(element("line", class_="mark", x1=x, x2=x, y1=0, y2=36))
    return element(
        "div",
        element("span", swatch(results, name), class_="dot-name"),
        element("svg", marks, height=36),
        element("span", decibels(value), class_="dot-gain"),
        class_="dot-row",
    )


def _song_scores(results: Mapping[str, Any], name: str) -> list[float]:
    tracks = results["tracks"]
    values = [track["scores"][REFERENCE][name]["si_sdr"] for track in tracks]
    return [v for v in values if v is not None] if len(values) > 1 else []


def overlap_section(results: Mapping[str, Any]) -> Markup:
    """The overlap of every pair as a heat map, and the largest in words."""
    names, matrix = list(results["classes"]), results["overlap"]["matrix"]
    head = [element("th", name, scope="col") for name in ("", *names)]
    rows = [
        element(
            "tr",
            element("th", swatch(results, name), scope="row"),
            [_heat(value, i == j) for j, value in enumerate(matrix[i])],
        )
        for i, name in enumerate(names)
    ]
    table = element(
        "table",
        element("thead", element("tr", head)),
        element("tbody", rows),
        class_="masking",
    )
    note = element(
        "p",
        "The part of the quieter class's energy that lies under the other class, mean "
        "over songs in which both sound. 0: they never share a bin of the spectrogram; "
        "1: the quieter one is covered completely.",
        class_="fine",
    )
    pairs = results["overlap"]["pairs"][:5]
    items = [
        element("li", " and ".join(p["classes"]), f": {p['overlap']:.2f}")
        for p in pairs
    ]
    listed = element("ol", items, class_="pairs") if items else None
    scrolled = element("div", table, class_="wide", tabindex=0)
    return join([scrolled, note, listed])


def _heat(value: float | None, own: bool) -> Markup:
    if own:
        return element("td", class_="own")
    if value is None:
        return element("td", decibels(None))
    tint = f"--heat:{100 * value:.0f}%"
    text = f"{value:.2f}"
    return element("td", text, style=tint, class_="hot" if value > 0.55 else None)


def swatch(results: Mapping[str, Any], name: str) -> Markup:
    """The name of a class behind its color."""
    color = class_color(tuple(results["classes"]), name)
    return join([element("i", class_=f"swatch {color}"), name])
