"""The feasibility report as a page: Table 4.1, the mark, overlaps and groupings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepjax.report.figures.feasibility import (
    REFERENCE,
    mark_chart,
    overlap_section,
    swatch,
)
from sepjax.report.html.document import head, write_document
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.pictures import decibels
from sepjax.report.pages.feasibility_table import METRICS, PROCEDURES
from sepjax.report.pages.scores import spell


def write_page(results: Mapping[str, Any], path: Path) -> Path:
    """Write the report as one file that needs no other.

    Args:
        results: as in ``oracle.json``, NaN replaced by None.
        path: of the page.
    """
    return write_document(render(results), path)


def render(results: Mapping[str, Any]) -> Markup:
    """The whole page as one element."""
    name = Path(str(results["provenance"]["data"])).name
    header = element(
        "header",
        element(
            "p", "sepjax \N{MIDDLE DOT} feasibility before training", class_="kicker"
        ),
        element("h1", name),
        verdict(results),
        element(
            "p",
            "A prediction before training, ",
            element("a", "not an upper bound", href="#meaning"),
            ".",
            class_="note",
        ),
        _failed(results),
    )
    parts = (
        ("mark", "Which classes reach the mark", mark_chart),
        ("table", "Four ways to mix", _table),
        ("overlap", "Which classes mask each other", overlap_section),
        ("groups", "Suggested grouping", _groups),
        ("clipped", "Clipped samples", _clipped),
        ("songs", "Every song", _songs),
        ("meaning", "What this is, and what it is not", _meaning),
    )
    main = element("main", [_section(*part, results) for part in parts])
    return element(
        "html",
        head(f"{name} \N{MIDDLE DOT} sepjax oracle", "feasibility.css"),
        element("body", header, main),
        lang="en",
    )


def verdict(results: Mapping[str, Any]) -> Markup:
    """One sentence: which classes reach the mark."""
    mark = f"{results['definition']['mark']:g} dB"
    reached = [n for n, row in results["classes"].items() if row["reaches_mark"]]
    rest = [n for n in results["classes"] if n not in reached]
    count = f"{len(reached)} of {len(results['classes'])} classes"
    text = [element("b", count), f" reach {mark} with an oracle mask"]
    text += [": ", ", ".join(reached)] if reached and rest else []
    text += [". Below it: ", ", ".join(rest)] if rest else []
    return element("p", text, ".", class_="verdict")


def _section(anchor: str, title: str, write: Any, results: Mapping) -> Markup:
    heading = element("h2", title, id=f"{anchor}-title")
    return element(
        "section",
        heading,
        write(results),
        id=anchor,
        aria_labelledby=f"{anchor}-title",
    )


def _failed(results: Mapping[str, Any]) -> Markup | None:
    if not results["failed"]:
        return None
    items = [
        element("li", element("b", one["name"]), f": {one['error']}")
        for one in results["failed"]
    ]
    lead = element("p", "Could not be measured, and counts in no number:")
    return element("div", lead, element("ul", items), class_="seen-note")


# --- the tables ------------------------------------------------------------------


def _table(results: Mapping[str, Any]) -> Markup:
    groups = [
        element("th", f"{text}, dB", colspan=len(PROCEDURES), class_="over")
        for text in METRICS.values()
    ]
    over = element("tr", element("th", colspan=4), groups)
    names = ["Class", "Songs", "Active", "Level", *PROCEDURES, *PROCEDURES]
    head = element("tr", [element("th", name, scope="col") for name in names])
    table = element(
        "table",
        element("thead", over, head),
        element("tbody", [_class_row(results, name) for name in results["classes"]]),
        class_="scores",
    )
    overflow = any(results["clipped"][p]["songs"] for p in PROCEDURES)
    equal = " Here nothing overflows, and summing gives the same songs." * (
        not overflow
    )
    note = element(
        "p",
        "The layout of Table 4.1 of the thesis. Scaling and adaptive mixing differ by "
        f"one factor, so their SI-SDR is the same.{equal} SDR sees the scale: "
        "averaging divides the mixture by the number of classes C, silent ones too, "
        "and even a perfect mask then scores \N{MINUS SIGN}20 log10(1 \N{MINUS SIGN} "
        "1/C) dB; scaling leaves the mixture softer than the sum of its stems. Level: "
        "the recorded tracks while they sound, in dBFS.",
        class_="fine",
    )
    return join([element("div", table, class_="wide", tabindex=0), note])


def _class_row(results: Mapping[str, Any], name: str) -> Markup:
    row, mark = results["classes"][name], results["definition"]["mark"]
    cells = []
    for metric in METRICS:
        for procedure in PROCEDURES:
            value = results["scores"][procedure][name][metric]
            high = metric == "si_sdr" and value is not None and value >= mark
            text = decibels(value, 2)
            first = " first" * (procedure == PROCEDURES[0])
            cells.append(element("td", text, class_=f"of{first}" + " high" * high))
    return element(
        "tr",
        element("th", swatch(results, name), scope="row"),
        element("td", row["songs"], class_="quiet"),
        element("td", f"{100 * row['activity']:.0f} %", class_="quiet"),
        element("td", decibels(row["level"]), class_="quiet"),
        cells,
    )


def _groups(results: Mapping[str, Any]) -> Markup:
    steps, mark = results["groupings"], results["definition"]["mark"]
    if len(steps) < 2:
        text = (
            "All classes reach the mark as they are: nothing to merge."
            if steps and steps[0]["reaches_mark"]
            else "There are too few classes to merge any."
        )
        return element("p", text, class_="absent")
    head = [element("th", text, scope="col") for text in ("Groups", "", "Lowest, dB")]
    rows = [_group_row(step, mark) for step in steps]
    table = element(
        "table",
        element("thead", element("tr", head)),
        element("tbody", rows),
        class_="groups",
    )
    rest = (
        "The last line is the suggestion."
        if steps[-1]["reaches_mark"]
        else "Even two groups do not reach it."
    )
    note = element(
        "p",
        "The class farthest below the mark is merged with the one it overlaps most, "
        "the tracks are mixed again (adaptive) and the oracle is measured anew, until "
        f"all reach {mark:g} dB of SI-SDR. {rest}",
        class_="fine",
    )
    return join([element("div", table, class_="wide", tabindex=0), note])


def _group_row(step: Mapping[str, Any], mark: float) -> Markup:
    chips = []
    for name, row in step["scores"].items():
        score = row["si_sdr"]
        low = " short" * (score is None or score < mark)
        label = name.replace("+", " + ")
        value = element("small", decibels(score))
        chips.append(element("span", label, " ", value, class_=f"chip{low}"))
    known = [r["si_sdr"] for r in step["scores"].values() if r["si_sdr"] is not None]
    return element(
        "tr",
        element("th", len(step["groups"]), scope="row"),
        element("td", chips, class_="chips"),
        element("td", decibels(min(known, default=None))),
        class_="reached" if step["reaches_mark"] else None,
    )


def _clipped(results: Mapping[str, Any]) -> Markup:
    names = list(results["classes"])
    head = ["Procedure", "Mixture", "Share", *names, "Songs"]
    rows = []
    for procedure in PROCEDURES:
        row = results["clipped"][procedure]
        share = f"{100 * row['mixture'] / max(row['samples'], 1):.3f} %"
        cells = [row["mixture"], share, *(row["stems"][n] for n in names), row["songs"]]
        rows.append(
            element(
                "tr",
                element("th", procedure, scope="row"),
                [element("td", f"{c:,}" if isinstance(c, int) else c) for c in cells],
            )
        )
    table = element(
        "table",
        element("thead", element("tr", [element("th", t, scope="col") for t in head])),
        element("tbody", rows),
    )
    files = sum(track["clipped_in_files"] for track in results["tracks"])
    note = element(
        "p",
        "Samples beyond 16-bit full scale, all channels counted; what overflows is "
        "clipped, never wrapped around. Songs: in which anything was clipped. "
        f"In the files themselves: {files:,}.",
        class_="fine",
    )
    return join([element("div", table, class_="wide", tabindex=0), note])


def _songs(results: Mapping[str, Any]) -> Markup:
    names = list(results["classes"])
    head = [element("th", text, scope="col") for text in ("Song", "Length", *names)]
    rows = [
        element(
            "tr",
            element("th", track["name"], scope="row"),
            element("td", f"{track['seconds']:.0f} s", class_="quiet"),
            [
                element("td", decibels(track["scores"][REFERENCE][name]["si_sdr"]))
                for name in names
            ],
        )
        for track in results["tracks"]
    ]
    table = element(
        "table",
        element("caption", "SI-SDR under adaptive mixing, dB"),
        element("thead", element("tr", head)),
        element("tbody", rows),
    )
    summary = element("summary", f"{len(rows)} song" + "s" * (len(rows) != 1))
    scrolled = element("div", table, class_="wide", tabindex=0)
    return element("details", summary, scrolled)


def _meaning(results: Mapping[str, Any]) -> Markup:
    texts = (
        "The oracle knows every stem and cuts the mixture's spectrogram with the best "
        "ratios of their magnitudes, keeping the mixture's phase. What it scores is "
        "high where classes stay out of each other's way.",
        "It is a predictor: on public data its score per track correlates by about 0.8 "
        "with that of trained six-stem models. It is not an upper bound: a model may "
        "use phase, and needs no ratio mask. It says nothing about how much data "
        "learning a class takes, so look at its activity, too.",
        "A class below the mark is likely to disappoint. Merge it with what masks it, "
        "leave it out, or find recordings in which it stands out more.",
    )
    define = results["definition"]
    items = [
        element(
            "div", element("dt", key.replace("_", " ")), element("dd", spell(value))
        )
        for key, value in (define | results["provenance"]).items()
    ]
    terms = element("dl", items, class_="definitions")
    details = element("details", element("summary", "All definitions"), terms)
    return element("div", [element("p", text) for text in texts], details, class_="say")
