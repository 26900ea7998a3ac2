"""Pictures of the feasibility report: scores beside the mark, and who masks whom."""

from collections.abc import Mapping
from typing import Any

from sepjax.report.html.dots import dot, dot_chart, dot_row, vertical
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import decibels
from sepjax.report.html.pictures import Scale, round_scale, swatch
from sepjax.report.html.table import Cell, cell, table

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
        _bar_row(swatch([*values], name), values[name], songs[name], scale, mark)
        for name in order
    ]
    scores = "; ".join(f"{name} {decibels(values[name])} dB" for name in order)
    label = f"SI-SDR of the oracle mask: {scores}; the mark is {mark:g} dB"
    caption = (
        "SI-SDR of the oracle mask under adaptive mixing: the bar is the median over "
        f"songs, dots are songs, the line is the mark of {mark:g} dB."
    )
    return dot_chart(rows, scale, label, caption, class_="dots marks")


def _bar_row(
    name: Markup, value: float | None, songs: list[float], scale: Scale, mark: float
) -> Markup:
    marks = []
    if value is not None:
        low, high = sorted((0.0, value))
        bar = {"x": scale.percent(low), "y": 9, "height": 18}
        width = f"{100 * (high - low) / (scale.high - scale.low):.2f}%"
        style = "oracle-bar" + " short" * (value < mark)
        marks.append(element("rect", **bar, width=width, class_=style))
    marks += [dot(scale, song, 18, 2.5, "song") for song in songs]
    marks.append(vertical(scale, mark, 0, 36, "mark"))
    return dot_row(name, marks, decibels(value), scale, 36)


def _song_scores(results: Mapping[str, Any], name: str) -> list[float]:
    tracks = results["tracks"]
    values = [track["scores"][REFERENCE][name]["si_sdr"] for track in tracks]
    return [v for v in values if v is not None] if len(values) > 1 else []


def overlap_section(results: Mapping[str, Any]) -> Markup:
    """The overlap of every pair as a heat map, and the largest in words."""
    names, matrix = list(results["classes"]), results["overlap"]["matrix"]
    rows = [
        [swatch(names, name), *(_heat(v, i == j) for j, v in enumerate(matrix[i]))]
        for i, name in enumerate(names)
    ]
    note = element(
        "p",
        "The part of the quieter class's energy that lies under the other class, mean "
        "over songs in which both sound. 0: they never share a bin of the spectrogram; "
        "1: the quieter one is covered completely.",
        class_="fine",
    )
    pairs = results["overlap"]["pairs"][:5]
    texts = [f"{' and '.join(p['classes'])}: {p['overlap']:.2f}" for p in pairs]
    items = [element("li", text) for text in texts]
    listed = element("ol", items, class_="pairs") if items else None
    return join([table(["", *names], rows, class_="masking"), note, listed])


def _heat(value: float | None, own: bool) -> Cell:
    if own:
        return cell(class_="own")
    if value is None:
        return cell(decibels(None))
    tint = f"--heat:{100 * value:.0f}%"
    return cell(f"{value:.2f}", style=tint, class_="hot" if value > 0.55 else None)
