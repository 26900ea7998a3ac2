"""Scores as pictures on a page: a chart of dots, and the plots that lie beside it."""

from pathlib import Path

from sepjax.evaluation.tables import file_title, title
from sepjax.report.html.dots import dot, dot_chart, dot_row, vertical
from sepjax.report.html.markup import Markup, element
from sepjax.report.html.numbers import decibels
from sepjax.report.html.parts import folded
from sepjax.report.html.pictures import Scale, data_uri, round_scale, swatch
from sepjax.report.run_folder import RunFolder, inside, lookup, number

PARTS = {"mixture": "Mixture", "model": "Model", "oracle": "Oracle"}
MOST_CURVES = 60  # tracks whose curves are on the page; all are among the plots
# On a phone a picture scrolls rather than shrinks beyond reading.
PICTURE = "display:block;width:100%;min-width:36rem;height:auto;"
PICTURE += "background:#fff;border-radius:.4rem;margin:.4rem 0"
KEYS = {
    **{"ring": "the mixture itself", "disc": "the model", "wall": "oracle"},
    "speck": "the model on single tracks",
}


def score_chart(run: RunFolder) -> Markup:
    """Rows of mixture -> model -> oracle on one common axis, a faint dot per track."""
    names = run.scored("si_sdr")
    levels = {name: [run.score(p, name, "si_sdr") for p in PARTS] for name in names}
    tracks = {name: _track_scores(run, name) for name in names}
    values = [value for name in names for value in levels[name] + tracks[name]]
    scale = round_scale([value for value in values if value is not None])
    rows = [_row(run, name, levels[name], tracks[name], scale) for name in names]
    texts = []
    for name in names:
        pairs = zip(PARTS, map(decibels, levels[name]))
        texts.append(f"{name}: " + ", ".join(map(" ".join, pairs)))
    caption = ["SI-SDR of each class; at the right the gain over the mixture. "]
    for mark, text in KEYS.items():
        key = element("i", class_=f"key-{mark}")
        caption.append(element("span", key, text, class_="key"))
    label = "Chart of SI-SDR in dB. " + "; ".join(texts)
    return dot_chart(rows, scale, label, caption)


def _row(
    run: RunFolder, name: str, levels: list, tracks: list[float], scale: Scale
) -> Markup:
    mixture, model, oracle = levels
    ends = {"x1": scale.percent(mixture), "x2": scale.percent(model)}
    marks = [dot(scale, value, 31, 2.5, "speck") for value in tracks]
    marks.append(element("line", class_="gain", y1=16, y2=16, **ends))
    if oracle is not None:
        marks.append(vertical(scale, oracle, 6, 26, "wall"))
    marks += [dot(scale, mixture, 16, 5, "ring"), dot(scale, model, 16, 7, "disc")]
    gain = decibels(run.score("improvement", name, "si_sdr"), signed=True)
    return dot_row(swatch(run.sources, name), marks, gain, scale, 40)


def _track_scores(run: RunFolder, name: str) -> list[float]:
    tracks = run.results.get("tracks", [])
    values = [number(lookup(track, "model", name, "si_sdr")) for track in tracks]
    return [value for value in values if value is not None] if len(values) > 1 else []


def boxes(run: RunFolder) -> Markup | None:
    """The picture of all metrics, if the run has one."""
    path = inside(run.path, "plots/boxes.svg")
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
    uri = data_uri("image/svg+xml", path.read_bytes())
    image = element("img", src=uri, alt=text, style=PICTURE, loading="lazy")
    return element("div", image, class_="wide", tabindex=0)


def curves(run: RunFolder) -> Markup | None:
    """The pictures of SDR over time, folded away if there are many."""
    files = {
        title(track): inside(run.path, f"plots/tracks/{file_title(track)}.svg")
        for track in run.results.get("tracks", [])
    }
    drawn = {name: path for name, path in files.items() if path.exists()}
    if not drawn:
        return None
    items = []
    for name, path in [*drawn.items()][:MOST_CURVES]:
        picture = _picture(path, f"SDR over time of {name}")
        opened = len(drawn) <= 3
        items.append(folded(f"{name}: SDR over time", picture, opened=opened))
    more = len(drawn) - len(items)
    rest = f"The curves of {more} more tracks are in plots/tracks." if more else None
    note = "Lines are broken where something is silent and nothing was scored."
    return element("div", items, element("p", note, " ", rest, class_="fine"))
