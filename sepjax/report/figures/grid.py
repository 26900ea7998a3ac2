"""The figures of the thesis' chapter 5, drawn from runs: curves of validation.

One panel for each class, one color for each row of the thesis, a band of one deviation
where a row was run with several seeds. Every figure is a PNG, an SVG and a page with
the numbers; its caption says what the curves are made of and which rows are missing.
"""

import functools
import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepjax.report.figures.comparison import Line, by_setting, read_lines, setting
from sepjax.report.html.document import Section, page, write_document
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import with_spread
from sepjax.report.html.pictures import data_uri
from sepjax.report.html.table import table
from sepjax.storage import write_atomically

# Okabe and Ito's colors, those of page.css on white paper.
COLORS = "#0072b2 #d55e00 #00855f #b4569a #b07d00 #3d92c9 #7a5230 #6b6b6b".split()
WIDTH = 9.0  # inches
PANEL = 2.35  # height of a panel, inches
LINE = 0.19  # height of a line of text, inches
GAP = 0.5  # between rows of panels, inches
LEFT = 0.065  # margin, of the width
FORMATS = (".html", ".png", ".svg")
INK, QUIET, RULE = "#23211f", "#6a655f", "#ddd8d0"


def write_figure(
    runs: Sequence[Path],
    output: Path,
    *,
    title: str,
    rows: Mapping[str, str] | None = None,
    by_data: bool = False,
) -> tuple[list[Path], str]:
    """Draw the validation curves of runs.

    Args:
        runs: run folders, folders of the seeds of a run, or folders of such folders.
        output: file; its suffix (.html, .png, .svg) says what else is left out. Without
            a suffix all three are written.
        title: of the figure.
        rows: configuration names that belong in it -> how certain that is; the rows
            that no run is of are named in the caption.
        by_data: a block of panels for each kind of data; otherwise runs of different
            data are refused.

    Returns:
        The files, and the caption.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no runs, or runs that cannot be compared.
    """
    rows = rows or {}
    lines = read_lines(runs, rows)
    blocks = by_setting(lines, several=by_data)
    text = caption(blocks, rows)
    sections = [Section("Best evaluations", _table(lines))]
    return save(output, title, text, _draw(blocks, rows), sections), text


def save(
    output: Path, title: str, text: str, draw: Any, sections: Sequence[Section] = ()
) -> list[Path]:
    """Save a figure in the formats that a file name asks for.

    ``draw(title, caption)`` makes the matplotlib figure, and either may be "". The
    sections stand beneath the picture of the page.
    """
    from matplotlib import rc_context

    files = [output.with_name(output.name + suffix) for suffix in FORMATS]
    if output.suffix in FORMATS:
        files = [output]
    with rc_context({"text.parse_math": False}):  # names are no formulas
        for path in files:
            if path.suffix == ".html":
                write_document(_page(title, text, draw, sections), path)
            else:
                write_atomically(path, _render(draw(title, text), path.suffix[1:]))
    return files


def _render(figure: Any, kind: str) -> bytes:
    """Bytes of a PNG or SVG file; the same every time."""
    from matplotlib import rc_context

    content = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    with rc_context({"svg.hashsalt": "sepjax"}):
        figure.savefig(content, format=kind, dpi=160, metadata=metadata)
    return content.getvalue()


def _page(title: str, text: str, draw: Any, sections: Sequence[Section]) -> Markup:
    drawing = data_uri("image/svg+xml", _render(draw("", ""), "svg"))
    style = "width:100%;background:#fff;margin:1rem 0"
    image = element("img", src=drawing, alt=text, style=style)
    caption = element("figcaption", text, style="max-width:none")
    figure = element("figure", image, caption)
    return page("figure", title, figure, sections)


def caption(blocks: Sequence[Sequence[Line]], rows: Mapping) -> str:
    """Caption of a figure: its curves, runs and data, and the rows that are missing."""
    lines = [line for block in blocks for line in block]
    across = "training chunks heard" if _batches_differ(lines) else "optimizer steps"
    parts = ["SI-SDR of validation chunks in dB by class, higher is better, over"]
    parts.append(f"{across}.")
    alike: dict[str, list[str]] = {}
    for line in lines:
        alike.setdefault(_facts(line, rows), []).append(line.name)
    parts += [f"{', '.join(names)}: {facts}." for facts, names in alike.items()]
    if any(len(line.runs) > 1 for line in lines):
        parts.append("Bands: one sample deviation around the mean over seeds.")
    for block in blocks:
        facts = setting(block[0])
        parts.append(
            f"Data: {facts['dataset']}, SHA-256 {facts['data']}…, {facts['rate']} Hz, "
            f"chunks of {facts['chunk'] or 0:g} s."
            if facts["dataset"]
            else f"Data: unknown, {block[0].runs[0].path} has no config.json."
        )
    texts = {
        False: "Rows of the thesis that are missing",
        True: "Not drawn, the text does not decide about them",
    }
    missing = [name for name in rows if name not in {line.row for line in lines}]
    for unsure, text in texts.items():
        if names := [n for n in missing if (rows[n] == "alternative") == unsure]:
            parts.append(f"{text}: {', '.join(names)}.")
    return " ".join(parts)


def _facts(line: Line, rows: Mapping[str, str]) -> str:
    """A line of the caption: certainty, batch, steps, seeds."""
    words = []
    if rows:
        known = line.row in rows
        words.append(f"{rows[line.row]} row" if known else "not a row of this figure")
    if line.field("train", "batch_size"):
        words.append(f"batch {line.field('train', 'batch_size')}")
    words.append(f"{max(line.steps, default=0):,} steps")
    seeds = ", ".join(str(seed) for seed in line.seeds)
    return ", ".join([*words, f"seed{'s' if len(line.seeds) > 1 else ''} {seeds}"])


