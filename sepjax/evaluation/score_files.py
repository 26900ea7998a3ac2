"""Results as files: ``results.json``, ``scores.csv`` and those of museval."""

import csv
import io
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sepjax.evaluation.folders.museval import write_museval
from sepjax.evaluation.metrics import LEAKAGE, METRICS
from sepjax.evaluation.scoring import COLUMNS
from sepjax.evaluation.tables import file_title
from sepjax.storage import write_atomically, write_json

CSV_COLUMNS = (
    *("subset", "track", "column", "class", "metric", "value", "unit", "averaged"),
    *("windows_scored", "windows", "window_seconds", "preset", "silence"),
)
WINDOWED = {"sdr", "isr", "sir", "sar"}  # what museval's files need


def write_scores(folder: Path, results: Mapping[str, Any]) -> list[Path]:
    """Write ``results.json``, ``scores.csv`` and ``museval/[subset/]track.json``.

    Returns the files; those of museval are named by their folder. Plots and museval
    files of earlier scores in the folder are removed.
    """
    folder = Path(folder)
    if _ours(folder / "scores.csv"):
        # No file of other tracks or another definition may stay beside the new ones.
        for name in ("museval", "plots"):
            shutil.rmtree(folder / name, ignore_errors=True)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([CSV_COLUMNS, *_csv_rows(results)])
    files = [
        write_json(folder / "results.json", json_tree(results)),
        write_atomically(folder / "scores.csv", text.getvalue()),
    ]
    window = results["definition"]["window_seconds"]
    seconds = {"window_seconds": window, "hop_seconds": window}
    home = folder / "museval"
    for track in results["tracks"]:
        if all(WINDOWED <= set(curves) for curves in track["windows"].values()):
            path = home / f"{file_title(track)}.json"
            write_museval(path, track["windows"], **seconds)
            files[2:] = [home]
    return files


def _ours(path: Path) -> bool:
    """Whether a table is of these scores, and what lies beside it of ours, too."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline(1000).rstrip() == ",".join(CSV_COLUMNS).encode()


def json_tree(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree of ``results.json``: windows keep only SDR, to a thousandth."""
    tracks = []
    for track in results["tracks"]:
        curves = {name: curve["sdr"] for name, curve in track["windows"].items()}
        short = {n: {"sdr": [round(v, 3) for v in sdr]} for n, sdr in curves.items()}
        tracks.append({**track, "windows": short})
    return spelled({**results, "tracks": tracks})


def spelled(tree: Any) -> Any:
    """The same tree for strict JSON: NaN (not measured) is None, infinity a word.

    JavaScript, Python and pandas read "Infinity" and "-Infinity" as numbers.

    Example:
        >>> spelled({"si_sdr": [1.5, float("nan"), float("-inf")]})
        {'si_sdr': [1.5, None, '-Infinity']}
    """
    if isinstance(tree, Mapping):
        return {key: spelled(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [spelled(value) for value in tree]
    if not isinstance(tree, float) or math.isfinite(tree):
        return tree
    return None if math.isnan(tree) else ("Infinity" if tree > 0 else "-Infinity")


def _csv_rows(results: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """A row for each track, column, class and metric; empty: not measured."""
    definition = results["definition"]
    ends = definition["preset"], definition["silence"].partition(":")[0]
    cells = (
        (track, column, name, scores)
        for track in results["tracks"]
        for column in COLUMNS
        for name, scores in track.get(column, {}).items()
    )
    for track, column, name, scores in cells:
        start = track.get("subset", ""), track["name"], column, name
        counts = scores["windows_scored"], scores["windows"]
        for metric in (metric for metric in scores if metric in METRICS):
            averaged, over = "whole track", ("", "", "")
            if METRICS[metric].windowed:
                averaged = "median over windows"
                over = *counts, definition["window_seconds"]
            elif metric == LEAKAGE:
                averaged = "silent windows"
            value = "" if math.isnan(scores[metric]) else scores[metric]
            yield (*start, metric, value, METRICS[metric].unit, averaged, *over, *ends)
