"""The page about the scores of a folder: averages, every track, every definition."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepjax.evaluation.tables import in_unit, label, measured
from sepjax.report.html.document import head, write_document
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.pages.scores import GAP, headline, number_text, scores_section, spell
from sepjax.report.run_folder import RunFolder


def write_score_page(folder: Path, results: Mapping[str, Any]) -> Path:
    """Write ``report.html``: one file that needs no other.

    Args:
        folder: where to; the pictures in its ``plots`` are on the page.
        results: of :func:`sepjax.evaluation.folders.evaluate.evaluate_folders`.

    Returns:
        Path of the page.
    """
    return write_document(page(results, Path(folder)), Path(folder) / "report.html")


def page(results: Mapping[str, Any], folder: Path) -> Markup:
    """The whole page as one element."""
    name = Path(results["provenance"]["estimates"]).name or "estimates"
    header = element(
        "header",
        element("p", "sepjax \N{MIDDLE DOT} scores of a folder", class_="kicker"),
        element("h1", name),
        element("p", _lead(results), class_="verdict"),
        _facts(results),
    )
    scores = scores_section(RunFolder(folder, {}, [], [], 0, dict(results), [], {}))
    main = element("main", element("section", element("h2", "Scores"), scores))
    return element(
        "html",
        head(f"{name} \N{MIDDLE DOT} sepjax scores"),
        element("body", header, main),
        lang="en",
    )


def _lead(results: Mapping[str, Any]) -> Markup | str:
    """The one number, and what it is."""
    metric, count = headline(results), len(results["tracks"])
    if not count:
        return "No track could be scored."
    values = [measured(row[metric]) for row in results["model"].values()]
    classes = sum(value == value for value in values)  # NaN is not itself
    if not classes:
        return f"{label(results, metric)} could be measured in no track."
    mean = "" if classes == 1 else f", mean of {classes} classes"
    value = number_text(results["mean"]["model"].get(metric))
    return join(
        [
            element("b", f"{value}{in_unit(results, metric)} {label(results, metric)}"),
            f"{mean}: {results['definition']['aggregation'][metric]} "
            f"({count} track{'s' * (count != 1)}).",
        ]
    )


def _facts(results: Mapping[str, Any]) -> Markup:
    definition, origin = results["definition"], results["provenance"]
    rate, digest = definition["sample_rate"], definition["data_sha256"][:12]
    facts = {
        "references": origin["references"],
        "estimates": origin["estimates"],
        "split": definition["split"],
        "sample rate": f"{spell(rate)} Hz" if rate else GAP,
        "references SHA-256": f"{digest}\N{HORIZONTAL ELLIPSIS}",
        "commit": origin.get("commit"),
        "versions": spell(origin.get("versions", {})),
    }
    items = [
        element("div", element("dt", key), element("dd", value))
        for key, value in facts.items()
        if value
    ]
    return element("dl", items, class_="facts")
