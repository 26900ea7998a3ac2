"""Tables of the thesis: our scores beside what it prints and what others published."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sepjax.evaluation.tables import label, markdown, scores_of
from sepjax.report.html.document import Section, page, write_document
from sepjax.report.html.markup import element
from sepjax.report.html.parts import definitions
from sepjax.report.html.table import table
from sepjax.report.score_table import marked, over_seeds, read_scores
from sepjax.storage import write_atomically, write_json

UNKNOWN = "?"
"""A cell of the thesis that is not at hand."""

Cells = Mapping[str, Mapping[str, float]]  # metric -> class or "mean" -> dB


class Layout(Protocol):
    """A table of the thesis; ``sepjax.configs.thesis.Table`` is one."""

    title: str
    rows: Mapping[str, str]  # configuration -> name of its row in the thesis
    classes: Sequence[str]
    metrics: Sequence[str]
    printed: Mapping[str, Cells]
    published: Mapping[str, tuple[str, Cells]]  # row -> source and values
    remarks: Sequence[str]


class Line(NamedTuple):
    """A line of a table."""

    row: str
    origin: str  # ours | printed | published
    metric: str
    cells: tuple[str, ...]  # of the classes, and their mean


def thesis_lines(
    layout: Layout, scored: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Line]:
    """Return the lines of a table, what was printed below what was measured.

    Args:
        layout: rows, columns, and the values that are known of the thesis.
        scored: name of a run -> the ``results.json`` of each of its seeds. Runs that
            are no row of the thesis follow under their own names.

    A cell is the mean over the seeds of the set's average (median or mean over songs,
    as the definition of the scores says) and their deviation; "?" where the thesis has
    a value that is not at hand.
    """
    order = list(layout.rows)
    runs = sorted(scored, key=lambda n: order.index(n) if n in order else len(order))
    rows = [(layout.rows.get(name, name), scored[name]) for name in runs]
    names = dict.fromkeys([*(row for row, _ in rows), *layout.rows.values()])
    ours = dict(rows)
    lines: list[Line] = []
    for name in names:
        lines += _measured(layout, name, ours.get(name, ()))
        # Only rows of the thesis have something printed.
        if name in layout.rows.values():
            lines += _known(layout, name, "printed", layout.printed.get(name, {}))
    for name, (_, cells) in layout.published.items():
        lines += _known(layout, name, "published", cells)
        if name in layout.printed:
            lines += _known(layout, name, "printed", layout.printed[name])
    return lines


def _measured(
    layout: Layout, name: str, seeds: Sequence[Mapping[str, Any]]
) -> Iterator[Line]:
    for metric in layout.metrics if seeds else ():
        tables = [scores_of(one, "model", metric) for one in seeds]
        for own in tables:
            if own.keys() != {*layout.classes, "mean"}:
                own.pop("mean", None)  # of other classes than the table has
        columns = (*layout.classes, "mean")
        cells = (over_seeds([t.get(c, math.nan) for t in tables]) for c in columns)
        yield Line(name + marked(seeds), "ours", metric, tuple(cells))


def _known(layout: Layout, name: str, origin: str, cells: Cells) -> Iterator[Line]:
    metrics = layout.metrics if origin == "printed" else cells
    for metric in metrics:
        values = cells.get(metric, {})
        columns = (values.get(column) for column in (*layout.classes, "mean"))
        texts = tuple(UNKNOWN if v is None else _as_printed(v) for v in columns)
        if values or (origin == "printed" and metric == layout.metrics[0]):
            yield Line(name, origin, metric, texts)


def _as_printed(value: float) -> str:
    """A value with two decimals, or the third that it has."""
    return f"{value:.3f}".removesuffix("0")


def write_thesis_table(
    layout: Layout, runs: Sequence[Path], output: Path, command: str = ""
) -> tuple[list[Path], str]:
    """Write a table of the thesis as ``.md``, ``.json`` and a page.

    Args:
        layout: of the table.
        runs: run folders with ``results.json``, or with ``seed_*`` that have it.
        output: the files without their suffix.
        command: that makes the table, for the page.

    Returns:
        The files, and the table in Markdown.

    Raises:
        FileNotFoundError: a folder has no scores.
        ValueError: the runs were scored by different definitions.
    """
    found = read_scores(runs)
    scored: dict[str, Sequence[Mapping[str, Any]]] = {}
    for name, seeds in found.items():
        row = row_name(Path(name).name, layout)
        # Of several runs of a row the others keep their own names.
        scored[row if row and row not in {*found, *scored} else name] = seeds
    lines, first = thesis_lines(layout, scored), next(iter(scored.values()))[0]
    heads = ["row", "", "metric", *layout.classes, "mean"]
    rows = [[x.row, x.origin, label(first, x.metric), *x.cells] for x in lines]
    text = f"{layout.title}, dB\n\n{markdown(heads, rows, left=3)}\n"
    facts = _facts(scored, layout)
    notes = [element("p", remark) for remark in (*layout.remarks, KNOWN)]
    sources = {name: source for name, (source, _) in layout.published.items()}
    sections = [
        Section("", table(heads, rows)),
        Section("What is printed", [*notes, definitions(sources)]),
        Section("Definitions", definitions(facts | {"command": command})),
    ]
    lead = element("p", "Ours beside what the thesis prints.", class_="verdict")
    document = page("a table of the thesis", layout.title, lead, sections)
    files = [output.with_name(output.name + end) for end in (".md", ".json", ".html")]
    write_atomically(files[0], text.encode())
    write_json(files[1], {"lines": [x._asdict() for x in lines], "facts": facts})
    write_document(document, files[2])
    return files, text


KNOWN = (
    "Of what the thesis prints only some cells are at hand; '?' stands for the rest."
)


def row_name(run: str, layout: Layout) -> str:
    """Return the row that a run's name means, which may begin with ``demo_``; or ""."""
    names = (run, run.removeprefix("demo_"))
    return next((name for name in names if name in layout.rows), "")


def _facts(
    scored: Mapping[str, Sequence[Mapping[str, Any]]], layout: Layout
) -> dict[str, Any]:
    definition = next(iter(scored.values()))[0]["definition"]
    keys = ("preset", *layout.metrics, "window", "silence", "aggregation")
    facts = {key: definition.get(key) for key in keys}
    facts |= {key: definition.get(key) for key in ("dataset", "data_sha256", "split")}
    seeds = {n: [one["definition"].get("seed") for one in s] for n, s in scored.items()}
    songs = {name: len(each[0].get("tracks", ())) for name, each in scored.items()}
    return facts | {"seeds": seeds, "songs": songs}
