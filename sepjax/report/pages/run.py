"""The page: its sections in order, and what stands where there is nothing yet."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sepjax.report.figures.curves import curves_section
from sepjax.report.html.document import asset, head, write_document
from sepjax.report.html.markup import Markup, element
from sepjax.report.pages.filters import filters_section
from sepjax.report.pages.listening import listening_section
from sepjax.report.pages.scores import scores_section
from sepjax.report.pages.verdict import facts, verdict
from sepjax.report.run_folder import RunFolder, read_run, scored, seen_tracks


class Section(NamedTuple):
    """A part of the page, and how to get what it needs."""

    anchor: str
    title: str
    present: Callable[[RunFolder], object]
    write: Callable[[RunFolder], Markup]
    absent: str


SECTIONS = (
    Section(
        "scores",
        "Scores",
        lambda run: run.results.get("tracks") or scored(run, "si_sdr"),
        scores_section,
        "No scores yet: `sepjax evaluate RUN` writes `results.json`, and then "
        "`sepjax report RUN` this page again.",
    ),
    Section(
        "training",
        "Training",
        lambda run: run.train or run.valid,
        curves_section,
        "No training curves: this folder has no `metrics.jsonl`. "
        "`run_experiment.py --mode=train` writes it.",
    ),
    Section(
        "filters",
        "Learned filters",
        lambda run: run.filters,
        filters_section,
        "No filters: `filters.npz` is written when training ends.",
    ),
    Section(
        "listening",
        "Listening",
        lambda run: run.excerpts,
        listening_section,
        "Nothing to listen to yet: `sepjax evaluate RUN` writes excerpts into "
        "`audio/`, as many as `eval.excerpts` says.",
    ),
)


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
    links = [element("a", part.title, href=f"#{part.anchor}") for part in SECTIONS]
    seen = element("strong", "SEEN", class_="badge") if seen_tracks(run) else None
    header = element(
        "header",
        element("p", "sepjax \N{MIDDLE DOT} separation report", class_="kicker"),
        element("h1", name, " ", seen),
        verdict(run),
        facts(run),
        element("nav", links, aria_label="Sections"),
    )
    main = element("main", [_section(part, run) for part in SECTIONS], _config(run))
    body = element("body", header, main, element("script", asset("page.js")))
    return element(
        "html", head(f"{name} \N{MIDDLE DOT} sepjax report"), body, lang="en"
    )


def _section(part: Section, run: RunFolder) -> Markup:
    if part.present(run):
        content = part.write(run)
    else:
        pieces = enumerate(part.absent.split("`"))
        text = [element("code", t) if i % 2 else t for i, t in pieces]
        content = element("p", text, class_="absent")
    return element(
        "section",
        element("h2", part.title, id=f"{part.anchor}-title"),
        content,
        id=part.anchor,
        aria_labelledby=f"{part.anchor}-title",
    )


def _config(run: RunFolder) -> Markup | None:
    if not run.config:
        return None
    text = json.dumps(run.config, indent=2, ensure_ascii=False)
    summary = element("summary", "The whole configuration")
    return element("section", element("details", summary, element("pre", text)))
