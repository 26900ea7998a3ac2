"""The page about the scores of a folder: averages, every track, every definition."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepjax.evaluation.tables import in_unit, label, measured
from sepjax.report.html import document
from sepjax.report.html.markup import Markup, element
from sepjax.report.html.numbers import GAP, count
from sepjax.report.html.parts import definitions, spell
from sepjax.report.pages.scores import digits, headline, scores_section
from sepjax.report.run_folder import RunFolder


def write_score_page(folder: Path, results: Mapping[str, Any]) -> Path:
    """Write ``report.html``, with the pictures in ``plots``; returns its path."""
    folder = Path(folder)
    return document.write_document(page(results, folder), folder / "report.html")


def page(results: Mapping[str, Any], folder: Path) -> Markup:
    """The whole page as one element."""
    name = Path(results["provenance"]["estimates"]).name or "estimates"
    lead = [element("p", _lead(results), class_="verdict"), _facts(results)]
    scores = scores_section(RunFolder(folder, results=dict(results)))
    sections = [document.Section("Scores", scores)]
    title = f"{name} \N{MIDDLE DOT} sepjax scores"
    return document.page("scores of a folder", name, lead, sections, title=title)


def _lead(results: Mapping[str, Any]) -> Any:
    """The one number, and what it is."""
    if not results["tracks"]:
        return "No track could be scored."
    metric = headline(results)
    values = [measured(row[metric]) for row in results["model"].values()]
    classes = sum(value == value for value in values)  # NaN is not itself
    if not classes:
        return f"{label(results, metric)} could be measured in no track."
    mean = "" if classes == 1 else f", mean of {classes} classes"
    value = digits(results["mean"]["model"].get(metric))
    how = results["definition"]["aggregation"][metric]
    tracks = count(len(results["tracks"]), "track")
    one = element("b", f"{value}{in_unit(results, metric)} {label(results, metric)}")
    return [one, f"{mean}: {how} ({tracks})."]


def _facts(results: Mapping[str, Any]) -> Markup:
    definition, origin = results["definition"], results["provenance"]
    rate, digest = definition["sample_rate"], definition["data_sha256"][:12]
    facts = {name: origin[name] for name in ("references", "estimates")}
    facts["split"] = definition["split"]
    facts["sample rate"] = f"{spell(rate)} Hz" if rate else GAP
    facts["references SHA-256"] = f"{digest}\N{HORIZONTAL ELLIPSIS}"
    facts["commit"], facts["versions"] = origin.get("commit"), origin.get("versions")
    return definitions(facts, class_="facts")
