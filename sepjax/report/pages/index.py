"""The page of a folder of runs: a row for each, with a link to the run's own page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sepjax.evaluation.tables import measured
from sepjax.report.html.document import Section, page, write_document
from sepjax.report.html.markup import element
from sepjax.report.html.numbers import GAP, count, decibels
from sepjax.report.html.parts import failures
from sepjax.report.html.table import table
from sepjax.report.pages.run import render, write_report
from sepjax.report.run_folder import FILES, RunFolder, is_run, lookup, number, read_run

DEPTH = 3  # folders of folders of runs are searched this deep
HEAD = ("Run", "Name", "Family", "Steps", "Best loss", "SI-SDR, dB", "Gain, dB")
NOTE = (
    "Best loss: the lowest in validation. SI-SDR: mean over the classes that were "
    "scored; gain: over the mixture."
)


def write_pages(folder: Path) -> Path:
    """Write the page of a run, or of every run below a folder and an index of them.

    Returns:
        The ``report.html`` of the folder.

    Raises:
        FileNotFoundError: there is no such folder, or nothing of a run in it.
        ValueError: a run is damaged; an index of the others was written.
    """
    if not folder.is_dir() or is_run(folder):
        return write_report(folder)
    runs, rows, failed = list(find_runs(folder)), [], []
    if not runs:
        raise FileNotFoundError(
            f"{folder}: is no run, and has none in it: a run has one of "
            f"{', '.join(FILES)}"
        )
    for path in runs:
        name = path.relative_to(folder)
        try:
            run = read_run(path)
            write_document(render(run), path / "report.html")
            rows.append(_row(run, str(name)))
        except (OSError, ValueError) as error:
            failed.append({"name": name, "error": error})
    sections = [Section("Runs", table(HEAD, rows))] if rows else []
    lead = [element("p", NOTE, class_="note"), failures(failed, "Could not be read:")]
    about = count(len(runs), "run"), folder.resolve().name, lead, sections
    index = write_document(page(*about), folder / "report.html")
    if failed:
        first = f"{len(failed)} of {len(runs)} runs could not be read: "
        raise ValueError(f"{first}{failed[0]['error']} (the others: {index})")
    return index


def find_runs(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Yield the runs below a folder, by name; what lies inside of a run is its own."""
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith("."):
            if is_run(child):
                yield child
            elif depth > 1:
                yield from find_runs(child, depth - 1)


def _row(run: RunFolder, path: str) -> list[Any]:
    link = element("a", path, href=f"{quote(path)}/report.html")
    losses = [number(line.get("loss")) for line in run.valid]
    best = min((loss for loss in losses if loss is not None), default=None)
    steps = max((line["step"] for line in run.train + run.valid), default=0)
    level = measured(lookup(run.results, "mean", "model", "si_sdr"))
    gain = measured(lookup(run.results, "mean", "improvement", "si_sdr"))
    cells = [lookup(run.config, "name"), lookup(run.config, "model", "name")]
    loss = GAP if best is None else decibels(best, 3)
    scores = decibels(level, 2), decibels(gain, 2, signed=True)
    return [link, *(cell or GAP for cell in cells), f"{steps:,}", loss, *scores]
