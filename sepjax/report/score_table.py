"""The scores of several runs beside each other, as a table for a terminal or a page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Facts of a definition that may differ between rows of one table.
OWN = ("seed", "commit", "estimates")
PARTS = {
    "model": "SI-SDR (dB)",
    "improvement": "SI-SDR improvement over the mixture (dB)",
    "clean": "SI-SDR against what was played (dB)",
}


def score_table(runs: Sequence[Path]) -> str:
    """Tables in Markdown: a row for each run, a column for each class.

    Runs that were trained on what they are scored on, or may have been, say SEEN. Of a
    folder of several seeds the mean and the deviation (of a sample) over them.
    Above the runs stand what is no run: the mixture as an estimate of everything, and
    ideal ratio masks; of live music also the recorded stems.

    Args:
        runs: folders with ``results.json``, or with ``seed_*`` that have it.

    Raises:
        FileNotFoundError: a folder has no scores.
        ValueError: the runs were scored by different definitions.
    """
    scored = read_scores(runs)
    first = next(iter(scored.values()))[0]
    blocks = []
    for part, title in PARTS.items():
        if part == "clean" and "clean" not in first:
            continue
        rows = _references(first, part)
        rows += [
            (name + marked(found), _cells(found, part))
            for name, found in scored.items()
        ]
        blocks.append(_markdown(title, list(first["model"]), rows))
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


def _table(results: Mapping[str, Any], part: str) -> dict[str, float | None]:
    """Class -> value, and its mean over classes."""
    home = results["clean"] if part == "clean" else results
    column = "model" if part == "clean" else part
    return _values(home, column)


def _values(home: Mapping[str, Any], column: str) -> dict[str, float | None]:
    table = {name: cell["si_sdr"] for name, cell in home[column].items()}
    return table | {"mean": home["mean"][column]["si_sdr"]}


def _references(results: Mapping[str, Any], part: str) -> list[tuple[str, dict]]:
    if part == "improvement":
        return []
    home = results["clean"] if part == "clean" else results
    names = {"mixture": "(the mixture)", "oracle": "(ideal ratio masks)"}
    names |= {"recorded": "(the recorded stems)"}
    found = {text: home[key] for key, text in names.items() if key in home}
    columns = {text: key for key, text in names.items()}
    return [
        (text, {k: _cell([v]) for k, v in _values(home, columns[text]).items()})
        for text in found
    ]


def _cells(found: Sequence[Mapping[str, Any]], part: str) -> dict[str, str]:
    tables = [_table(one, part) for one in found]
    return {name: _cell([table[name] for table in tables]) for name in tables[0]}


def _cell(values: Sequence[float | None]) -> str:
    known = np.array([np.nan if value is None else value for value in values], float)
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
