"""The feasibility report as plain text, for a terminal."""

import itertools
from collections.abc import Mapping
from typing import Any

from sepjax.evaluation.tables import cell, markdown, measured
from sepjax.registry import aligned
from sepjax.report.html.numbers import percent

PROCEDURES = ("summing", "averaging", "scaling", "adaptive")  # columns of Table 4.1
METRICS = {"si_sdr": "SI-SDR", "sdr": "SDR"}
PRINTED_4_1 = dict.fromkeys(("vocals", "drums"), "0.68 to 0.69")
PRINTED_4_1 |= {"bass": "5.802, a misprint"}
PRINTED_4_2 = dict(vocals="9.274", drums="8.704", bass="6.924", other="7.844")
MEANING = (
    "It predicts which classes are easy; it is not an upper bound. On public data it "
    "correlates\nby about 0.8, per track, with the scores of trained six-stem models."
)


def format_report(results: Mapping[str, Any], pairs: int = 5) -> str:
    """Tables of scores, ``pairs`` overlaps, groupings and clipped samples."""
    blocks = [_scores(results), _overlaps(results, pairs), _groupings(results)]
    failed = [f"FAILED {f['name']}: {f['error']}" for f in results["failed"]]
    blocks += [_clipped(results), MEANING, "\n".join(failed)]
    return "\n\n".join(block for block in blocks if block)


def table_4_1(
    results: Mapping[str, Any], printed: Mapping[str, str] = PRINTED_4_1
) -> str:
    """Write Table 4.1 of the thesis as Markdown: our dB, and the printed ones behind.

    Of the printed cells these are at hand: under averaging an SDR of 0.68 to 0.69 for
    vocals and drums, and of 5.802 for bass, a misprint, as a perfect mask of eleven
    classes has 0.83 dB. The others are "?". Results are those of ``oracle.json``.
    """
    rows = []
    for (metric, label), procedure in itertools.product(METRICS.items(), PROCEDURES):
        known = printed if (metric, procedure) == ("sdr", "averaging") else {}
        scores = results["scores"][procedure].items()
        cells = [f"{cell(row[metric])} ({known.get(n, '?')})" for n, row in scores]
        rows.append([f"{label}, {procedure}", *cells])
    return markdown(["dB: ours (printed)", *results["classes"]], rows)


def table_4_3(results: Mapping[str, Any]) -> str:
    """Write Table 4.3 of the thesis, of which no printed cell is at hand."""
    return table_4_1(results, printed={})


def table_4_2(results: Mapping[str, Any]) -> str:
    """Write Table 4.2 of the thesis as Markdown: SDR of the stems as they are.

    The printed values are those of MUSDB18-HQ in windows of 6 s.
    """
    scores, facts = results["scores"]["summing"], results["definition"]
    ours = [
        f"ours, {facts['window_seconds']:g} s",
        *(cell(s["sdr"]) for s in scores.values()),
    ]
    printed = ["printed, 6 s", *(PRINTED_4_2.get(name, "?") for name in scores)]
    return markdown(["SDR, dB", *scores], [ours, printed])


def songs_scored(row: Mapping[str, Any]) -> str:
    """Count the songs in which a class sounds, and those of them that have a score.

    Example:
        >>> songs_scored({"songs": 3, "scored": 2}), songs_scored({"songs": 3})
        ('2 of 3', '3')
    """
    songs, scored = row["songs"], row.get("scored", row["songs"])
    return f"{scored} of {songs}" if scored < songs else str(songs)


def _scores(results: Mapping[str, Any]) -> str:
    define = results["definition"]
    songs = f"{define['songs']} song{'s' * (define['songs'] != 1)}"
    power = f" (power {define['power']:g})" * (define["mask"] == "ratio")
    title = (
        f"Oracle: {define['mask']}{power}, {songs}: SI-SDR of whole songs and "
        f"SDR of windows of {define['window_seconds']:g} s, medians, dB\n"
    )
    rows = [["", "", "", "", *["SI-SDR", "", "", ""], *["SDR", "", "", ""], ""]]
    rows += [["class", "songs", "active", "dBFS", *PROCEDURES, *PROCEDURES, "mark"]]
    for name, row in results["classes"].items():
        pairs = itertools.product(METRICS, PROCEDURES)
        cells = [cell(results["scores"][p][name][metric]) for metric, p in pairs]
        mark = "yes" if row["reaches_mark"] else "no"
        facts = songs_scored(row), percent(row["activity"]), cell(row["level"])
        rows.append([name, *facts, *cells, mark])
    note = f"mark: SI-SDR of at least {define['mark']:g} dB under adaptive mixing; "
    note += f"songs of a class: {define['songs_of_a_class']}"
    return f"{title}{aligned(rows)}\n{note}"


def _overlaps(results: Mapping[str, Any], pairs: int) -> str:
    rows = [["classes that mask each other most", "overlap"]]
    for pair in results["overlap"]["pairs"][:pairs]:
        rows.append([" and ".join(pair["classes"]), f"{pair['overlap']:.2f}"])
    return aligned(rows) if len(rows) > 1 else ""


def _groupings(results: Mapping[str, Any]) -> str:
    steps, mark = results["groupings"], results["definition"]["mark"]
    if len(steps) < 2:
        return ""
    rows = [["suggested grouping", "SI-SDR", "mark"]]
    for name, row in steps[-1]["scores"].items():
        reached = measured(row["si_sdr"]) >= mark
        rows.append([name, cell(row["si_sdr"]), "yes" if reached else "no"])
    return aligned(rows)


def _clipped(results: Mapping[str, Any]) -> str:
    rows: list[list[Any]] = [["clipped samples", "mixture", "stems", "songs"]]
    for name in PROCEDURES:
        row = results["clipped"][name]
        rows.append([name, row["mixture"], sum(row["stems"].values()), row["songs"]])
    return aligned(rows)
