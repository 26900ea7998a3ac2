"""Results as text for the terminal, of a run and of folders alike."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sepjax.registry import aligned

LEAKAGE = "leakage_dbfs"
COLUMNS = ("model", "mixture", "oracle", "improvement")
MOST_NOTES = 20


def summary(results: Mapping[str, Any]) -> str:
    """Describe the data, show the tables, explain each column and list the caveats."""
    tracks = results["tracks"]
    lines = [f"note: {remark}" for remark in results.get("remarks", ())]
    lines += [f"note: {title(t)}: {note}" for t in tracks for note in t["notes"]]
    if len(lines) > MOST_NOTES:
        more = f"... and {len(lines) - MOST_NOTES} more notes (results.json)"
        lines = [*lines[:MOST_NOTES], more]
    if "mixture" in results:
        metrics = shown_metrics(results)
        metric = "si_sdr" if "si_sdr" in metrics else metrics[0]
        how = results["definition"]["aggregation"][metric]
        count = f"{len(tracks)} track{'s' * (len(tracks) != 1)}"
        where = f"(split {results['definition']['split']}, {count})"
        lines += ["", f"{head(results, metric, ' in ')}, {how} {where}"]
        lines.append(comparison(results, metric))
    if tracks:
        lines += ["", table(results), "", *_captions(results)]
    if "clean" in results:
        means = results["clean"]["mean"]
        names = {"model": "model", "mixture": "mixture", "recorded": "recorded stems"}
        each = [f"{text} {cell(means[c].get('si_sdr'))}" for c, text in names.items()]
        lines.append(f"SI-SDR against what was played: {', '.join(each)}")
    why = {t["name"]: t.get("seen_because") for t in tracks if t.get("seen")}
    if marked := [f"{name} ({text})" if text else name for name, text in why.items()]:
        lines.append(f"SEEN in training ({len(marked)}): {', '.join(marked)}")
    if unknown := results.get("seen_unknown"):
        lines.append(f"SEEN or not is unknown: {unknown}")
    lines += [f"FAILED {item['name']}: {item['error']}" for item in results["failed"]]
    if failed := len(results["failed"]):
        total = len(tracks) + failed
        lines.append(f"{failed} of {total} tracks failed and count in no number")
    return "\n".join(lines).lstrip("\n")


def comparison(results: Mapping[str, Any], metric: str) -> str:
    """One metric of the model beside mixture and oracle, by class; last their mean."""
    rows, means = [("class", *COLUMNS, "tracks")], results["mean"]
    for name, scores in [*results["model"].items(), ("mean", {"tracks": ""})]:
        of_class = {c: results.get(c, {}).get(name, {}) for c in COLUMNS}
        values = means if name == "mean" else of_class
        *levels, gain = (measured(values.get(c, {}).get(metric)) for c in COLUMNS)
        signed = "-" if math.isnan(gain) else f"{gain:+.2f}"
        rows.append((name, *map(cell, levels), signed, scores.get("tracks", "")))
    return aligned(rows)


def table(results: Mapping[str, Any]) -> str:
    """All metrics of the model, a line for each class, the last one their mean."""
    metrics = shown_metrics(results)
    heads = [label(results, m) + in_unit(results, m) * (m == LEAKAGE) for m in metrics]
    rows = [["class", *heads, "tracks", "windows"]]
    for name, row in results["model"].items():
        windows = f"{row['windows_scored']}/{row['windows']}"
        cells = [cell(row[metric]) for metric in metrics]
        rows.append([name, *cells, tracks_scored(results, row), windows])
    if len(results["model"]) > 1:
        means = results["mean"]["model"]
        rows.append(["mean", *(cell(means.get(m)) for m in metrics), "", ""])
    return aligned(rows)


def markdown(
    head: Sequence[Any], rows: Iterable[Sequence[Any]], *, left: int = 1
) -> str:
    r"""A table in Markdown: numbers at the right but for the first ``left`` columns.

    Example:
        >>> print(markdown(["run", "dB"], [["a|b", 1.5]]))
        | run | dB |
        | --- | ---: |
        | a\|b | 1.5 |
    """
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    lines = ([_plain(str(cell)) for cell in line] for line in (head, rule, *rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """A text in a cell of Markdown."""
    return " ".join(text.split()).replace("|", "\\|")


def measured(value: Any) -> float:
    """Return a number of results, fresh or stored; NaN where nothing was measured.

    Example:
        >>> measured(None), measured("-Infinity"), measured(1.5)
        (nan, -inf, 1.5)
    """
    return math.nan if value is None else float(value)


def scores_of(
    results: Mapping[str, Any], column: str, metric: str = "si_sdr"
) -> dict[str, float]:
    """Class -> value of a column, and ``"mean"``; NaN for no score, empty for none."""
    means = results["mean"].get(column, {})
    if metric not in means:
        return {}
    table = {**results.get(column, {}), "mean": means}
    return {name: measured(row.get(metric)) for name, row in table.items()}


def label(results: Mapping[str, Any], metric: str) -> str:
    """Name a metric for display, from the results alone.

    Example:
        >>> label({"definition": {"labels": {"usdr": "uSDR"}}}, "usdr")
        'uSDR'
        >>> label({}, "si_sdr")
        'SI-SDR'
    """
    labels = results.get("definition", {}).get("labels", {})
    return labels.get(metric, metric.upper().replace("_", "-"))


def in_unit(results: Mapping[str, Any], metric: str, lead: str = " ") -> str:
    """Return the unit after a lead, and nothing for a metric without a unit."""
    unit = results.get("definition", {}).get("units", {}).get(metric, "dB")
    return f"{lead}{unit}" if unit else ""


def head(results: Mapping[str, Any], metric: str, lead: str = ", ") -> str:
    """Return the head of a column: label and unit of a metric."""
    return label(results, metric) + in_unit(results, metric, lead)


def title(track: Mapping[str, Any]) -> str:
    """Subset and name of a track.

    Example:
        >>> title({"name": "song", "subset": "test"}), title({"name": "song"})
        ('test/song', 'song')
    """
    subset = track.get("subset")
    return f"{subset}/{track['name']}" if subset else str(track.get("name"))


def file_title(track: Mapping[str, Any]) -> str:
    """The title as a path below a folder, which it never leads out of.

    Example:
        >>> file_title({"name": "../song", "subset": "test"})
        'test/_._song'
    """
    parts = [str(track[key]) for key in ("subset", "name") if track.get(key)]
    names = [re.sub(r"^\.|[/\\\x00-\x1f]", "_", part)[:200] for part in parts]
    return "/".join(names) or "_"


def shown_metrics(results: Mapping[str, Any]) -> list[str]:
    """Metrics with a column: leakage only where something was silent."""
    rows = results.get("model", {}).values()
    aggregation = results.get("definition", {}).get("aggregation", {})
    if not isinstance(aggregation, Mapping):  # of older results
        aggregation = dict.fromkeys(("si_sdr", "usdr"))
    shown = [m for m in aggregation if m != "mean" and all(m in row for row in rows)]
    if not any(measured(row.get(LEAKAGE)) > -math.inf for row in rows):
        shown = [metric for metric in shown if metric != LEAKAGE]
    return shown


def tracks_scored(results: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Count the tracks of a class; a range where metrics differ in that number.

    A track all of whose windows hold something silent has an SI-SDR, but no SDR.

    Example:
        >>> row = {"sdr": 1.0, "sdr_tracks": 4, "usdr": 1.2, "usdr_tracks": 5}
        >>> tracks_scored({"model": {"bass": row}, "definition": {"aggregation": {
        ...     "sdr": "", "usdr": ""}}}, row | {"tracks": 5})
        '4-5'
    """
    # With a single class nothing can interfere: a SIR that is nowhere does not count.
    without = (LEAKAGE, *[m for m in ("sir",) if not row.get(f"{m}_tracks")])
    metrics = [m for m in shown_metrics(results) if m not in without]
    most = row.get("tracks", 0)
    counts = [min(row.get(f"{m}_tracks", most), most) for m in metrics or ["sir"]]
    return "-".join(map(str, sorted({min(counts), max(counts)})))


