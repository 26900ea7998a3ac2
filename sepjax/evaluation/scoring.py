"""One track, one row of scores: the only loop over tracks, and what becomes of rows.

A run and two folders are two ways to get :class:`Track`. ``docs/evaluate.md`` describes
the results, which are the same for both.
"""

import functools
import math
import operator
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from data_pipelines.workers import end_with_parent, reason, run_jobs
from sepjax.evaluation.averages import mean, median
from sepjax.evaluation.metrics import LEAKAGE, METRICS, measure, same, without_rounding
from sepjax.evaluation.protocol import Protocol
from sepjax.inference.process import keep_programs

MAIN = "model"  # the column of the estimates that are scored, whoever made them
COLUMNS = (MAIN, "mixture", "oracle")
CLEAN = (MAIN, "mixture", "recorded")  # of live music, against what was played

Scores = Mapping[str, Mapping[str, float]]  # class -> metric -> value


class Track(NamedTuple):
    """A song with its estimates, in the order of ``classes``."""

    name: str
    sample_rate: int  # Hz
    classes: tuple[str, ...]
    references: np.ndarray  # (sources, time, channels), full scale 1
    estimates: Mapping[str, np.ndarray]  # column -> the same shape
    mixture: np.ndarray | None = None  # (time, channels); the references' sum if None
    clean: np.ndarray | None = None  # references of the columns "clean/..."
    facts: Mapping[str, Any] = {}  # taken over into the row
    notes: tuple[str, ...] = ()  # what was done to the estimates


def score_track(track: Track, protocol: Protocol) -> dict[str, Any]:
    """Measure all scores of one track.

    Returns:
        ``name``, its facts, ``sample_rate``, ``channels``, ``seconds``, ``notes``; for
        each column class -> metric -> value with the numbers of ``windows`` and
        ``windows_scored``; and the values of all ``windows`` of the estimates. ISR,
        SIR, SAR and leakage are those of the column "model" alone.

    Raises:
        ValueError: the waveforms cannot be scored.
    """
    frames, channels = track.references.shape[1:]
    rate = track.sample_rate
    mixture = track.references.sum(0) if track.mixture is None else track.mixture
    facts = {n: getattr(protocol, n) for n in ("silence", "zero_mean", "channels")}
    facts["mixture"] = mixture
    # A folder of a single class has no mixture that could tell what else sounded.
    known = track.mixture is not None or len(track.classes) > 1
    alone = np.array([known and same(wave, mixture) for wave in track.references])
    facts |= {"sample_rate": rate, "window": int(protocol.window_seconds * rate)}
    row = {"name": track.name, **track.facts, "sample_rate": rate}
    row |= {"channels": channels, "seconds": frames / rate, "notes": [*track.notes]}
    for column, estimates in track.estimates.items():
        names = protocol.columns if column == MAIN else protocol.quick
        facts["filters"] = protocol.filters if {"isr", "sir", "sar"} & {*names} else 0
        truth = track.clean if column.startswith("clean/") else track.references
        # SDR always: it costs next to nothing, and counts the windows.
        values, notes = measure(truth, estimates, dict.fromkeys(("sdr", *names)), facts)
        row["notes"] += notes
        copies = np.array([*map(same, truth, estimates)])
        baseline = not column.endswith(MAIN)
        values = without_rounding(values, baseline, copies, alone)
        row[column] = {}
        for index, name in enumerate(track.classes):
            scores = {metric: median(values[metric][index].ravel()) for metric in names}
            known = ~np.isnan(values["sdr"][index])
            counts = {"windows": len(known), "windows_scored": int(known.sum())}
            row[column][name] = scores | counts
        if column == MAIN:
            row["windows"] = {
                name: {m: v[index].tolist() for m, v in values.items() if v.ndim > 1}
                for index, name in enumerate(track.classes)
            }
    return row


