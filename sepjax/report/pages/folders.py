"""The page about a set of tracks: averages, boxes, every track, every definition."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepjax.evaluation.folders.files import shown_metrics, tracks_scored
from sepjax.evaluation.protocol import LABELS, UNITS
from sepjax.report.figures.boxes import (
    box_figure,
    drawn_metrics,
    has_curves,
    windows_figure,
)
from sepjax.report.figures.grid import render
from sepjax.report.html.document import head, write_document
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import MINUS, decibels
from sepjax.report.html.pictures import data_uri
from sepjax.report.pages.scores import spell

# On a phone a picture scrolls rather than shrinks beyond reading.
PICTURE = "display:block;width:100%;min-width:36rem;height:auto;"
PICTURE += "background:#fff;border-radius:.4rem;margin:.4rem 0"
MOST_CURVES = 60  # tracks whose curves are on the page; all are among the plots
GAP = "\N{EN DASH}"


def write_score_page(folder: Path, results: Mapping[str, Any]) -> Path:
    """Write ``report.html``: one file that needs no other.

    Args:
        folder: where to.
        results: of :func:`sepjax.evaluation.folders.evaluate.evaluate_folders`.

    Returns:
        Path of the page.
    """
    return write_document(page(results), Path(folder) / "report.html")


def page(results: Mapping[str, Any]) -> Markup:
    """The whole page as one element."""
    name = Path(results["provenance"]["estimates"]).name or "estimates"
    header = element(
        "header",
        element("p", "sepjax \N{MIDDLE DOT} scores of a folder", class_="kicker"),
        element("h1", name),
        element("p", _lead(results), class_="verdict"),
        _facts(results),
    )
    sections = [
        ("Scores", [_troubles(results), _class_table(results), _boxes(results)]),
        ("Tracks", [_track_table(results), _curves(results)]),
        ("Definitions", [_definitions(results)]),
    ]
    main = element(
        "main",
        [
            element("section", element("h2", title), content)
            for title, content in sections
        ],
    )
    return element(
        "html",
        head(f"{name} \N{MIDDLE DOT} sepjax scores"),
        element("body", header, main),
        lang="en",
    )


def headline(results: Mapping[str, Any]) -> str:
    """The metric that the preset is known by."""
    return next(iter(results["definition"]["aggregation"]))


def _lead(results: Mapping[str, Any]) -> Markup | str:
    """The one number, and what it is."""
    metric = headline(results)
    value = results["mean"].get(metric, math.nan)
    count = len(results["tracks"])
    if not count:
        return "No track could be scored."
    rows = results["scores"].values()
    classes = sum(not math.isnan(row[metric]) for row in rows)
    if not classes:
        return f"{LABELS[metric]} could be measured in no track."
    mean = "" if classes == 1 else f", mean of {classes} classes"
    return join(
        [
            element("b", f"{_number(value)} {UNITS[metric]} {LABELS[metric]}"),
            f"{mean}: {results['definition']['aggregation'][metric]} "
            f"({count} track{'s' * (count != 1)}).",
        ]
    )


def _facts(results: Mapping[str, Any]) -> Markup:
    definition, origin = results["definition"], results["provenance"]
    rates = ", ".join(f"{rate} Hz" for rate in definition["sample_rate"])
    facts = {
        "references": origin["references"],
        "estimates": origin["estimates"],
        "split": definition["split"],
        "sample rate": rates or GAP,
        "references SHA-256": definition["data_sha256"][:12]
        + "\N{HORIZONTAL ELLIPSIS}",
    }
    items = [
        element("div", element("dt", key), element("dd", value))
        for key, value in facts.items()
    ]
    return element("dl", items, class_="facts")


def _troubles(results: Mapping[str, Any]) -> Markup | None:
    """What failed, and what had no partner, before any number."""
    failed = [
        element("li", element("b", track["name"]), f": {track['error']}")
        for track in results["failed"]
    ]
    remarks = [element("li", remark) for remark in results["remarks"]]
    parts = []
    if failed:
        lead = element("p", "Could not be scored, and counts in no number:")
        parts.append(
            element("div", lead, element("ul", failed), class_="seen-note", role="note")
        )
    if remarks:
        lead = element("summary", f"Without a partner ({len(remarks)})")
        parts.append(element("details", lead, element("ul", remarks), open=True))
    return join(parts) if parts else None


def _class_table(results: Mapping[str, Any]) -> Markup:
    metrics = shown_metrics(results)
    titles = [f"{LABELS[metric]}, {UNITS[metric]}" for metric in metrics]
    head = [element("th", t, scope="col") for t in ("Class", *titles, "Tracks")]
    head.append(element("th", "Windows", scope="col"))
    rows = [
        element(
            "tr",
            element(
                "th", _swatch(index, name), scope="row", style="white-space:nowrap"
            ),
            [_cell(row[metric]) for metric in metrics],
            element("td", tracks_scored(row), class_="quiet"),
            element("td", f"{row['windows_scored']}/{row['windows']}", class_="quiet"),
        )
        for index, (name, row) in enumerate(results["scores"].items())
    ]
    means = [_cell(results["mean"].get(metric, math.nan)) for metric in metrics]
    foot = element(
        "tr", element("th", "Mean", scope="row"), means, element("td"), element("td")
    )
    table = element(
        "table",
        element("thead", element("tr", head)),
        element("tbody", rows),
        element("tfoot", foot) if len(rows) > 1 else None,
        class_="scores",
    )
    note = (
        "Windows: those that were scored, of all. Tracks: fewer count for scores of "
        "windows where none of a track's windows was scored. A dash: nothing to "
        "measure."
    )
    return join(
        [
            element("div", table, class_="wide", tabindex=0),
            element("p", note, class_="fine"),
        ]
    )


def _swatch(index: int, name: str) -> Markup:
    return join([element("i", class_=f"swatch color-{index % 8}"), name])


def _cell(value: float) -> Markup:
    return element("td", _number(value))


def _number(value: float) -> str:
    """Two digits, as papers give them; infinity by its sign.

    Example:
        >>> _number(5.678), _number(float("inf")), _number(float("nan"))
        ('5.68', '∞', '–')
    """
    if math.isnan(value):
        return GAP
    if math.isinf(value):
        return (MINUS if value < 0 else "") + "\N{INFINITY}"
    return decibels(value, 2)


def _boxes(results: Mapping[str, Any]) -> Markup | None:
    if not drawn_metrics(results):
        return None
    caption = (
        "Each dot is a track, at its own median over windows where there are any; the "
        "line is the median over tracks, the diamond the mean, the box the middle "
        "half. The number beside a class counts its tracks."
    )
    image = _picture(box_figure(results), "Scores of all tracks by class and metric")
    return element("figure", image, element("figcaption", caption))


def _picture(figure: Any, text: str) -> Markup:
    uri = data_uri("image/svg+xml", render(figure, "svg"))
    image = element("img", src=uri, alt=text, style=PICTURE, loading="lazy")
    return element("div", image, class_="wide", tabindex=0)


def _track_table(results: Mapping[str, Any]) -> Markup | None:
    tracks, metric = results["tracks"], headline(results)
    if not tracks:
        return None
    names = list(results["scores"])
    head = [element("th", text, scope="col") for text in ("Track", *names)]
    if any(track["notes"] for track in tracks):
        head.append(element("th", "Notes", scope="col", style="text-align:left"))
    rows = [_track_row(track, names, metric) for track in tracks]
    how = results["definition"]["aggregation"][metric].partition(", then")[0]
    how = f" ({how})" if "window" in how else ""
    table = element(
        "table",
        element("caption", f"{LABELS[metric]}, {UNITS[metric]}{how}"),
        element("thead", element("tr", head)),
        element("tbody", rows),
    )
    return element("div", table, class_="wide", tabindex=0)


def _track_row(track: Mapping[str, Any], names: Sequence[str], metric: str) -> Markup:
    scores = track["scores"]
    return element(
        "tr",
        element("th", track["title"], scope="row"),
        [_cell(scores.get(name, {}).get(metric, math.nan)) for name in names],
        element(
            "td",
            "; ".join(track["notes"]),
            class_="quiet",
            style="white-space:normal;text-align:left;min-width:12rem",
        )
        if track["notes"]
        else None,
    )


def _curves(results: Mapping[str, Any]) -> Markup | None:
    names = list(results["scores"])
    scored = [track for track in results["tracks"] if has_curves(track)]
    tracks = scored[:MOST_CURVES]
    if not tracks:
        return None
    seconds = results["definition"]["window_seconds"]
    items = [
        element(
            "details",
            element("summary", f"{track['title']}: SDR over time"),
            _picture(
                windows_figure(track, names, seconds),
                f"SDR over time of {track['title']}",
            ),
            open=len(tracks) <= 3,
        )
        for track in tracks
    ]
    more = len(scored) - len(tracks)
    rest = f"The curves of {more} more tracks are in plots/tracks." if more else None
    note = "Lines are broken where something is silent and nothing was scored."
    return element("div", items, element("p", note, " ", rest, class_="fine"))


def _definitions(results: Mapping[str, Any]) -> Markup:
    terms = results["definition"] | {
        "provenance": {
            key: value
            for key, value in results["provenance"].items()
            if key not in ("references", "estimates")
        }
    }
    items = [
        element(
            "div",
            element("dt", LABELS.get(key, key.replace("_", " "))),
            element("dd", spell(value)),
        )
        for key, value in terms.items()
        if value not in ({}, None)
    ]
    return element("dl", items, class_="definitions fine", style="max-width:none")