def _batches_differ(lines: Sequence[Line]) -> bool:
    return len({line.field("train", "batch_size") for line in lines}) > 1


def _draw(blocks: Sequence[Sequence[Line]], rows: Mapping[str, str]) -> Any:
    """``draw(title, caption)`` of the panels of every block."""
    lines = [line for block in blocks for line in block]
    # A row keeps its color when another is missing; what is no row comes after them.
    names = [*rows, *(line.name for line in lines if line.name not in rows)]
    styles = {}
    for line in lines:
        place = names.index(line.name)
        unsure = rows.get(line.row) == "alternative" or place >= len(COLORS)
        color, dash = COLORS[place % len(COLORS)], "--" if unsure else "-"
        styles[line.name] = {"color": color, "linestyle": dash, "linewidth": 1.6}
    return functools.partial(_figure, blocks, styles, _batches_differ(lines))


def _figure(
    blocks: Sequence[Sequence[Line]],
    styles: Mapping[str, Mapping],
    by_chunk: bool,
    title: str,
    text: str,
) -> Any:
    """Title, legend, panels and caption on a page as high as they need."""
    names = list(styles)
    columns = 2 if len(names) > 3 and max(map(len, names)) < 48 else 1
    top = 0.4 + (0.3 if title else 0) + LINE * -(-len(names) // columns)
    across = 2 if max(len(block[0].curves) for block in blocks) <= 4 else 3
    downs = [-(-len(block[0].curves) // across) for block in blocks]
    figure, grid, start = canvas(title, text, top, sum(downs), across)
    row = 0
    for block, down in zip(blocks, downs):
        for index, name in enumerate(block[0].curves):
            axes = figure.add_subplot(grid[row + index // across, index % across])
            _panel(axes, block, name, styles, by_chunk)
            if index + across >= len(block[0].curves):
                axes.set_xlabel("chunks heard" if by_chunk else "steps", fontsize=8)
            if index % across == 0:
                axes.set_ylabel("SI-SDR, dB", fontsize=8)
            if len(blocks) > 1:
                digest = str(setting(block[0])["data"])
                axes.set_title(digest, loc="right", fontsize=7, color=QUIET)
        row += down
    handles = {h.get_label(): h for axes in figure.axes for h in axes.lines}
    spacing = {"borderaxespad": 0, "borderpad": 0, "labelspacing": 0.35}
    spacing |= {"handlelength": 2.4, "ncols": columns, "bbox_to_anchor": (LEFT, start)}
    spacing |= {"loc": "upper left", "frameon": False, "fontsize": 8.5}
    figure.legend(handles=list(handles.values()), **spacing)
    return figure


def canvas(title: str, text: str, top: float, down: int, across: int) -> Any:
    """An empty page: title above, caption below, and a grid of panels between.

    Returns matplotlib's figure and grid, and where what follows the title begins. There
    are ``top`` inches above the panels.
    """
    from matplotlib.figure import Figure

    wrapped = textwrap.wrap(text, 138)
    bottom = 0.62 + 0.165 * len(wrapped)
    height = top + PANEL * down + GAP * (down - 1) + bottom
    figure = Figure((WIDTH, height), facecolor="white")
    edges = {"left": LEFT, "right": 0.985}
    edges |= {"top": 1 - top / height, "bottom": bottom / height}
    grid = figure.add_gridspec(down, across, wspace=0.14, hspace=GAP / PANEL, **edges)
    if title:
        y = 1 - 0.12 / height
        figure.text(LEFT, y, title, va="top", fontsize=12, weight="bold", color=INK)
    style = {"va": "top", "fontsize": 7.5, "color": QUIET, "linespacing": 1.35}
    figure.text(LEFT, (bottom - 0.54) / height, "\n".join(wrapped), **style)
    return figure, grid, 1 - (0.12 + (0.3 if title else 0)) / height


def _panel(
    axes: Any,
    lines: Sequence[Line],
    name: str,
    styles: Mapping[str, Mapping],
    by_chunk: bool,
) -> None:
    for line in lines:
        style, curve = styles[line.name], line.curves[name]
        x = line.steps * (line.field("train", "batch_size") if by_chunk else 1)
        if len(line.runs) > 1:
            low, high = curve.mean - curve.deviation, curve.mean + curve.deviation
            band = {"color": style["color"], "alpha": 0.18, "linewidth": 0}
            axes.fill_between(x, low, high, **band)
        marker = "o" if len(x) == 1 else None
        axes.plot(x, curve.mean, label=line.name, marker=marker, **style)
    axes.set_title(name.replace("_", " "), loc="left", fontsize=9.5, color=INK)
    style_axes(axes)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))


def style_axes(axes: Any) -> None:
    """Quiet axes: two spines, a faint grid."""
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(labelsize=8, colors=QUIET, length=0)
    axes.xaxis.label.set_color(QUIET)
    axes.yaxis.label.set_color(QUIET)


def _short(value: float) -> str:
    """A count in few signs.

    Example:
        >>> _short(500), _short(12000), _short(2500000)
        ('500', '12k', '2.5M')
    """
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _table(lines: Sequence[Line]) -> Markup:
    """Every line's best evaluation, by class."""
    names = list(dict.fromkeys(name for line in lines for name in line.curves))
    columns, rows = ["mean", *names], []
    for line in lines:
        best = line.best()
        cells = [with_spread(*best[name]) if name in best else "" for name in columns]
        seeds = f" ({len(line.runs)} seeds)" if len(line.runs) > 1 else ""
        rows.append([line.name + seeds, *cells])
    note = "Validation SI-SDR in dB at the best evaluation of each run."
    return join([element("p", note, class_="note"), table(["run", *columns], rows)])
