"""Scores as pictures on a page: a chart of dots, and the plots that lie beside it."""

from pathlib import Path

from sepjax.evaluation.tables import title
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import decibels
from sepjax.report.html.pictures import Scale, class_color, data_uri, round_scale
from sepjax.report.run_folder import RunFolder, lookup, number, score, scored

PARTS = {"mixture": "Mixture", "model": "Model", "oracle": "Oracle"}
MOST_CURVES = 60  # tracks whose curves are on the page; all are among the plots
# On a phone a picture scrolls rather than shrinks beyond reading.
PICTURE = "display:block;width:100%;min-width:36rem;height:auto;"
PICTURE += "background:#fff;border-radius:.4rem;margin:.4rem 0"


def dot_chart(run: RunFolder) -> Markup:
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
        f"{name}: "
        + ", ".join(f"{p} {decibels(score(run, p, name, 'si_sdr'))}" for p in PARTS)
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
        element("span", swatch(run, name), class_="dot-name"),
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


def swatch(run: RunFolder, name: str) -> Markup:
    """A class with its color."""
    color = class_color(run.sources, name)
    return join([element("i", class_=f"swatch {color}"), name])


def boxes(run: RunFolder) -> Markup | None:
    """The picture of all metrics, if the run has one."""
    path = run.path / "plots" / "boxes.png"
    if not path.exists():
        return None
    caption = (
        "Each dot is a track, at its own median over windows where there are any; the "
        "line is the median over tracks, the diamond the mean, the box the middle "
        "half. The number beside a class counts its tracks."
    )
    image = _picture(path, "Scores of all tracks by class and metric")
    return element("figure", image, element("figcaption", caption))


def _picture(path: Path, text: str) -> Markup:
    uri = data_uri("image/png", path.read_bytes())
    image = element("img", src=uri, alt=text, style=PICTURE, loading="lazy")
    return element("div", image, class_="wide", tabindex=0)


def curves(run: RunFolder) -> Markup | None:
    """The pictures of SDR over time, folded away if there are many."""
    tracks = [title(track) for track in run.results.get("tracks", [])]
    files = {name: run.path / "plots" / "tracks" / f"{name}.png" for name in tracks}
    drawn = {name: path for name, path in files.items() if path.exists()}
    if not drawn:
        return None
    items = [
        element(
            "details",
            element("summary", f"{name}: SDR over time"),
            _picture(path, f"SDR over time of {name}"),
            open=len(drawn) <= 3,
        )
        for name, path in [*drawn.items()][:MOST_CURVES]
    ]
    more = len(drawn) - len(items)
    rest = f"The curves of {more} more tracks are in plots/tracks." if more else None
    note = "Lines are broken where something is silent and nothing was scored."
    return element("div", items, element("p", note, " ", rest, class_="fine"))
