"""The scores as a picture, as tables, and what each number means."""

import statistics
from typing import Any

from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import MINUS, decibels
from sepjax.report.html.pictures import Scale, class_color, round_scale
from sepjax.report.run_folder import RunFolder, lookup, number

METRICS = {"si_sdr": "SI-SDR", "usdr": "uSDR"}
EXPLAINED = (*METRICS, "improvement", "oracle", "aggregation", "silence", "split")
PARTS = {"mixture": "Mixture", "model": "Model", "oracle": "Oracle"}


def score(run: RunFolder, part: str, name: str, metric: str) -> float | None:
    """A number of results.json; the improvement is derived where it is not given."""
    value = number(lookup(run.results, part, name, metric))
    if part == "improvement" and value is None:
        model, mixture = (score(run, p, name, metric) for p in ("model", "mixture"))
        return None if None in (model, mixture) else model - mixture
    return value


def mean_score(run: RunFolder, part: str, metric: str) -> float | None:
    """Unweighted mean over the classes that mixture and model both have."""
    values = [score(run, part, name, metric) for name in scored(run, metric)]
    return statistics.fmean(values) if values and None not in values else None


def scored(run: RunFolder, metric: str) -> list[str]:
    """Classes with a score of both mixture and model."""
    wanted = ("mixture", "model")
    return [
        name
        for name in run.sources
        if all(score(run, part, name, metric) is not None for part in wanted)
    ]


def seen_tracks(run: RunFolder) -> list[str]:
    """Scored tracks that were trained on."""
    tracks = run.results.get("tracks", [])
    return [str(track.get("name")) for track in tracks if track.get("seen")]


