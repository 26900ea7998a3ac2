"""The page of listeners, and the page of what they rated."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepjax.listening.ratings import SUMMARY
from sepjax.report.html.document import Section, asset, page, write_document
from sepjax.report.html.dots import dot, dot_chart, dot_row
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import count, decibels
from sepjax.report.html.parts import failures
from sepjax.report.html.pictures import Scale
from sepjax.report.html.table import table
from sepjax.storage import to_json, write_json

POINTS = Scale(0.0, 100.0, (0.0, 20.0, 40.0, 60.0, 80.0, 100.0))


def listener_page(tree: Mapping[str, Any]) -> Markup:
    """Return the page of a test; its script shows one trial after the other.

    Args:
        tree: what the page knows, :func:`sepjax.listening.trials.plan_test`.
    """
    facts = to_json(tree, indent=None).replace("<", "\\u003c")  # no tag in a script
    script = element("script", Markup(facts), type="application/json", id="test")
    sections = [Section("", [asset("listen.html"), script])]
    files: dict[str, Any] = {"styles": ["listen.css"], "scripts": ["listen.js"]}
    title = "Listening test"
    return page(
        "listening test", "What do you hear?", None, sections, title=title, **files
    )


def write_results(
    folder: Path,
    results: Mapping[str, Any],
    left_out: Sequence[Mapping[str, str]],
) -> list[Path]:
    """Write ``listening.json`` and ``listening.html``; return the two files.

    Args:
        folder: made where it is missing.
        results: of :func:`sepjax.listening.ratings.merge`.
        left_out: ``name`` and ``error`` of files that do not count.
    """
    excluded = [
        {"name": one["listener"], "error": one["excluded"]}
        for one in results["listeners"]
        if one.get("excluded")
    ]
    text = count(len(results["listeners"]), "listener")
    text += f", {len(excluded)} of them excluded" if excluded else ""
    lead = [
        element("p", text, class_="verdict"),
        failures(excluded, "Excluded from the ratings by ITU-R BS.1534-3, 4.1.2:"),
        failures(left_out, "Files that do not count:"),
    ]
    sections = [
        Section("Ratings", _ratings(results)),
        Section("Can the systems be told apart?", _abx(results["abx"])),
    ]
    markup = page("a listening test", "Ratings of listeners", lead, sections)
    tree = {**results, "left_out": list(left_out)}
    return [
        write_json(folder / "listening.json", tree),
        write_document(markup, folder / "listening.html"),
    ]


def rating_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Return a head, and a row of numbers as text for each condition; or nothing."""
    rows = [
        [name, *(decibels(row[key]) for key in SUMMARY)]
        for name, row in results.get("conditions", {}).items()
    ]
    head = ["Condition", "Mean", "from", "to (95 %)", "Median", "Quartiles", ""]
    return [head, *rows] if rows else []


def abx_rows(pairs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a head, and a row of numbers as text for each pair; or nothing."""
    rows = [
        [
            " and ".join(one["pair"]),
            f"{one['right']}",
            f"{one['trials']}",
            f"{one['p']:.2g}",
        ]
        for one in pairs
    ]
    return [["Pair", "Right", "of", "p"], *rows] if rows else []


def _ratings(results: Mapping[str, Any]) -> Markup | None:
    conditions = results.get("conditions")
    if not conditions:
        text = "No listener is left."
        return None if conditions is None else element("p", text, class_="absent")
    kept = [one for one in results["listeners"] if not one["excluded"]]
    rows = []
    for name, row in conditions.items():
        marks = [dot(POINTS, one["mushra"][name], 31, 2.5, "speck") for one in kept]
        if not math.isnan(row["low"]):
            ends = [POINTS.percent(min(max(row[e], 0), 100)) for e in ("low", "high")]
            marks.append(
                element("line", class_="gain", x1=ends[0], x2=ends[1], y1=16, y2=16)
            )
        marks.append(dot(POINTS, row["mean"], 16, 6, "disc"))
        rows.append(dot_row(name, marks, decibels(row["mean"], 0), POINTS, 40))
    head, *texts = rating_rows(results)
    told = "; ".join(f"{name} {mean}" for name, mean, *_ in texts)
    caption = (
        "Disc: mean over listeners of their means over excerpts; line: its 95 % "
        "confidence interval by Student's t over listeners; small dots: the listeners. "
        "Median and quartiles are of all ratings."
    )
    label = f"Chart of mean ratings from 0 to 100. {told}"
    chart = dot_chart(rows, POINTS, label, caption, unit="")
    return join([chart, table(head, texts)])


def _abx(pairs: Sequence[Mapping[str, Any]]) -> Markup | None:
    if not pairs:
        return None
    text = (
        "p: the probability that guessing gives as many right answers or more, exact "
        "binomial with 1/2. Answers of all listeners count."
    )
    head, *rows = abx_rows(pairs)
    return join([table(head, rows), element("p", text, class_="fine")])
