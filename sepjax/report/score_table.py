"""The scores of several runs beside each other, as a table for a terminal or a page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation.averages import mean_and_deviation
from sepjax.evaluation.tables import in_unit, label, scores_of
from sepjax.registry import nearest

# Facts of a definition that may differ between rows of one table.
OWN = ("seed", "commit", "estimates")
OTHERS = {
    "mixture": "(the mixture)",
    "oracle": "(ideal ratio masks)",
    "recorded": "(the recorded stems)",
}
PARTS = {
    "model": "{}",
    "improvement": "{} improvement over the mixture",
    "clean": "{} against what was played",
}


def score_table(runs: Sequence[Path], metric: str = "si_sdr") -> str:
    """Tables in Markdown: a row for each run, a column for each class.

    Runs that were trained on their scored songs, or may have been, say SEEN. A folder
    of several seeds has the mean and the deviation (of a sample) over the seeds.
    Above the runs stand the references: the mixture as an estimate of everything, and
    ideal ratio masks; for live music also the recorded stems.

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
    unit = in_unit(first, metric, " (")
    names, blocks = [*first["model"], "mean"], []
    for part, title in PARTS.items():
        if part not in first:
            continue
        rows = []
        for column, text in (OTHERS if part != "improvement" else {}).items():
            rows.append((text, [_scores(first, part, column, metric)]))
        column = "model" if part == "clean" else part
        for name, found in scored.items():
            tables = [_scores(one, part, column, metric) for one in found]
            rows.append((name + marked(found), tables))
        lines = [[title.format(label(first, metric)) + unit + ")" * bool(unit), *names]]
        lines.append(["---", *["---:"] * len(names)])
        for name, tables in rows:
            if tables[0]:
                cells = [_cell([table[n] for table in tables]) for n in names]
                lines.append([name, *cells])
        blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(blocks)


def _scores(
    results: Mapping[str, Any], part: str, column: str, metric: str
) -> dict[str, float]:
    """A column; what live music scores against what was played is a tree of its own."""
    return scores_of(results["clean"] if part == "clean" else results, column, metric)


def marked(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the mark after the name of a run that was trained on some of its songs.

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
    first = next(iter(scored))
    one = scored[first][0]["definition"]
    for name, found in scored.items():
        for other in (results["definition"] for results in found):
            keys = [key for key in one | other if key not in OWN]
            if changed := [key for key in keys if one.get(key) != other.get(key)]:
                raise ValueError(
                    f"{name} was scored by another definition ({', '.join(changed)}) "
                    f"than {first}: such scores do not share a table"
                )
    return scored


def _results(run: Path) -> list[dict[str, Any]]:
    paths = sorted(run.glob("seed_*/results.json")) or [run / "results.json"]
    if not paths[0].exists():
        raise FileNotFoundError(
            f"{run} has no results.json: score it first with sepjax evaluate {run}"
        )
    return [json.loads(path.read_text()) for path in paths]


def _cell(values: Sequence[float]) -> str:
    mean, deviation = mean_and_deviation(values)
    if np.isnan(values).all():
        return "-"
    return f"{mean:.2f}" + f" ± {deviation:.2f}" * (len(values) > 1)
