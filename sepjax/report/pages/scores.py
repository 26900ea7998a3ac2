"""The scores of a run or of folders: pictures, tables, and what each number means."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sepjax.evaluation.tables import (
    in_unit,
    label,
    measured,
    shown_metrics,
    title,
    tracks_scored,
)
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import MINUS, decibels
from sepjax.report.pages.score_pictures import PARTS, boxes, curves, dot_chart, swatch
from sepjax.report.run_folder import (
    RunFolder,
    lookup,
    mean_score,
    number,
    score,
    scored,
    seen_tracks,
)

EXPLAINED = ("improvement", "oracle", "aggregation", "silence", "split")
COLUMNS = ("mixture", "model", "improvement", "oracle")
GAP = "\N{EN DASH}"


def scores_section(run: RunFolder) -> Markup:
    """Pictures, tables and definitions of all scores."""
    compared = [metric for metric in shown_metrics(run.results) if scored(run, metric)]
    tables = [_comparison(run, metric) for metric in compared]
    return join(
        [
            _seen_note(run),
            _failed_note(run),
            _remarks(run),
            dot_chart(run) if scored(run, "si_sdr") else None,
            element("div", tables, class_="tables") if tables else None,
            _class_table(run),
            boxes(run),
            _definitions(run),
            _track_table(run),
            curves(run),
        ]
    )


def _seen_note(run: RunFolder) -> Markup | None:
    seen, unknown = seen_tracks(run), run.results.get("seen_unknown")
    badge = element("strong", "SEEN", class_="badge")
    if unknown and not seen:
        text = f" or not is unknown: {unknown}."
        return element("p", badge, text, class_="seen-note")
    if not seen:
        return None
    text = (
        f" {len(seen)} of the {len(run.results['tracks'])} scored tracks were trained "
        "on. Their scores measure memory as well as separation."
    )
    return element("p", badge, text, class_="seen-note")


def _failed_note(run: RunFolder) -> Markup | None:
    failed = run.results.get("failed")
    if not failed:
        return None
    items = [
        element("li", element("b", track.get("name")), f": {track.get('error')}")
        for track in failed
    ]
    lead = element("p", "Could not be scored, and counts in no number:")
    return element("div", lead, element("ul", items), class_="seen-note")


def _remarks(run: RunFolder) -> Markup | None:
    """What had no partner, before any number."""
    remarks = run.results.get("remarks")
    if not remarks:
        return None
    lead = element("summary", f"Without a partner ({len(remarks)})")
    items = element("ul", [element("li", remark) for remark in remarks])
    return element("details", lead, items, open=True)


# --- the tables ------------------------------------------------------------------


def _table(
    caption: Any, heads: Sequence[str], rows: Any, foot: Any = None, **kind: Any
) -> Markup:
    head = [element("th", text, scope="col") for text in heads]
    table = element(
        "table",
        element("caption", caption) if caption else None,
        element("thead", element("tr", head)),
        element("tbody", rows),
        element("tfoot", foot) if foot else None,
        **kind,
    )
    return table if kind.get("class_") == "scores" and caption else _wide(table)


def _wide(table: Markup) -> Markup:
    return element("div", table, class_="wide", tabindex=0)


def _comparison(run: RunFolder, metric: str) -> Markup:
    """One metric of mixture, model and oracle, and the model's gain."""
    rows = [_comparison_row(run, name, metric) for name in run.sources]
    means = [mean_score(run, part, metric) for part in COLUMNS]
    foot = element(
        "tr",
        element("th", f"Mean of {len(scored(run, metric))}", scope="row"),
        [_level(part, value) for part, value in zip(COLUMNS, means)],
        element("td"),
    )
    caption = f"{label(run.results, metric)}{in_unit(run.results, metric, ', ')}"
    heads = ("Class", "Mixture", "Model", "Gain", "Oracle", "Tracks")
    return _table(caption, heads, rows, foot, class_="scores")


def _comparison_row(run: RunFolder, name: str, metric: str) -> Markup:
    counts = (lookup(run.results, part, name, "tracks") for part in PARTS)
    count = next((count for count in counts if count is not None), GAP)
    return element(
        "tr",
        element("th", swatch(run, name), scope="row"),
        [_level(part, score(run, part, name, metric)) for part in COLUMNS],
        element("td", count, class_="quiet"),
    )


def _level(part: str, value: float | None) -> Markup:
    text = decibels(value, signed=part == "improvement")
    return element("td", text, class_=f"of-{part}" + (" loss" * (MINUS in text)))