def missing(results: Mapping[str, Any]) -> list[str]:
    """Say which scores count in fewer tracks than their class sounds in.

    Example:
        >>> oracle = {"bass": {"si_sdr": 9.0, "si_sdr_tracks": 2, "tracks": 2}}
        >>> model = {"bass": {"si_sdr": 5.0, "tracks": 3}}
        >>> about = {"aggregation": {"si_sdr": "mean"}}
        >>> missing({"definition": about, "model": model, "oracle": oracle})
        ['oracle SI-SDR: bass in 2 of 3']
    """
    scores: dict[str, list[str]] = {}  # classes with their numbers -> names of scores
    for column, metric in itertools.product(COLUMNS[:3], shown_metrics(results)):
        few = []
        for name, row in results.get(column, {}).items():
            total = results["model"].get(name, row).get("tracks", 0)
            count = row.get(f"{metric}_tracks", total)
            if count < total and metric != LEAKAGE:
                few.append(f"{name} in {count} of {total}")
        lead = f"{column} " * (column != "model")
        scores.setdefault(", ".join(few), []).append(lead + label(results, metric))
    return [f"{', '.join(names)}: {few}" for few, names in scores.items() if few]


MISSING = (
    "In the others nothing was measured: all its windows hold something silent, or the "
    "class sounds alone, and what is left to measure is the rounding of samples."
)


def cell(value: Any) -> str:
    """Two digits, or a dash where nothing was measured.

    Example:
        >>> cell(3.14159), cell(None)
        ('3.14', '-')
    """
    number = measured(value)
    return "-" if math.isnan(number) else f"{number:.2f}"


def _captions(results: Mapping[str, Any]) -> Iterator[str]:
    """Columns of one kind of average on one line, with what they are."""
    definition = results["definition"]
    alike: dict[tuple[str, str], list[str]] = {}
    for metric in shown_metrics(results):
        kind = in_unit(results, metric, " in "), definition["aggregation"][metric]
        alike.setdefault(kind, []).append(label(results, metric))
    for (unit, how), labels in alike.items():
        yield f"{', '.join(labels)}{unit}: {how}"
    count, split = len(results["tracks"]), definition["split"]
    subsets = "" if split == "all" else f", {split}"
    yield (
        f"{count} track{'s' * (count != 1)}{subsets}; silence: "
        f"{definition['silence'].partition(':')[0]}; windows: scored of all"
    )
    if few := missing(results):
        yield f"fewer tracks count: {'; '.join(few)}. {MISSING}"
    rows = results["model"].values()
    share = min((r["windows_scored"] / max(r["windows"], 1) for r in rows), default=1)
    if share < 0.5 and not definition["silence"].startswith("source"):
        yield (
            "A window in which any class is silent counts for none of them, as in "
            "museval; --silence source scores each class by itself."
        )
