"""Scores of folders as files, and as a table for the terminal."""

import csv
import io
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sepjax.evaluation import aggregate
from sepjax.evaluation.folders.museval import write_museval
from sepjax.evaluation.protocol import LABELS, LEAKAGE, UNITS, WHOLE, WINDOWED
from sepjax.storage import write_atomically, write_json

CSV_COLUMNS = (
    *("subset", "track", "class", "metric", "value", "unit", "averaged"),
    *("windows_scored", "windows", "window_seconds", "preset", "silence"),
)


def write_scores(folder: Path, results: Mapping[str, Any]) -> list[Path]:
    """Write ``results.json``, ``scores.csv`` and ``museval/[subset/]track.json``.

    Args:
        folder: where to; created where needed.
        results: of :func:`sepjax.evaluation.folders.evaluate.evaluate_folders`.

    Returns:
        The files; the museval files are named by their folder. Plots and museval files
        of earlier scores in the folder are removed.
    """
    folder = Path(folder)
    prepare_output(folder)
    _remove_older(folder)
    tracks = [
        {key: value for key, value in track.items() if key != "windows"}
        for track in results["tracks"]
    ]
    files = [folder / "results.json", folder / "scores.csv"]
    write_json(files[0], spelled({**results, "tracks": tracks}))
    _write_csv(files[1], results)
    complete = [t for t in results["tracks"] if _has_all(t)]
    window = results["definition"]["window_seconds"]
    seconds = {"window_seconds": window, "hop_seconds": window}
    for track in complete:
        path = folder / "museval" / f"{track['title']}.json"
        write_museval(path, track["windows"], **seconds)
    return [*files, folder / "museval"] if complete else files


def prepare_output(folder: Path) -> None:
    """Create the folder for scores.

    Raises:
        FileExistsError: it is a run folder, whose own results are not to be replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "checkpoints").exists() or (folder / "config.json").exists():
        raise FileExistsError(
            f"{folder} is a run folder: its results.json and report.html would be "
            "replaced; give another folder with -o"
        )


def _remove_older(folder: Path) -> None:
    """No file of other tracks or another definition may stay beside the new ones."""
    if (folder / "scores.csv").exists():
        for name in ("museval", "plots"):
            shutil.rmtree(folder / name, ignore_errors=True)


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


def _write_csv(path: Path, results: Mapping[str, Any]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    writer.writerows(_csv_rows(results))
    write_atomically(path, text.getvalue())


def _csv_rows(results: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """A row for each track, class and metric; an empty value was not measured."""
    definition = results["definition"]
    seconds, aggregation = definition["window_seconds"], definition["aggregation"]
    ends = definition["preset"], definition["silence"].partition(":")[0]
    for track in results["tracks"]:
        for name, scores in track["scores"].items():
            counts = scores["windows_scored"], scores["windows"], seconds
            for metric in (metric for metric in aggregation if metric in LABELS):
                value = scores[metric]
                over = ("", "", "")
                averaged = "whole track"
                if metric in WINDOWED:
                    averaged, over = "median over windows", counts
                elif metric == LEAKAGE:
                    averaged = "silent windows"
                yield (
                    *(track["subset"], track["name"], name, metric),
                    *("" if math.isnan(value) else value, UNITS[metric], averaged),
                    *(*over, *ends),
                )


def _has_all(track: Mapping[str, Any]) -> bool:
    return all(set(WINDOWED) <= set(curves) for curves in track["windows"].values())


# --- the terminal ----------------------------------------------------------------


def summary(results: Mapping[str, Any]) -> str:
    """What was scored, the table, what each column is, and what to beware of."""
    tracks, failed = results["tracks"], results["failed"]
    lines = [f"note: {remark}" for remark in results["remarks"]]
    lines += [
        f"note: {track['title']}: {note}" for track in tracks for note in track["notes"]
    ]
    if len(lines) > 20:
        lines = [*lines[:20], f"... and {len(lines) - 20} more notes (results.json)"]
    if tracks:
        lines += ["", table(results), "", *_captions(results)]
    lines += [f"FAILED {item['name']}: {item['error']}" for item in failed]
    if failed:
        total = len(tracks) + len(failed)
        lines.append(f"{len(failed)} of {total} tracks failed and count in no number")
    return "\n".join(lines).lstrip("\n")


def table(results: Mapping[str, Any]) -> str:
    """Aligned lines, one for each class, the last one the mean over classes."""
    scores = results["scores"]
    metrics = shown_metrics(results)
    heads = [f"{LABELS[m]} {UNITS[m]}" if m == LEAKAGE else LABELS[m] for m in metrics]
    rows = [["class", *heads, "tracks", "windows"]]
    for name, row in scores.items():
        windows = f"{row['windows_scored']}/{row['windows']}"
        cells = [_cell(row[metric]) for metric in metrics]
        rows.append([name, *cells, tracks_scored(row), windows])
    if len(scores) > 1:
        means = [_cell(results["mean"].get(metric, math.nan)) for metric in metrics]
        rows.append(["mean", *means, "", ""])
    return aggregate.aligned(rows)


def shown_metrics(results: Mapping[str, Any]) -> list[str]:
    """Metrics with a column: leakage only where something was silent."""
    rows = results["scores"].values()
    return [
        metric
        for metric in results["definition"]["aggregation"]
        if metric in LABELS
        and (metric != LEAKAGE or any(not math.isnan(row[metric]) for row in rows))
    ]


def tracks_scored(row: Mapping[str, Any]) -> str:
    """How many tracks count for a class, as a range where metrics differ in it.

    A track all of whose windows hold something silent has an SI-SDR, but no SDR.

    Example:
        >>> tracks_scored({"sdr": 1.0, "sdr_tracks": 4, "usdr": 1.2, "usdr_tracks": 5})
        '4-5'
    """
    # SIR does not count: with a single class nothing can interfere.
    metrics = [m for m in (*WINDOWED, *WHOLE) if m in row and m != "sir"] or ["sir"]
    counts = [row[f"{metric}_tracks"] for metric in metrics]
    return "-".join(map(str, sorted({min(counts), max(counts)})))


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _captions(results: Mapping[str, Any]) -> Iterator[str]:
    """Columns of one kind of average on one line, with what they are."""
    definition = results["definition"]
    alike: dict[tuple[str, str], list[str]] = {}
    for metric in shown_metrics(results):
        kind = UNITS[metric], definition["aggregation"][metric]
        alike.setdefault(kind, []).append(LABELS[metric])
    for (unit, how), labels in alike.items():
        yield f"{', '.join(labels)} in {unit}: {how}"
    count = len(results["tracks"])
    subsets = "" if definition["split"] == "all" else f", {definition['split']}"
    yield (
        f"{count} track{'s' * (count != 1)}{subsets}; silence: "
        f"{definition['silence'].partition(':')[0]}; windows: scored of all"
    )
    rows = results["scores"].values()
    share = min((r["windows_scored"] / max(r["windows"], 1) for r in rows), default=1)
    if share < 0.5 and not definition["silence"].startswith("source"):
        yield (
            "A window in which any class is silent counts for none of them, as in "
            "museval; --silence source scores each class by itself."
        )
