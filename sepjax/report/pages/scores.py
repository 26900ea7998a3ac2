"""The scores of a run or of folders: pictures, tables, and what each number means."""

from collections.abc import Mapping
from typing import Any

from sepjax.evaluation.tables import (
    MISSING,
    head,
    measured,
    missing,
    shown_metrics,
    title,
    tracks_scored,
)
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import GAP, MINUS, decibels
from sepjax.report.html.parts import definitions, failures, folded
from sepjax.report.html.pictures import swatch
from sepjax.report.html.table import Cell, cell, table
from sepjax.report.pages.score_pictures import PARTS, boxes, curves, score_chart
from sepjax.report.run_folder import RunFolder, gain, lookup, number

EXPLAINED = ("improvement", "oracle", "aggregation", "silence", "split")
COLUMNS = ("mixture", "model", "improvement", "oracle")
BADGE = element("strong", "SEEN", class_="badge")


def scores_section(run: RunFolder) -> Markup:
    """Pictures, tables and definitions of all scores."""
    results = run.results
    tables = [_comparison(run, m) for m in shown_metrics(results) if run.scored(m)]
    failed, remarks = results.get("failed", ()), results.get("remarks")
    text = "Could not be scored, and counts in no number:"
    parts = [_seen_note(run), failures(failed, text)]
    if remarks:  # what had no partner, before any number
        items = element("ul", [element("li", remark) for remark in remarks])
        parts.append(folded(f"Without a partner ({len(remarks)})", items, opened=True))
    parts.append(score_chart(run) if run.scored("si_sdr") else None)
    parts.append(element("div", tables, class_="tables") if tables else None)
    parts += [_class_table(run), boxes(run), _definitions(results), _track_table(run)]
    return join([*parts, curves(run)])


def _seen_note(run: RunFolder) -> Markup | None:
    if seen := run.seen_tracks:
        text = f" {len(seen)} of the {len(run.results['tracks'])} scored tracks were "
        text += "trained on. Their scores measure memory as well as separation."
    elif unknown := run.results.get("seen_unknown"):
        text = f" or not is unknown: {unknown}."
    else:
        return None
    return element("p", BADGE, text, class_="seen-note")


def _comparison(run: RunFolder, metric: str) -> Markup:
    """One metric of mixture, model and oracle, and the model's gain."""
    rows = []
    for name in run.sources:
        rows_of = (lookup(run.results, part, name) or {} for part in PARTS)
        counts = [row.get(f"{metric}_tracks", row.get("tracks")) for row in rows_of]
        known = sorted({count for count in counts if count is not None})
        count = GAP.join(map(str, dict.fromkeys((*known[:1], *known[-1:])))) or GAP
        levels = [_level(part, run.score(part, name, metric)) for part in COLUMNS]
        rows.append([swatch(run.sources, name), *levels, cell(count, class_="quiet")])
    means = [_level(part, run.mean_score(part, metric)) for part in COLUMNS]
    foot = [f"Mean of {len(run.scored(metric))}", *means, None]
    names = ["Class", "Mixture", "Model", "Gain", "Oracle", "Tracks"]
    style = {"caption": head(run.results, metric), "class_": "scores"}
    return table(names, rows, foot=foot, **style, scroll=False)


def _level(part: str, value: float | None) -> Cell:
    text = decibels(value, signed=part == "improvement")
    return cell(text, class_=f"of-{part}" + " loss" * (MINUS in text))


def _class_table(run: RunFolder) -> Markup | None:
    """All metrics of the model, where windows were scored."""
    results = run.results
    classes = results.get("model", {})
    counts = {"windows", "windows_scored", "tracks"}
    if not classes or not all(counts <= {*row} for row in classes.values()):
        return None
    metrics, rows = shown_metrics(results), []
    for name, row in classes.items():
        first = cell(swatch(run.sources, name), style="white-space:nowrap")
        windows = f"{row['windows_scored']}/{row['windows']}"
        numbers = tracks_scored(results, row), windows
        quiet = [cell(number, class_="quiet") for number in numbers]
        rows.append([first, *(digits(row[metric]) for metric in metrics), *quiet])
    means = [digits(lookup(results, "mean", "model", metric)) for metric in metrics]
    heads = [head(results, metric) for metric in metrics]
    foot = ["Mean", *means, None, None] if len(rows) > 1 else ()
    names = ["Class", *heads, "Tracks", "Windows"]
    markup = table(names, rows, foot=foot, class_="scores")
    note = (
        "Windows: those that were scored, of all. Tracks: fewer count for scores of "
        "windows where none of a track's windows was scored. A dash: nothing to "
        "measure."
    )
    return join([markup, element("p", note, class_="fine")])