def score_all(
    items: Iterable[Any],
    load: Callable[[Any], Track],
    protocol: Protocol,
    *,
    jobs: int = 1,
    threads: int = 1,
    total: int = 0,
    progress: bool = False,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the place and row of every track, as soon as its scores are known.

    A row is that of :func:`score_track`, or ``{"error": text}``: a track that fails
    does not stop the others.

    Args:
        items: what ``load`` makes a :class:`Track` of, one at a time.
        load: reads or separates.
        protocol: what is measured.
        jobs: processes; with more than one, items and ``load`` are pickled.
        threads: of a single process.
        total: number of items.
        progress: show a bar with the expected time on stderr.
    """
    began, count = time.monotonic(), total or operator.length_hint(items)
    log = functools.partial(print, file=sys.stderr, flush=True)
    if plain := progress and not sys.stderr.isatty():  # no bar shows it
        names, tracks = ", ".join(protocol.metrics), f"track{'s' * (count != 1)}"
        log(f"evaluate: scoring {count} {tracks} by {names}")
    work = functools.partial(_score, load, protocol), _Counted(items, total), "evaluate"
    options: dict[str, Any] = {"unit": "track", "progress": progress}
    options["workers"] = threads
    if jobs > 1:
        facts = jax.config.jax_compilation_cache_dir, {**METRICS}
        start = functools.partial(_start_worker, *facts)
        options |= {"workers": jobs, "start": start, "again": True}
    for index, row, error in run_jobs(*work, **options):
        yield index, row if error is None else {"error": reason(error)}
    if plain:
        log(f"evaluate: done in {time.monotonic() - began:.1f} s")


class _Counted:
    """Jobs that are read one after the other; their number is known before."""

    def __init__(self, items: Iterable[Any], total: int):
        self.items, self.total = items, total

    def __iter__(self) -> Iterator[tuple[Any]]:
        return ((item,) for item in self.items)

    def __len__(self) -> int:
        return self.total


def _score(load: Callable[[Any], Track], protocol: Protocol, item: Any) -> dict:
    return score_track(load(item), protocol)


def _start_worker(cache: str | None, metrics: Mapping[str, Any]) -> None:
    end_with_parent()
    METRICS.update(metrics)  # those of a user's file, too
    # Many processes would quarrel about the memory of an accelerator.
    jax.config.update("jax_platforms", "cpu")
    if cache:
        keep_programs(cache)


def summarize(tracks: Sequence[Scores], protocol: Protocol) -> dict[str, dict]:
    """Averages over tracks of one column, of which each metric has its own.

    Returns class -> ``{metric: average, metric_median: median, metric_tracks: tracks
    that count}`` and ``tracks``, ``windows``, ``windows_scored``.

    Example:
        >>> from sepjax.evaluation.protocol import make_protocol
        >>> songs = [{"bass": {"usdr": 1.0}}, {"bass": {"usdr": math.nan}}]
        >>> summarize(songs, make_protocol("mdx"))
        {'bass': {'usdr': 1.0, 'usdr_median': 1.0, 'usdr_tracks': 1, 'tracks': 1}}
    """
    summary: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for track in tracks for name in track):
        rows = [track[name] for track in tracks if name in track]
        counts = [key for key in ("windows", "windows_scored") if key in rows[0]]
        metrics = [key for key in rows[0] if key not in counts]
        row = summary.setdefault(name, {})
        for metric in metrics:
            values = [score[metric] for score in rows]
            average = median if protocol.median(metric) else mean
            row |= {metric: average(values), f"{metric}_median": median(values)}
            row[f"{metric}_tracks"] = sum(not math.isnan(value) for value in values)
        sounding = [row[f"{m}_tracks"] for m in metrics if not METRICS[m].silence]
        row["tracks"] = max(sounding, default=len(rows))
        row |= {key: sum(score[key] for score in rows) for key in counts}
    return summary


def difference(scores: Scores, baseline: Scores) -> Scores:
    """``scores - baseline`` of the metrics that both have, for every class.

    Example:
        >>> difference({"bass": {"usdr": 3.0, "sir": 1.0}}, {"bass": {"usdr": 1.0}})
        {'bass': {'usdr': 2.0}}
    """
    return {
        name: {
            metric: value - baseline[name][metric]
            for metric, value in values.items()
            if metric in baseline[name] and metric in METRICS
        }
        for name, values in scores.items()
    }


def summaries(tracks: Sequence[Mapping[str, Any]], protocol: Protocol) -> dict:
    """Averages of all columns, the improvement over the mixture, and means of classes.

    Returns column -> class -> metric, and under ``"mean"`` column -> metric: the mean
    over classes. What live music scores against what was played is under ``"clean"``.
    """
    tables = {
        column: [track[column] for track in tracks]
        for column in (*COLUMNS, *(f"clean/{column}" for column in CLEAN))
        if tracks and column in tracks[0]
    }
    if "mixture" in tables:
        tables["improvement"] = [*map(difference, tables[MAIN], tables["mixture"])]
    results: dict[str, Any] = {MAIN: {}, "mean": {}}
    for column, rows in tables.items():
        home, _, name = column.rpartition("/")
        target = results.setdefault(home, {"mean": {}}) if home else results
        target[name] = summarize(rows, protocol)
        target["mean"][name] = {
            metric: mean(row[metric] for row in target[name].values())
            for metric in next(iter(target[name].values()), {})
            if metric in METRICS and metric != LEAKAGE
        }
    return results


def make_results(
    rows: Iterable[Mapping[str, Any]],
    protocol: Protocol,
    definition: Mapping[str, Any],
    provenance: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Return the content of ``results.json`` from the rows of all tracks in order."""
    rows = list(rows)
    scored = [row for row in rows if "error" not in row]
    return {
        "definition": protocol.definition() | dict(definition),
        **summaries(scored, protocol),
        "tracks": scored,
        "failed": [row for row in rows if "error" in row],
        "provenance": dict(provenance),
    } | {key: value for key, value in more.items() if value}
