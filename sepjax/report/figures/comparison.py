"""Runs side by side: which belong together, and the curves of each group.

Runs that differ in nothing but their seed make one line, the mean over seeds with its
deviation. What was validated on other data, other classes or chunks of another kind is
not comparable, and is refused.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sepjax.evaluation.averages import mean_and_deviation
from sepjax.report.run_folder import RunFolder, lookup, number, read_run

DEPTH = 3  # folders of folders of runs are searched this deep
# What may differ between the runs of a line; "eval" is about scores, not curves.
SEEDS = (("seed",), ("train", "seeds"), ("provenance",), ("eval",), ("data", "root"))
# What validation curves depend on beside the model, and how to say it.
SETTING = {
    "data": ("provenance", "data_sha256"),
    "dataset": ("data", "dataset"),
    "rate": ("data", "sample_rate"),
    "chunk": ("data", "valid_seconds"),
    "excerpts": ("data", "all_sound"),
}


class Curve(NamedTuple):
    """Validation of one class: SI-SDR in dB over the seeds of a line."""

    mean: np.ndarray  # (evaluations,)
    deviation: np.ndarray  # of the sample; zeros for one seed


class Line(NamedTuple):
    """Runs that differ in their seed only."""

    name: str  # the configuration's, with the folder's where that is not enough
    row: str  # the configuration's name
    runs: tuple[RunFolder, ...]
    steps: np.ndarray  # evaluations that every seed has
    curves: dict[str, Curve]  # by class

    def field(self, *keys: str):
        """A field of the configuration."""
        return lookup(self.runs[0].config, *keys)

    @property
    def seeds(self) -> list[int]:
        """Seeds, in order."""
        return sorted(run.config.get("seed") or 0 for run in self.runs)

    def best(self) -> dict[str, tuple[float, float]]:
        """Mean and deviation over seeds at each seed's best evaluation, by class."""
        picked = []
        for run in self.runs:
            lines = [line for line in run.valid if number(line.get("loss")) is not None]
            picked.append(min(lines, key=lambda line: line["loss"], default={}))
        columns = {
            "mean": [-(number(line.get("loss")) or np.nan) for line in picked]
        } | {name: [_value(line, name) for line in picked] for name in self.curves}
        return {name: mean_and_deviation(v) for name, v in columns.items()}


def find_runs(path: Path, depth: int = DEPTH) -> list[Path]:
    """Find run folders at or below a path, by name; seeds win over the folder's run.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; give run folders")
    if runs := _runs_of(path):
        return runs
    inner = sorted(child for child in path.iterdir() if child.is_dir() and depth)
    return [run for child in inner for run in find_runs(child, depth - 1)]


def _runs_of(path: Path) -> list[Path]:
    """The seeds of a run, or the run; nothing of a folder of several runs."""
    patterns = ("seed_*/metrics.jsonl", "metrics.jsonl")
    seeds, run = (sorted(path.glob(pattern)) for pattern in patterns)
    return [file.parent for file in seeds or run]


def read_lines(paths: Sequence[Path], rows: Mapping[str, str]) -> list[Line]:
    """Read the lines of runs, in the order of ``rows``, then the lines without a row.

    Args:
        paths: run folders, folders of the seeds of a run, or folders of such folders;
            of the last only the rows count, if there are rows.
        rows: configuration names that a figure asks for.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is nothing to draw.
    """
    groups: dict[str, list[RunFolder]] = {}
    seen: set[Path] = set()
    # Runs that were named come first: the folders around them may be given as well.
    for path in sorted(map(Path, paths), key=lambda path: not _runs_of(path)):
        for folder in find_runs(path):
            run = read_run(folder)
            shown = _runs_of(path) or not rows or run.config.get("name") in rows
            if shown and folder.resolve() not in seen and run.valid:
                groups.setdefault(_identity(run), []).append(run)
            seen.add(folder.resolve())
    if not groups:
        names = ", ".join(map(str, paths)) or "nothing"
        asked = f" Wanted: {', '.join(rows)}." if rows else ""
        text = f"{names} ({len(seen)} run folders looked at).{asked}"
        raise ValueError(f"no run with validation results in {text}")
    lines = [_line(tuple(runs)) for runs in groups.values()]
    order = list(rows)
    lines.sort(key=lambda x: order.index(x.row) if x.row in order else len(order))
    return _distinct(lines)


def by_setting(lines: Sequence[Line], several: bool) -> list[list[Line]]:
    """Group the lines that can be compared.

    Raises:
        ValueError: not all can, and not several groups were asked for.
    """
    if not several:
        _require_comparable(lines)
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(json.dumps(setting(line)), []).append(line)
    return list(groups.values())


def _require_comparable(lines: Sequence[Line]) -> None:
    settings = {line.name: setting(line) for line in lines}
    for what in setting(lines[0]):
        values: dict[str, list[str]] = {}
        for name, facts in settings.items():
            values.setdefault(str(facts[what]), []).append(name)
        if len(values) > 1:
            who = "; ".join(f"{v}: {', '.join(names)}" for v, names in values.items())
            raise ValueError(
                f"these runs cannot be compared, they differ in {what} ({who}). Give "
                "only runs that belong together, or --by-data for panels of their own"
            )


def setting(line: Line) -> dict[str, object]:
    """Return the data and chunks that a line's curves were measured on."""
    facts = {name: line.field(*keys) for name, keys in SETTING.items()}
    facts["data"] = str(facts["data"] or "unknown")[:12]
    # Validation chunks are as long as those of training unless the field says more.
    facts["chunk"] = facts["chunk"] or line.field("data", "chunk_seconds")
    facts["excerpts"] = "all classes sound" if facts["excerpts"] else "all"
    return facts | {"classes": sorted(line.curves)}


def _identity(run: RunFolder) -> str:
    """The configuration without what may differ between seeds."""
    tree = json.loads(json.dumps(run.config))
    for *sections, field in SEEDS:
        node = lookup(tree, *sections)
        if isinstance(node, dict):
            node.pop(field, None)
    # A run without a configuration, or on other data, is a line of its own.
    data = lookup(run.config, "provenance", "data_sha256")
    return json.dumps([tree or str(run.path), data], sort_keys=True)


def _line(runs: tuple[RunFolder, ...]) -> Line:
    common = set.intersection(*({x["step"] for x in run.valid} for run in runs))
    lines = [[line for line in run.valid if line["step"] in common] for run in runs]
    curves = {}
    for name in runs[0].sources:
        if not all(np.isnan(_value(line, name)) for line in runs[0].valid):
            table = [[_value(line, name) for line in row] for row in lines]
            curves[name] = Curve(*mean_and_deviation(table))
    row = str(runs[0].config.get("name") or runs[0].path.name)
    return Line(row, row, runs, np.array(sorted(common), int), curves)


def _value(line: dict, name: str) -> float:
    value = number(line.get(f"si_sdr/{name}"))
    return np.nan if value is None else value


def _distinct(lines: list[Line]) -> list[Line]:
    """Lines of one row told apart by their folders."""
    names, distinct = [line.row for line in lines], []
    for line in lines:
        path = line.runs[0].path.resolve()
        folder = path.parent.name if path.name.startswith("seed_") else path.name
        alone = names.count(line.row) == 1
        distinct.append(line if alone else line._replace(name=f"{line.row} ({folder})"))
    return distinct
