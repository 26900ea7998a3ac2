"""Score a folder of estimates against a folder of references, tracks in parallel.

A process holds the audio of one track at a time, and gives back nothing but numbers.
"""

import hashlib
import math
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data_pipelines.workers import processors, reason, run_jobs
from sepjax.evaluation.bss import bss_eval, sdr_frames
from sepjax.evaluation.bss.windows import windows
from sepjax.evaluation.folders.pairing import Pair, pair_tracks
from sepjax.evaluation.folders.reading import LoadedPair, read_pair
from sepjax.evaluation.protocol import LEAKAGE, WHOLE, WINDOWED, Protocol
from sepjax.evaluation.si_sdr import si_sdr, usdr

MOST_JOBS = 4  # by default: each holds a whole track in memory


def evaluate_folders(
    references: Path,
    estimates: Path,
    protocol: Protocol,
    *,
    classes: Sequence[str] = (),
    jobs: int = 0,
    progress: bool = True,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Score every song that both folders have.

    Args:
        references: folder of the true stems, in a layout of
            :mod:`sepjax.evaluation.folders.pairing`.
        estimates: folder of the separated stems.
        protocol: what is measured, :func:`sepjax.evaluation.protocol.make_protocol`.
        classes: the only classes to score; all that are in both folders otherwise.
        jobs: processes; 0 for one per processor, at most four.
        progress: show a bar with the expected time on stderr.
        provenance: where the numbers come from; written along.

    Returns:
        ``{"definition", "scores": {class: {metric: value}}, "mean", "tracks",
        "failed", "remarks", "provenance"}``. A track that fails does not stop the
        others: it is listed with its error under ``"failed"``. Every track has
        ``"scores"`` and, for curves over time, ``"windows"``: arrays of each windowed
        metric.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: nothing in the folders has a partner.
    """
    if jobs < 0:
        raise ValueError(f"jobs={jobs} must be at least 1, or 0 for one per processor")
    pairs, remarks = pair_tracks(Path(references), Path(estimates), classes)
    tracks: dict[int, dict[str, Any]] = {}
    failed: dict[int, dict[str, str]] = {}
    work = [(pair, protocol) for pair in pairs]
    options = {"unit": "track", "progress": progress, "start": _start_worker}
    options |= {"workers": jobs or processors(MOST_JOBS), "again": True}
    for index, scores, error in run_jobs(score_pair, work, "evaluate", **options):
        if error is None:
            tracks[index] = scores
        else:
            failed[index] = {"name": pairs[index].title, "error": reason(error)}
    scored = [tracks[index] for index in sorted(tracks)]
    scores = summarize(scored, protocol)
    return {
        "definition": protocol.definition() | _data(scored, scores),
        "scores": scores,
        "mean": _mean_over_classes(scores, protocol),
        "tracks": scored,
        "failed": [failed[index] for index in sorted(failed)],
        "remarks": list(remarks),
        "provenance": {
            "references": str(references),
            "estimates": str(estimates),
            **(provenance or {}),
        },
    }


# --- one track -------------------------------------------------------------------


def score_pair(pair: Pair, protocol: Protocol) -> dict[str, Any]:
    """Read and score one song.

    Raises:
        ValueError: its files are broken or do not belong together.
    """
    loaded = read_pair(pair)
    rate, frames = loaded.sample_rate, loaded.references.shape[1]
    size = int(protocol.window_seconds * rate)
    curves, notes = _windowed(loaded, protocol, size)
    leaks = leakage(loaded.references, loaded.estimates, windows(frames, size, size))
    scores = {}
    for index, name in enumerate(loaded.classes):
        waves = loaded.references[index], loaded.estimates[index]
        scores[name] = _whole(*waves, protocol)
        for metric in set(protocol.metrics) & set(WINDOWED):
            scores[name][metric] = median(curves[name][metric])
        scores[name][LEAKAGE] = float(leaks[index])
        scores[name] = {metric: scores[name][metric] for metric in protocol.columns}
        scores[name]["windows"] = len(curves[name]["sdr"])
        scores[name]["windows_scored"] = int((~np.isnan(curves[name]["sdr"])).sum())
    return {
        "name": pair.name,
        "subset": pair.subset,
        "title": pair.title,
        "sample_rate": rate,
        "channels": loaded.references.shape[2],
        "seconds": frames / rate,
        "scores": scores,
        "notes": [*loaded.notes, *notes],
        "references_sha256": loaded.sha256,
        "windows": curves,
    }


def _whole(
    reference: np.ndarray, estimate: np.ndarray, protocol: Protocol
) -> dict[str, float]:
    if not reference.any():
        return dict.fromkeys(WHOLE, math.nan)
    options = {"zero_mean": protocol.zero_mean, "channels": protocol.channels}
    return {
        "si_sdr": float(si_sdr(reference, estimate, **options)),
        "usdr": float(usdr(reference, estimate)),
    }


def _windowed(
    loaded: LoadedPair, protocol: Protocol, size: int
) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:
    """Scores of every window; SDR always, for it costs next to nothing."""
    waves, options = (
        (loaded.references, loaded.estimates),
        {"window": size, "hop": size},
    )
    options["silence"] = protocol.silence
    if not protocol.needs_filters:
        curves = {"sdr": sdr_frames(*waves, **options)}
        return _by_class(curves, loaded.classes), []
    result = bss_eval(*waves, filters=protocol.filters, **options)
    curves = {metric: np.asarray(getattr(result, metric)) for metric in WINDOWED}
    if len(loaded.classes) == 1:
        curves["sir"] = np.full_like(curves["sir"], np.nan)  # nothing could interfere
    notes = []
    if result.ill_conditioned or result.near_singular:
        notes.append("references nearly dependent: ISR, SIR and SAR are approximate")
    return _by_class(curves, loaded.classes), notes


def _by_class(
    curves: Mapping[str, np.ndarray], classes: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    return {
        name: {metric: values[index] for metric, values in curves.items()}
        for index, name in enumerate(classes)
    }


def leakage(
    reference: np.ndarray, estimate: np.ndarray, parts: Iterable[slice]
) -> np.ndarray:
    r"""Level of the estimate where the reference is silent, in dBFS.

    :math:`10 \log_{10}` of the mean of :math:`\hat s^2` over all samples of the windows
    in which the reference is all zeros, so that a square wave of full scale has 0 dBFS.

    Args:
        reference: ``(sources, time, channels)``, full scale 1.
        estimate: same shape.
        parts: the windows.

    Returns:
        ``(sources,)``, NaN where the reference is silent in no window, minus infinity
        where the estimate is as silent.

    Example:
        >>> reference, estimate = np.zeros((1, 4, 1)), np.full((1, 4, 1), 0.1)
        >>> reference[:, 2:] = 1.0
        >>> leakage(reference, estimate, [slice(0, 2), slice(2, 4)]).round(2)
        array([-20.])
    """
    energy, samples = np.zeros(len(reference)), np.zeros(len(reference))
    for part in parts:
        silent = ~reference[:, part].any((1, 2))
        heard = estimate[silent, part].astype(np.float64)
        energy[silent] += np.square(heard).sum((1, 2))
        samples[silent] += heard[0].size if silent.any() else 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(energy / samples)


def _start_worker() -> None:
    # Ctrl-C ends the workers without a word; and many processes would quarrel about
    # the memory of an accelerator.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    jax.config.update("jax_platforms", "cpu")


# --- averages --------------------------------------------------------------------


def median(values: Iterable[float]) -> float:
    """Median of what is not NaN; infinities keep their rank.

    Example:
        >>> median([1.0, math.nan, 3.0, math.inf])
        3.0
    """
    known = sorted(value for value in values if not math.isnan(value))
    if not known:
        return math.nan
    low, high = known[(len(known) - 1) // 2], known[len(known) // 2]
    return float(low if low == high else (low + high) / 2)


def mean(values: Iterable[float]) -> float:
    """Mean of what is not NaN.

    Example:
        >>> mean([1.0, math.nan, 3.0])
        2.0
    """
    known = [value for value in values if not math.isnan(value)]
    return float(sum(known) / len(known)) if known else math.nan


def summarize(
    tracks: Sequence[Mapping[str, Any]], protocol: Protocol
) -> dict[str, dict[str, Any]]:
    """Averages over tracks by class, beside the numbers of tracks and windows."""
    names = dict.fromkeys(name for track in tracks for name in track["scores"])
    summary: dict[str, dict[str, Any]] = {}
    for name in names:
        rows = [t["scores"][name] for t in tracks if name in t["scores"]]
        row = summary[name] = {}
        for metric in protocol.columns:
            values = [score[metric] for score in rows]
            average = mean if "mean" in protocol.aggregation(metric) else median
            row[metric] = average(values)
            row[f"{metric}_tracks"] = sum(not math.isnan(value) for value in values)
        row["tracks"] = max(row[f"{metric}_tracks"] for metric in protocol.metrics)
        for count in ("windows", "windows_scored"):
            row[count] = sum(score[count] for score in rows)
    return summary


def _mean_over_classes(
    scores: Mapping[str, Mapping[str, float]], protocol: Protocol
) -> dict[str, float]:
    return {
        metric: mean(row[metric] for row in scores.values())
        for metric in protocol.metrics
    }


def _data(
    tracks: Sequence[Mapping[str, Any]], classes: Iterable[str]
) -> dict[str, Any]:
    """The part of the definition that is of the data."""
    ordered = sorted(tracks, key=lambda track: track["title"])
    digests = "\n".join(track["references_sha256"] for track in ordered)
    subsets = sorted({track["subset"] for track in tracks} - {""})
    return {
        "split": ", ".join(subsets) or "all",
        "tracks": len(tracks),
        "classes": list(classes),
        "sample_rate": sorted({track["sample_rate"] for track in tracks}),
        "data_sha256": hashlib.sha256(digests.encode()).hexdigest(),
    }