def _class_table(run: RunFolder) -> Markup | None:
    """All metrics of the model, where windows were scored."""
    results = run.results
    classes = results.get("model", {})
    if not classes or "windows" not in next(iter(classes.values())):
        return None
    metrics = shown_metrics(results)
    heads = [f"{label(results, m)}{in_unit(results, m, ', ')}" for m in metrics]
    rows = [
        element(
            "tr",
            element("th", swatch(run, name), scope="row", style="white-space:nowrap"),
            [_cell(row[metric]) for metric in metrics],
            element("td", tracks_scored(results, row), class_="quiet"),
            element("td", f"{row['windows_scored']}/{row['windows']}", class_="quiet"),
        )
        for name, row in classes.items()
    ]
    means = [_cell(results["mean"]["model"].get(metric)) for metric in metrics]
    foot = element("tr", element("th", "Mean", scope="row"), means, [element("td")] * 2)
    table = _table(
        None,
        ("Class", *heads, "Tracks", "Windows"),
        rows,
        foot if len(rows) > 1 else None,
        class_="scores",
    )
    note = (
        "Windows: those that were scored, of all. Tracks: fewer count for scores of "
        "windows where none of a track's windows was scored. A dash: nothing to "
        "measure."
    )
    return join([table, element("p", note, class_="fine")])


def _cell(value: Any) -> Markup:
    return element("td", number_text(value))


def number_text(value: Any) -> str:
    """Two digits, as papers give them; infinity by its sign.

    Example:
        >>> number_text(5.678), number_text("Infinity"), number_text(None)
        ('5.68', '∞', '–')
    """
    value = measured(value)
    if math.isinf(value):
        return (MINUS if value < 0 else "") + "\N{INFINITY}"
    return GAP if math.isnan(value) else decibels(value, 2)


def headline(results: Mapping[str, Any]) -> str:
    """The metric that the preset is known by."""
    return next(iter(results["definition"]["aggregation"]))


def _track_table(run: RunFolder) -> Markup | None:
    """Every class on every track: its gain over the mixture, or the first metric."""
    tracks, names = run.results.get("tracks", []), list(run.results.get("model", {}))
    gains = scored(run, "si_sdr")
    if not tracks:
        return None
    if gains:
        names, caption = gains, "Gain in SI-SDR over the mixture, dB"
    else:
        metric = headline(run.results)
        how = run.results["definition"]["aggregation"][metric].partition(", then")[0]
        caption = f"{label(run.results, metric)}{in_unit(run.results, metric, ', ')}"
        caption += f" ({how})" if "window" in how else ""
    notes = any(track.get("notes") for track in tracks)
    rows = [_track_row(run, track, names, bool(gains), notes) for track in tracks]
    table = _table(caption, ("Track", *names, *(["Notes"] * notes)), rows)
    lead = element("summary", f"Every track ({len(tracks)})")
    return element("details", lead, table, open=not gains)


def _track_row(
    run: RunFolder, track: dict[str, Any], names: Sequence[str], gain: bool, notes: bool
) -> Markup:
    why = track.get("seen_because")
    badge = [element("strong", "SEEN", class_="badge")] if track.get("seen") else []
    badge += [" ", element("small", why)] if badge and why else []
    cells = []
    for name in names:
        if gain:
            both = (number(lookup(track, p, name, "si_sdr")) for p in COLUMNS[:2])
            mixture, model = both
            value = None if None in (model, mixture) else model - mixture
            cells.append(_level("improvement", value))
        else:
            cells.append(_cell(lookup(track, "model", name, headline(run.results))))
    style = "white-space:normal;text-align:left;min-width:12rem"
    text = "; ".join(track.get("notes", ()))
    return element(
        "tr",
        element("th", title(track), " ", badge, scope="row"),
        cells,
        element("td", text, class_="quiet", style=style) if notes else None,
    )


# --- the definitions -------------------------------------------------------------


def _definitions(run: RunFolder) -> Markup:
    """The terms that a reader of the tables needs, and the rest folded away."""
    definition = run.results.get("definition", {})
    labels = definition.get("labels", {"si_sdr": "SI-SDR", "usdr": "uSDR"})
    skipped = ("labels", "units")
    shown = {key: definition[key] for key in (*labels, *EXPLAINED) if key in definition}
    rest = {
        key: value
        for key, value in definition.items()
        if key not in shown and key not in skipped
    }
    note = "Tracks counts the songs in which the class sounds; only these are scored."
    if "mixture" in run.results:
        note = (
            "Gain is model minus mixture: what separating is worth. The mean weighs "
            f"classes equally. {note}"
        )
    return element(
        "div",
        element("p", note),
        _terms(shown, labels) if shown else None,
        element("details", element("summary", "All conditions"), _terms(rest, labels))
        if rest
        else None,
        class_="fine",
    )


def _terms(terms: dict[str, Any], labels: Mapping[str, str]) -> Markup:
    items = [
        element(
            "div",
            element("dt", _words(key, labels)),
            element("dd", spell(value, labels)),
        )
        for key, value in terms.items()
        if value not in ({}, None)
    ]
    return element("dl", items, class_="definitions")


def _words(key: Any, labels: Mapping[str, str]) -> str:
    return labels.get(key, str(key).replace("_", " "))


def spell(value: Any, labels: Mapping[str, str] = {}) -> str:
    """Any JSON value in words.

    Example:
        >>> spell({"split": "test", "sources": ["vocals", "bass"], "n_fft": 512})
        'split: test; sources: vocals, bass; n fft: 512'
    """
    if isinstance(value, dict):
        parts = (f"{_words(k, labels)}: {spell(v, labels)}" for k, v in value.items())
        return "; ".join(parts)
    if isinstance(value, list):
        return ", ".join(spell(part, labels) for part in value)
    return str(value)
