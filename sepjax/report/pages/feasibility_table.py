"""The feasibility report as plain text, for a terminal."""

from collections.abc import Mapping
from typing import Any

from sepjax.evaluation.tables import cell
from sepjax.registry import aligned

PROCEDURES = ("summing", "averaging", "scaling", "adaptive")  # columns of Table 4.1
METRICS = {"si_sdr": "SI-SDR", "sdr": "SDR"}
MEANING = (
    "It predicts which classes are easy; it is not an upper bound. On public data it "
    "correlates\nby about 0.8, per track, with the scores of trained six-stem models."
)


def format_report(results: Mapping[str, Any], pairs: int = 5) -> str:
    """Tables of scores, overlaps, groupings and clipped samples.

    Args:
        results: as in ``oracle.json``, NaN replaced by None.
        pairs: how many pairs of classes to list.
    """
    blocks = [
        _scores(results),
        *_overlaps(results, pairs),
        *_groupings(results),
        _clipped(results),
        MEANING,
        "\n".join(f"FAILED {f['name']}: {f['error']}" for f in results["failed"]),
    ]
    return "\n\n".join(block for block in blocks if block)


def _scores(results: Mapping[str, Any]) -> str:
    define = results["definition"]
    count = f"{define['songs']} song" + "s" * (define["songs"] != 1)
    title = (
        f"Oracle mask (power {define['power']:g}), {count}: SI-SDR of whole songs and "
        f"SDR of windows of {define['window_seconds']:g} s, medians, dB\n"
    )
    rows = [["", "", "", "", *["SI-SDR", "", "", ""], *["SDR", "", "", ""], ""]]
    rows += [["class", "songs", "active", "dBFS", *PROCEDURES, *PROCEDURES, "mark"]]
    for name, row in results["classes"].items():
        cells = [
            cell(results["scores"][procedure][name][metric])
            for metric in METRICS
            for procedure in PROCEDURES
        ]
        active = f"{100 * row['activity']:.0f} %"
        mark = "yes" if row["reaches_mark"] else "no"
        facts = [str(row["songs"]), active, cell(row["level"])]
        rows.append([name, *facts, *cells, mark])
    note = f"mark: SI-SDR of at least {define['mark']:g} dB under adaptive mixing"
    return f"{title}{aligned(rows)}\n{note}"


def _overlaps(results: Mapping[str, Any], pairs: int) -> list[str]:
    listed = results["overlap"]["pairs"][:pairs]
    if not listed:
        return []
    rows = [["classes that mask each other most", "overlap"]]
    rows += [[" and ".join(p["classes"]), f"{p['overlap']:.2f}"] for p in listed]
    return [aligned(rows)]


def _groupings(results: Mapping[str, Any]) -> list[str]:
    steps = results["groupings"]
    if len(steps) < 2:
        return []
    rows = [["suggested grouping", "SI-SDR", "mark"]]
    last = steps[-1]
    for name, row in last["scores"].items():
        reached = row["si_sdr"] is not None and (
            row["si_sdr"] >= results["definition"]["mark"]
        )
        rows.append([name, cell(row["si_sdr"]), "yes" if reached else "no"])
    return [aligned(rows)]


def _clipped(results: Mapping[str, Any]) -> str:
    rows = [["clipped samples", "mixture", "stems", "songs"]]
    for name in PROCEDURES:
        row = results["clipped"][name]
        stems = sum(row["stems"].values())
        rows.append([name, str(row["mixture"]), str(stems), str(row["songs"])])
    return aligned(rows)