def scores_section(run: RunFolder) -> Markup:
    """Picture, tables and definitions of all scores."""
    metrics = [metric for metric in METRICS if scored(run, metric)]
    return join(
        [
            _seen_note(run),
            _failed_note(run),
            _dot_chart(run),
            element(
                "div", [_table(run, metric) for metric in metrics], class_="tables"
            ),
            _definitions(run),
            _track_table(run),
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


# --- the picture -----------------------------------------------------------------


def _dot_chart(run: RunFolder) -> Markup:
    """Rows of mixture -> model -> oracle on one common axis, a faint dot per track."""
    names = scored(run, "si_sdr")
    values = [score(run, p, name, "si_sdr") for p in PARTS for name in names]
    values += [value for name in names for value in _track_scores(run, name)]
    scale = round_scale([value for value in values if value is not None])
    rows = [_dot_row(run, name, scale) for name in names]
    labels = [
        element("span", decibels(tick, 0), style=f"left:{scale.percent(tick)}")
        for tick in scale.ticks
    ]
    axis = element("div", labels, element("i", "dB"), class_="dot-axis")
    caption = element(
        "figcaption",
        "SI-SDR of each class; at the right the gain over the mixture. ",
        _key("ring", "the mixture itself"),
        _key("disc", "the model"),
        _key("wall", "oracle"),
        _key("speck", "the model on single tracks"),
    )
    described = element("div", rows, axis, class_="dots", role="img", **_label(run))
    return element("figure", described, caption, class_="dot-chart")


def _label(run: RunFolder) -> dict[str, str]:
    parts = [
        f"{name}: mixture {decibels(score(run, 'mixture', name, 'si_sdr'))}, "
        f"model {decibels(score(run, 'model', name, 'si_sdr'))}, "
        f"oracle {decibels(score(run, 'oracle', name, 'si_sdr'))}"
        for name in scored(run, "si_sdr")
    ]
    return {"aria_label": "Chart of SI-SDR in dB. " + "; ".join(parts)}


def _dot_row(run: RunFolder, name: str, scale: Scale) -> Markup:
    mixture, model, oracle = (score(run, p, name, "si_sdr") for p in PARTS)
    start, end = scale.percent(mixture), scale.percent(model)
    marks = [
        element("line", x1=scale.percent(t), x2=scale.percent(t), y1=0, y2=40)
        for t in scale.ticks
    ]
    marks += [
        element("circle", class_="speck", cx=scale.percent(value), cy=31, r=2.5)
        for value in _track_scores(run, name)
    ]
    marks.append(element("line", class_="gain", x1=start, x2=end, y1=16, y2=16))
    if oracle is not None:
        place = scale.percent(oracle)
        marks.append(element("line", class_="wall", x1=place, x2=place, y1=6, y2=26))
    marks.append(element("circle", class_="ring", cx=start, cy=16, r=5))
    marks.append(element("circle", class_="disc", cx=end, cy=16, r=7))
    gain = decibels(score(run, "improvement", name, "si_sdr"), signed=True)
    return element(
        "div",
        element("span", _swatch(run, name), class_="dot-name"),
        element("svg", marks, height=40),
        element("span", gain, class_="dot-gain"),
        class_="dot-row",
    )


def _track_scores(run: RunFolder, name: str) -> list[float]:
    tracks = run.results.get("tracks", [])
    values = [number(lookup(track, "model", name, "si_sdr")) for track in tracks]
    return [value for value in values if value is not None] if len(values) > 1 else []


def _key(mark: str, text: str) -> Markup:
    return element("span", element("i", class_=f"key-{mark}"), text, class_="key")


def _swatch(run: RunFolder, name: str) -> Markup:
    color = class_color(run.sources, name)
    return join([element("i", class_=f"swatch {color}"), name])


# --- the tables ------------------------------------------------------------------


def _table(run: RunFolder, metric: str) -> Markup:
    columns = ["mixture", "model", "improvement", "oracle"]
    heads = ["Mixture", "Model", "Gain", "Oracle"]
    head = [element("th", text, scope="col") for text in ("Class", *heads, "Tracks")]
    rows = [_row(run, name, metric, columns) for name in run.sources]
    means = [mean_score(run, part, metric) for part in columns]
    foot = element(
        "tr",
        element("th", f"Mean of {len(scored(run, metric))}", scope="row"),
        [_cell(part, value) for part, value in zip(columns, means)],
        element("td"),
    )
    return element(
        "table",
        element("caption", f"{METRICS[metric]}, dB"),
        element("thead", element("tr", head)),
        element("tbody", rows),
        element("tfoot", foot),
        class_="scores",
    )


def _row(run: RunFolder, name: str, metric: str, columns: list[str]) -> Markup:
    counts = (lookup(run.results, part, name, "tracks") for part in PARTS)
    count = next((count for count in counts if count is not None), "\N{EN DASH}")
    return element(
        "tr",
        element("th", _swatch(run, name), scope="row"),
        [_cell(part, score(run, part, name, metric)) for part in columns],
        element("td", count, class_="quiet"),
    )


def _cell(part: str, value: float | None) -> Markup:
    text = decibels(value, signed=part == "improvement")
    return element("td", text, class_=f"of-{part}" + (" loss" * (MINUS in text)))


def _definitions(run: RunFolder) -> Markup:
    """The terms that a reader of the tables needs, and the rest folded away."""
    definition = run.results.get("definition", {})
    shown = {key: definition[key] for key in EXPLAINED if key in definition}
    rest = {key: value for key, value in definition.items() if key not in shown}
    note = element(
        "p",
        "Gain is model minus mixture: what separating is worth. The mean weighs "
        "classes equally. Tracks counts the songs in which the class sounds; only "
        "these are scored.",
    )
    return element(
        "div",
        note,
        _terms(shown) if shown else None,
        element("details", element("summary", "All conditions"), _terms(rest))
        if rest
        else None,
        class_="fine",
    )


def _terms(terms: dict[str, Any]) -> Markup:
    items = [
        element("div", element("dt", _words(key)), element("dd", spell(value)))
        for key, value in terms.items()
    ]
    return element("dl", items, class_="definitions")


def _words(key: Any) -> str:
    return METRICS.get(str(key), str(key).replace("_", " "))


def spell(value: Any) -> str:
    """Any JSON value in words.

    Example:
        >>> spell({"split": "test", "sources": ["vocals", "bass"], "n_fft": 512})
        'split: test; sources: vocals, bass; n fft: 512'
    """
    if isinstance(value, dict):
        parts = (f"{_words(key)}: {spell(part)}" for key, part in value.items())
        return "; ".join(parts)
    if isinstance(value, list):
        return ", ".join(spell(part) for part in value)
    return str(value)


def _track_table(run: RunFolder) -> Markup | None:
    """Improvement of every class on every track, folded away."""
    tracks, names = run.results.get("tracks", []), scored(run, "si_sdr")
    if not tracks:
        return None
    head = [element("th", text, scope="col") for text in ("Track", *names)]
    table = element(
        "table",
        element("caption", "Gain in SI-SDR over the mixture, dB"),
        element("thead", element("tr", head)),
        element("tbody", [_track_row(track, names) for track in tracks]),
    )
    return element(
        "details",
        element("summary", f"Every track ({len(tracks)})"),
        element("div", table, class_="wide", tabindex=0),
    )


def _track_row(track: dict[str, Any], names: list[str]) -> Markup:
    why = track.get("seen_because")
    badge = [element("strong", "SEEN", class_="badge")] if track.get("seen") else []
    badge += [" ", element("small", why)] if badge and why else []
    cells = []
    for name in names:
        pair = [number(lookup(track, p, name, "si_sdr")) for p in ("model", "mixture")]
        cells.append(None if None in pair else pair[0] - pair[1])
    return element(
        "tr",
        element("th", track.get("name"), " ", badge, scope="row"),
        [_cell("improvement", value) for value in cells],
    )
