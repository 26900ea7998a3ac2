"""The page: its sections in order, and what stands where there is nothing yet."""

import json
from pathlib import Path
from typing import Any

from sepjax.report.figures.curves import curves_section
from sepjax.report.html.document import Section, page, write_document
from sepjax.report.html.markup import Markup, element
from sepjax.report.html.parts import folded
from sepjax.report.pages.filters import filters_section
from sepjax.report.pages.listening import listening_section
from sepjax.report.pages.scores import BADGE, scores_section
from sepjax.report.pages.verdict import facts, verdict
from sepjax.report.run_folder import RunFolder, read_run

# Title and writer of each section.
SECTIONS = {
    "scores": ("Scores", scores_section),
    "training": ("Training", curves_section),
    "filters": ("Learned filters", filters_section),
    "listening": ("Listening", listening_section),
}
# The line that stands there until it can be written.
ABSENT = {
    "scores": "No scores yet: `sepjax evaluate RUN` writes `results.json`, and then "
    "`sepjax report RUN` this page again.",
    "training": "No training curves: this folder has no `metrics.jsonl`. "
    "`run_experiment.py --mode=train` writes it.",
    "filters": "No filters: `filters.npz` is written when training ends.",
    "listening": "Nothing to listen to yet: `sepjax evaluate RUN` writes excerpts into "
    "`audio/`, as many as `eval.excerpts` says.",
}


def write_report(run: Path) -> Path:
    """Write ``report.html`` into a run folder: one file that needs no other.

    Scores, curves, filters and players of whatever the run has so far; a part that
    is not there yet is replaced by a line that says how to get it. The same run
    gives the same bytes.

    Args:
        run: folder with any of config.json, metrics.jsonl, results.json,
            filters.npz and audio/index.json.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file of the run is damaged; names it and what to do.
    """
    run = Path(run)
    return write_document(render(read_run(run)), run / "report.html")


def render(run: RunFolder) -> Markup:
    """The whole page as one element."""
    name = str(run.config.get("name") or run.path.resolve().name)
    present = {
        "scores": run.results.get("tracks") or run.scored("si_sdr"),
        "training": run.train or run.valid,
        "filters": run.filters,
        "listening": run.excerpts,
    }
    sections = [
        Section(title, write(run) if present[anchor] else _absent(anchor), anchor)
        for anchor, (title, write) in SECTIONS.items()
    ]
    if run.config:
        text = element("pre", json.dumps(run.config, indent=2, ensure_ascii=False))
        sections.append(Section("", folded("The whole configuration", text)))
    return page(
        "separation report",
        [name, " ", BADGE if run.seen_tracks else None],
        [verdict(run), facts(run)],
        sections,
        title=f"{name} \N{MIDDLE DOT} sepjax report",
        scripts=["page.js"],
        links=True,
    )


def _absent(anchor: str) -> Markup:
    pieces: list[Any] = ABSENT[anchor].split("`")
    pieces[1::2] = [element("code", piece) for piece in pieces[1::2]]
    return element("p", pieces, class_="absent")
