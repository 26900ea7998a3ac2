"""The scores of several runs beside each other, as a table for a terminal or a page."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepjax.evaluation.averages import mean_and_deviation
from sepjax.evaluation.results import read_results
from sepjax.evaluation.tables import in_unit, label, markdown, scores_of
from sepjax.registry import nearest
from sepjax.report.run_folder import inside

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
        name = next(iter(scored))
        text = f"{name}/results.json: not scored by {metric!r}: "
        raise ValueError(text + nearest(metric, known))
    unit = in_unit(first, metric, " (")
    names, blocks = [*first["model"], "mean"], []
    for part, title in PARTS.items():
        if part not in first:
            continue
        rows = []
        for column, text in (OTHERS if part != "improvement" else {}).items():
            rows.append((text, _cells([first], part, column, metric, names)))
        column = "model" if part == "clean" else part
        for name, seeds in scored.items():
            cells = _cells(seeds, part, column, metric, names)
            rows.append((name + marked(seeds), cells))
        head = [title.format(label(first, metric)) + unit + ")" * bool(unit), *names]
        blocks.append(markdown(head, [[name, *each] for name, each in rows if each]))
    return "\n\n".join(blocks)


def _cells(
    seeds: Sequence[Mapping[str, Any]],
    part: str,
    column: str,
    metric: str,
    names: Sequence[str],
) -> list[str]:
    """A column as a row of text, where some seed has it.

    Classes that count in fewer tracks than they sound in have both numbers.
    """
    # What live music scores against what was played is a tree of its own.
    trees = [
        one.get("clean", {"mean": {}}) if part == "clean" else one for one in seeds
    ]
    tables = [scores_of(tree, column, metric) for tree in trees]
    cells = []
    for name in names:
        text = over_seeds([table.get(name, math.nan) for table in tables])
        for tree in trees:
            row = tree.get(column, {}).get(name, {})
            total = tree.get("model", {}).get(name, {}).get("tracks", 0)
            count = row.get(f"{metric}_tracks", total)
            if 0 < count < total and not text.endswith(")"):
                text += f" ({count} of {total})"
        cells.append(text)
    return cells if any(tables) else []


def marked(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the mark after the name of a run that was trained on some of its songs.

    Example:
        >>> marked([{"tracks": [{"seen": True}, {"seen": False}]}])
        ' (SEEN: 1 of 2)'
    """
    tracks = results[0].get("tracks", [])
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
    names = [Path(run).resolve().name for run in runs]
    scored = {
        name if names.count(name) == 1 else str(run): _results(Path(run))
        for name, run in zip(names, runs)
    }
    first = next(iter(scored))
    one = scored[first][0].get("definition", {})
    for name, found in scored.items():
        for other in (results.get("definition", {}) for results in found):
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
    return [read_results(inside(run, str(path.relative_to(run)))) for path in paths]


def over_seeds(values: Sequence[float]) -> str:
    """A mean over seeds as text, with the deviation, and how many seeds have a value.

    Example:
        >>> over_seeds([1.0, 3.0]), over_seeds([1.0, math.nan]), over_seeds([math.nan])
        ('2.00 ± 1.41', '1.00 (1 of 2 seeds)', '-')
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    mean, deviation = mean_and_deviation(known)
    mean = round(mean, 2) + 0.0  # no negative zero
    text = f"{mean:.2f}" + f" ± {deviation:.2f}" * (len(known) > 1)
    few = f" ({len(known)} of {len(values)} seeds)"
    return text + few * (len(known) < len(values))