def digits(value: Any) -> str:
    """Format a stored number with two digits, as papers do; infinity by its sign.

    Example:
        >>> digits(5.678), digits("Infinity"), digits(None)
        ('5.68', '∞', '–')
    """
    return decibels(measured(value), 2)


def headline(results: Mapping[str, Any]) -> str:
    """The metric that the preset is known by."""
    shown = shown_metrics(results) or ["si_sdr"]
    return next((m for m in aggregations(results) if m in shown), shown[0])


def aggregations(results: Mapping[str, Any]) -> dict[str, str]:
    """How each metric is averaged, in words; older results say it of all at once."""
    how = lookup(results, "definition", "aggregation")
    return how if isinstance(how, dict) else {}


def _track_table(run: RunFolder) -> Markup | None:
    """Every class on every track: its gain over the mixture, or the first metric."""
    results = run.results
    tracks, gains = results.get("tracks", []), run.scored("si_sdr")
    if not tracks:
        return None
    if gains:
        names, metric, caption = gains, "", "Gain in SI-SDR over the mixture, dB"
    else:
        names, metric = list(results.get("model", {})), headline(results)
        how = aggregations(results).get(metric, "").partition(", then")[0]
        caption = head(results, metric) + f" ({how})" * ("window" in how)
    rows, notes = [], any(track.get("notes") for track in tracks)
    for track in tracks:
        cells = [_track_cell(track, name, metric) for name in names]
        text = cell("; ".join(track.get("notes", ())), class_="prose quiet")
        rows.append([_track_name(track), *cells, *[text] * notes])
    markup = table(["Track", *names, *["Notes"] * notes], rows, caption=caption)
    return folded(f"Every track ({len(tracks)})", markup, opened=not gains)


def _track_name(track: Mapping[str, Any]) -> Markup:
    if not track.get("seen"):
        return join([title(track)])
    why = track.get("seen_because")
    reason = [" ", element("small", why)] if why else None
    return join([title(track), " ", BADGE, reason])


def _track_cell(track: Mapping[str, Any], name: str, metric: str) -> Cell | str:
    if metric:
        return digits(lookup(track, "model", name, metric))
    parts = ("model", "mixture")
    levels = (number(lookup(track, part, name, "si_sdr")) for part in parts)
    return _level("improvement", gain(*levels))


def _definitions(results: Mapping[str, Any]) -> Markup:
    """The terms that a reader of the tables needs, and the rest folded away."""
    definition = dict(results.get("definition", {}))
    definition.pop("units", None)
    # A metric of somebody's own file is labelled in the results alone.
    labels = definition.pop("labels", {"si_sdr": "SI-SDR", "usdr": "uSDR"})
    if isinstance(how := definition.get("aggregation"), Mapping):
        definition["aggregation"] = {labels.get(k, k): text for k, text in how.items()}
    explained = [key for key in (*labels, *EXPLAINED) if key in definition]
    shown = {labels.get(key, key): definition.pop(key) for key in explained}
    note = "Tracks counts the songs in which the class sounds; only these are scored."
    if "mixture" in results:
        gains = "Gain is model minus mixture: what separating is worth. "
        note = f"{gains}The mean weighs classes equally. {note}"
    if few := missing(results):
        note += f" Fewer tracks count: {'; '.join(few)}. {MISSING}"
    parts = [element("p", note), definitions(shown) if shown else None]
    rest = folded("All conditions", definitions(definition)) if definition else None
    return element("div", parts, rest, class_="fine")
