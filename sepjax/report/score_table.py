"""The scores of several runs beside each other, as a table for a terminal or a page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation.tables import in_unit, label, measured
from sepjax.registry import nearest

# Facts of a definition that may differ between rows of one table.
OWN = ("seed", "commit", "estimates")
PARTS = {
    "model": "{}",
    "improvement": "{} improvement over the mixture",
    "clean": "{} against what was played",
}


def score_table(runs: Sequence[Path], metric: str = "si_sdr") -> str:
    """Tables in Markdown: a row for each run, a column for each class.

    Runs that were trained on what they are scored on, or may have been, say SEEN. Of a
    folder of several seeds the mean and the deviation (of a sample) over them.
    Above the runs stand what is no run: the mixture as an estimate of everything, and
    ideal ratio masks; of live music also the recorded stems.

    Args:
        runs: folders with ``results.json``, or with ``seed_*`` that have it; of runs or
            of ``sepjax evaluate --references ... --estimates ...``.
        metric: what all of them were scored by.

    Raises:
        FileNotFoundError: a folder has no scores.
        ValueError: the runs were scored by different definitions, or not by the metric.
    """
    scored = read_scores(runs)
    first = next(iter(scored.values()))[0]
    known = first["mean"]["model"]
    if metric not in known:
        raise ValueError(f"not scored by {metric!r}: {nearest(metric, known)}")
    unit = in_unit(first, metric, " (") + ")"
    blocks = []
    for part, title in PARTS.items():
        if part not in first:
            continue
        rows = _references(first, part, metric)
        rows += [
            (name + marked(found), _cells(found, part, metric))
            for name, found in scored.items()
            if metric in found[0]["mean"][part if part != "clean" else "model"]
        ]
        heading = title.format(label(first, metric)) + unit * (unit != ")")
        blocks.append(_markdown(heading, list(first["model"]), rows))
    return "\n\n".join(blocks)


def marked(results: Sequence[Mapping[str, Any]]) -> str:
    """What follows the name of a run some of whose songs were trained on.

    Example:
        >>> marked([{"tracks": [{"seen": True}, {"seen": False}]}])
        ' (SEEN: 1 of 2)'
    """
    tracks = results[0]["tracks"]
    seen = sum(bool(track.get("seen")) for track in tracks)
    if seen:
        return f" (SEEN: {seen} of {len(tracks)})"
    return " (SEEN: unknown)" if results[0].get("seen_unknown") else ""


def read_scores(runs: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Name of a run -> the ``results.json`` of each of its seeds.

    Raises:
        FileNotFoundError: a folder has no scores.
        ValueError: the runs were scored by different definitions.
    """
    scored = {Path(run).name: _results(Path(run)) for run in runs}
    _require_same(scored)
    return scored


def _results(run: Path) -> list[dict[str, Any]]:
    paths = sorted(run.glob("seed_*/results.json")) or [run / "results.json"]
    if not paths[0].exists():
        raise FileNotFoundError(
            f"{run} has no results.json: score it first with sepjax evaluate {run}"
        )
    return [json.loads(path.read_text()) for path in paths]


def _require_same(scored: Mapping[str, list[dict[str, Any]]]) -> None:
    plain = {
        name: [
            {k: v for k, v in one["definition"].items() if k not in OWN}
            for one in found
        ]
        for name, found in scored.items()
    }
    wanted = next(iter(plain.values()))[0]
    for name, found in plain.items():
        for one in found:
            changed = [k for k in wanted | one if wanted.get(k) != one.get(k)]
            if changed:
                raise ValueError(
                    f"{name} was scored by another definition ({', '.join(changed)}) "
                    f"than {next(iter(scored))}: such scores do not share a table"
                )


def scores_of(
    results: Mapping[str, Any], column: str, metric: str = "si_sdr"
) -> dict[str, float]:
    """Class -> value of a column, and its mean over classes; NaN for no score."""
    table = {name: row.get(metric) for name, row in results[column].items()}
    table["mean"] = results["mean"][column].get(metric)
    return {name: measured(value) for name, value in table.items()}


def _references(
    results: Mapping[str, Any], part: str, metric: str
) -> list[tuple[str, dict]]:
    if part == "improvement":
        return []
    home = results["clean"] if part == "clean" else results
    names = {"mixture": "(the mixture)", "oracle": "(ideal ratio masks)"}
    names |= {"recorded": "(the recorded stems)"}
    return [
        (text, {k: _cell([v]) for k, v in scores_of(home, column, metric).items()})
        for column, text in names.items()
        if metric in home["mean"].get(column, {})
    ]


def _cells(
    found: Sequence[Mapping[str, Any]], part: str, metric: str
) -> dict[str, str]:
    live = part == "clean"
    tables = [
        scores_of(one["clean"] if live else one, "model" if live else part, metric)
        for one in found
    ]
    return {name: _cell([table[name] for table in tables]) for name in tables[0]}


def _cell(values: Sequence[float]) -> str:
    known = np.array(values)
    if np.isnan(known).all():
        return "-"
    spread = f" ± {known.std(ddof=1):.2f}" if len(known) > 1 else ""
    return f"{known.mean():.2f}{spread}"


def _markdown(title: str, classes: list[str], rows: list[tuple[str, dict]]) -> str:
    names = [*classes, "mean"]
    lines = [f"| {title} | " + " | ".join(names) + " |"]
    lines.append("|---|" + "---:|" * len(names))
    for name, cells in rows:
        lines.append(f"| {name} | " + " | ".join(cells[n] for n in names) + " |")
    return "\n".join(lines)
