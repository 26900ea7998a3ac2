"""The feasibility report as a page: Table 4.1, the mark, overlaps and groupings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepjax.report.figures.feasibility import REFERENCE, mark_chart, overlap_section
from sepjax.report.html.document import Section, page, write_document
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import count, decibels, percent
from sepjax.report.html.parts import definitions, failures, folded
from sepjax.report.html.pictures import swatch
from sepjax.report.html.table import Row, cell, table
from sepjax.report.pages.feasibility_table import METRICS, PROCEDURES, songs_scored


def write_page(results: Mapping[str, Any], path: Path) -> Path:
    """Write ``oracle.json``, NaN replaced by None, as one file that needs no other."""
    return write_document(render(results), path)


def render(results: Mapping[str, Any]) -> Markup:
    """The whole page as one element."""
    name = Path(str(results["provenance"]["data"])).name
    bound = element("a", "not an upper bound", href="#meaning")
    facts = results["definition"]
    about = f". Mask: {facts['mask']}; songs of a class: {facts['songs_of_a_class']}."
    note = element("p", "A prediction before training, ", bound, about, class_="note")
    text = "Could not be measured, and counts in no number:"
    lead = [verdict(results), note, failures(results["failed"], text)]
    parts = (
        ("Which classes reach the mark", mark_chart, "mark"),
        ("Four ways to mix", _procedures, "table"),
        ("Which classes mask each other", overlap_section, "overlap"),
        ("Suggested grouping", _groups, "groups"),
        ("Clipped samples", _clipped, "clipped"),
        ("Every song", _songs, "songs"),
        ("What this is, and what it is not", _meaning, "meaning"),
    )
    return page(
        "feasibility before training",
        name,
        lead,
        [Section(title, write(results), anchor) for title, write, anchor in parts],
        title=f"{name} \N{MIDDLE DOT} sepjax oracle",
        styles=["feasibility.css"],
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


def _procedures(results: Mapping[str, Any]) -> Markup:
    groups = [("", 4), *((f"{text}, dB", len(PROCEDURES)) for text in METRICS.values())]
    names = ["Class", "Songs", "Active", "Level", *PROCEDURES, *PROCEDURES]
    rows = [_class_row(results, name) for name in results["classes"]]
    style = {"columns": ["", "quiet", "quiet", "quiet"], "class_": "scores"}
    equal = " Here nothing overflows, and summing gives the same songs."
    if any(results["clipped"][p]["songs"] for p in PROCEDURES):
        equal = ""
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
    return join([table(names, rows, over=groups, **style), note])


def _class_row(results: Mapping[str, Any], name: str) -> list[Any]:
    row, mark = results["classes"][name], results["definition"]["mark"]
    scores = []
    for metric in METRICS:
        for procedure in PROCEDURES:
            value = results["scores"][procedure][name][metric]
            high = metric == "si_sdr" and value is not None and value >= mark
            first = " first" * (procedure == PROCEDURES[0])
            style = f"of{first}" + " high" * high
            scores.append(cell(decibels(value, 2), class_=style))
    facts = songs_scored(row), percent(row["activity"]), decibels(row["level"])
    return [swatch([*results["classes"]], name), *facts, *scores]


def _groups(results: Mapping[str, Any]) -> Markup:
    steps, mark = results["groupings"], results["definition"]["mark"]
    if len(steps) < 2:
        text = "There are too few classes to merge any."
        if steps and steps[0]["reaches_mark"]:
            text = "All classes reach the mark as they are: nothing to merge."
        return element("p", text, class_="absent")
    rows = [_group_row(step, mark) for step in steps]
    names = ["Groups", "", "Lowest, dB"]
    markup = table(names, rows, columns=["", "chips"], class_="groups")
    rest = "Even two groups do not reach it."
    if steps[-1]["reaches_mark"]:
        rest = "The last line is the suggestion."
    note = element(
        "p",
        "The class farthest below the mark is merged with the one it overlaps most, "
        "the tracks are mixed again (adaptive) and the oracle is measured anew, until "
        f"all reach {mark:g} dB of SI-SDR. {rest}",
        class_="fine",
    )
    return join([markup, note])


def _group_row(step: Mapping[str, Any], mark: float) -> Row:
    chips = []
    for name, row in step["scores"].items():
        score = row["si_sdr"]
        low = " short" * (score is None or score < mark)
        label = name.replace("+", " + ")
        value = element("small", decibels(score))
        chips.append(element("span", label, " ", value, class_=f"chip{low}"))
    known = [r["si_sdr"] for r in step["scores"].values() if r["si_sdr"] is not None]
    cells = len(step["groups"]), chips, decibels(min(known, default=None))
    return Row(cells, "reached" if step["reaches_mark"] else None)


def _clipped(results: Mapping[str, Any]) -> Markup:
    names, rows = list(results["classes"]), []
    for procedure in PROCEDURES:
        row = results["clipped"][procedure]
        share = percent(row["mixture"] / max(row["samples"], 1), 3)
        counts = row["mixture"], *(row["stems"][name] for name in names), row["songs"]
        mixture, *rest = (f"{number:,}" for number in counts)
        rows.append([procedure, mixture, share, *rest])
    files = sum(track["clipped_in_files"] for track in results["tracks"])
    note = element(
        "p",
        "Samples beyond 16-bit full scale, all channels counted; what overflows is "
        "clipped, never wrapped around. Songs: in which anything was clipped. "
        f"In the files themselves: {files:,}.",
        class_="fine",
    )
    return join([table(["Procedure", "Mixture", "Share", *names, "Songs"], rows), note])


def _songs(results: Mapping[str, Any]) -> Markup:
    names, rows = list(results["classes"]), []
    for track in results["tracks"]:
        scores = track["scores"][REFERENCE]
        values = [decibels(scores[name]["si_sdr"]) for name in names]
        rows.append([track["name"], f"{track['seconds']:.0f} s", *values])
    style = {"caption": "SI-SDR under adaptive mixing, dB", "columns": ["", "quiet"]}
    markup = table(["Song", "Length", *names], rows, **style)
    return folded(count(len(rows), "song"), markup)


def _meaning(results: Mapping[str, Any]) -> Markup:
    texts = (
        "The oracle knows every stem and masks the mixture's spectrogram with that, "
        "keeping the mixture's phase. What it scores is high where classes stay out of "
        "each other's way.",
        "It is a predictor: on public data its score per track correlates by about 0.8 "
        "with that of trained six-stem models. It is not an upper bound: a model may "
        "use phase, and needs no ratio mask. It says nothing about how much data "
        "learning a class takes, so look at its activity, too.",
        "A class below the mark is likely to disappoint. Merge it with what masks it, "
        "leave it out, or find recordings in which it stands out more.",
    )
    terms = definitions(results["definition"] | results["provenance"])
    details = folded("All definitions", terms)
    return element("div", [element("p", text) for text in texts], details, class_="say")
