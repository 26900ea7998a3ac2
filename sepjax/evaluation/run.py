"""Score a model on whole tracks, beside the untouched mixture and the oracle."""

import functools
import itertools
import operator
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation import aggregate
from sepjax.evaluation import masks as oracle
from sepjax.evaluation.device import float64_device
from sepjax.evaluation.excerpts import Collector
from sepjax.evaluation.exchange import Rows, bring_together
from sepjax.evaluation.si_sdr import si_sdr, usdr
from sepjax.inference.separate import separate
from sepjax.storage import finite, write_json

COLUMNS = ("model", "mixture", "oracle")
METRICS = ("si_sdr", "usdr")


def evaluate(
    model: Any,
    variables: Any,
    config: Any,
    tracks: Iterable[Any],
    *,
    workdir: Path,
    seen: Collection[str] | Mapping[str, str] = (),
    seen_unknown: str = "",
    provenance: Mapping[str, Any],
    total: int = 0,
    progress: bool = True,
    part: slice = slice(0, None, 1),
) -> dict[str, Any] | None:
    """Score every track and write ``results.json`` and the excerpts in ``audio/``.

    Args:
        model: as for :func:`sepjax.separate`; an ideal mask
            (``model.needs_sources``) is given the references.
        variables: its parameters.
        config: a :class:`sepjax.config.Config`; ``config.eval`` counts.
        tracks: with ``name``, ``sample_rate``, ``classes``, ``mixture (time,
            channels)`` and ``references (sources, time, channels)``.
        workdir: the run folder.
        seen: names of the tracks that the model was trained on: they are marked.
            Their values, if they have any, say why: "same audio as train/...".
        seen_unknown: why it is not known of the others; written along and told.
        provenance: where model and data come from; written along.
        total: number of tracks, for the progress bar, where ``len`` cannot tell.
        progress: show a bar with the expected time on stderr.
        part: which tracks of the split these are: in a distributed run every process
            p of P calls this with ``slice(p, None, P)``.

    Returns:
        What was written to ``results.json``. A track that fails does not stop the
        others: it is reported and listed with its error under ``"failed"``. None where
        ``p > 0``: the first process writes the results of all.

    Raises:
        ValueError: there is no track to score, or no device that has float64.
    """
    float64_device()  # one error rather than one for each track
    workdir = Path(workdir)
    collector = Collector(config.eval.excerpts, config.eval.excerpt_seconds)
    rows: Rows = {}
    places = itertools.count(part.start, part.step)
    for place, track in zip(places, _bar(tracks, total, progress and not part.start)):
        offer = functools.partial(collector.add, place, track.name)
        rows[place] = {"name": track.name}
        try:
            scores = _score_track(model, variables, config, track, offer)
        except (ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
            rows[place]["error"] = str(error)
            if not part.start:
                text = f"track {track.name!r} could not be scored: {error}"
                print(text, file=sys.stderr)
        else:
            rows[place] |= _seen(track.name, seen) | scores
    if not bring_together(rows, collector, workdir, part):
        return None
    ordered = [rows[place] for place in sorted(rows)]
    scored = [row for row in ordered if "error" not in row]
    failed = [row for row in ordered if "error" in row]
    if not scored and not failed:
        raise ValueError(f"split {config.eval.split!r} has no track to score")
    results = {
        "definition": definition(config, provenance),
        **_summaries(scored),
        "tracks": scored,
        "failed": failed,
        "provenance": dict(provenance),
    } | ({"seen_unknown": seen_unknown} if seen_unknown else {})
    workdir.mkdir(parents=True, exist_ok=True)
    collector.write(workdir / "audio")
    write_json(workdir / "results.json", results)
    return finite(results)


def summary(results: Mapping[str, Any]) -> str:
    """The scores as plain text: what they are, the table, and what to beware of."""
    tracks, split = results["tracks"], results["definition"]["split"]
    count = f"{len(tracks)} track" + "s" * (len(tracks) != 1)
    lines = [
        f"SI-SDR in dB, mean over tracks (split {split}, {count})",
        aggregate.format_table(results),
    ]
    if "clean" in results:
        means = results["clean"]["mean"]
        lines.append(
            f"against what was played: model {means['model']['si_sdr']:.2f}, mixture "
            f"{means['mixture']['si_sdr']:.2f}, recorded stems "
            f"{means['recorded']['si_sdr']:.2f}"
        )
    marked = [_marked(track) for track in tracks if track["seen"]]
    if marked:
        lines.append(f"SEEN in training ({len(marked)}): {', '.join(marked)}")
    if unknown := results.get("seen_unknown"):
        lines.append(f"SEEN or not is unknown: {unknown}")
    lines += [f"FAILED {item['name']}: {item['error']}" for item in results["failed"]]
    return "\n".join(lines)


def definition(config: Any, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Everything one must know to compare a number with another."""
    rate = config.data.sample_rate
    return {
        "si_sdr": "10 log10(|a s|^2 / |a s - e|^2) dB with a = <e, s> / |s|^2, "
        "reference s, estimate e (thesis eq. 2.12)",
        "usdr": "10 log10((sum s^2 + 1e-7) / (sum (s - e)^2 + 1e-7)) dB",
        "improvement": "si_sdr of the model minus si_sdr of the mixture, per track",
        "window": "whole track",
        "channels": "flattened: one scale for all channels of a track",
        "zero_mean": False,
        "silence": "a class whose reference is all zeros in a track is not scored",
        "aggregation": "mean over the tracks in which the class sounds (*_median: "
        "median); 'mean': unweighted mean over classes",
        "estimates": {
            "chunk_seconds": config.eval.chunk_seconds,
            "overlap": config.eval.overlap,
            "rescale": "least squares onto the mixture, per channel"
            if config.eval.rescale
            else "none",
        },
        "mixture": "the mixture itself as the estimate of every class",
        "oracle": {
            "mask": "ideal ratio mask |Y_j|^p / sum_k |Y_k|^p of the references",
            "power": config.eval.oracle_power,
            "n_fft": oracle.fft_size(rate),
            "hop": oracle.fft_size(rate) // 2,
            "window": "periodic Hann, zeros beyond both ends",
        },
        "split": config.eval.split,
        "sample_rate": rate,
        "classes": list(config.data.sources),
        "dataset": config.data.dataset,
        "data_sha256": provenance.get("data_sha256"),
        "seed": config.seed,
        "commit": provenance.get("commit"),
    } | (_live_definition(config.live) if config.live.eval else {})


def _live_definition(live: Any) -> dict[str, Any]:
    bounds = {
        name: [getattr(live, f"{name}_low"), getattr(live, f"{name}_high")]
        for name in ("bleed", "reverb", "direct", "crowd")
    }
    folders = [live.impulse_responses, live.crowd_recordings]
    named = {"references": live.targets}
    if live.targets == "recorded":
        named["clean"] = "the same estimates against what was played; 'recorded': the "
        named["clean"] += "recorded stems as estimates of it"
    named |= {"own_recordings": list(filter(None, folders))}
    return {"live": {"drawn_from": "the track's name"} | named | bounds}


def _seen(name: str, seen: Collection[str] | Mapping[str, str]) -> dict[str, Any]:
    why = seen.get(name) if isinstance(seen, Mapping) else None
    return {"seen": name in seen} | ({"seen_because": why} if why else {})


def _marked(track: Mapping[str, Any]) -> str:
    why = track.get("seen_because")
    return f"{track['name']} ({why})" if why else track["name"]


def _bar(tracks: Iterable[Any], total: int, progress: bool) -> Iterable[Any]:
    if not progress:
        return tracks
    from tqdm import tqdm

    total = total or operator.length_hint(tracks)
    return tqdm(tracks, desc="evaluate", unit="track", total=total or None)


def _score_track(
    model: Any, variables: Any, config: Any, track: Any, offer: Callable[..., None]
) -> dict[str, dict[str, dict[str, float]]]:
    missing = set(model.sources) - set(track.classes)
    if missing:
        raise ValueError(f"no reference of the classes {', '.join(sorted(missing))}")
    order = [track.classes.index(name) for name in model.sources]
    references = track.references[order]
    separated = separate(
        model,
        variables,
        track.mixture,
        sample_rate=track.sample_rate,
        chunk=config.eval.chunk_seconds,
        overlap=config.eval.overlap,
        normalize=config.data.normalize,
        rescale=config.eval.rescale,
        references=references,
    )
    estimates = np.stack([separated[name] for name in model.sources])
    masked = oracle.ideal_ratio_mask(
        references,
        track.mixture,
        power=config.eval.oracle_power,
        n_fft=oracle.fft_size(track.sample_rate),
    )
    untouched = [track.mixture] * len(references)
    scores = {
        column: {
            name: _score(reference, estimate)
            for name, reference, estimate in zip(model.sources, references, waves)
        }
        for column, waves in zip(COLUMNS, (estimates, untouched, masked))
    }
    if (clean := getattr(track, "clean", None)) is not None:
        held = {"model": estimates, "mixture": untouched, "recorded": references}
        scores |= {
            f"clean/{column}": {
                name: _score(reference, estimate)
                for name, reference, estimate in zip(model.sources, clean[order], waves)
            }
            for column, waves in held.items()
        }
    waves = track.mixture, references, estimates
    offer(track.sample_rate, tuple(model.sources), *waves)
    return scores


def _score(reference: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    if not reference.any():
        return dict.fromkeys(METRICS, float("nan"))
    return {
        "si_sdr": float(si_sdr(reference, estimate)),
        "usdr": float(usdr(reference, estimate)),
    }


def _summaries(scored: list[dict[str, Any]]) -> dict[str, Any]:
    """Averages over tracks per class, and their means over classes."""
    columns = {
        column: aggregate.aggregate([track[column] for track in scored])
        for column in COLUMNS
    }
    columns["improvement"] = aggregate.aggregate(
        [
            aggregate.difference(track["model"], track["mixture"], "si_sdr")
            for track in scored
        ]
    )
    means = {
        column: {
            metric: aggregate.mean_over_classes(columns[column], metric)
            for metric in (METRICS if column in COLUMNS else ("si_sdr",))
        }
        for column in columns
    }
    return {**columns, "mean": means} | _clean_summaries(scored)


def _clean_summaries(scored: list[dict[str, Any]]) -> dict[str, Any]:
    """Of live music the same against what was played, beside what was recorded."""
    if not scored or "clean/model" not in scored[0]:
        return {}
    columns = {
        column: aggregate.aggregate([track[f"clean/{column}"] for track in scored])
        for column in ("model", "mixture", "recorded")
    }
    means = {
        column: {m: aggregate.mean_over_classes(table, m) for m in METRICS}
        for column, table in columns.items()
    }
    return {"clean": columns | {"mean": means}}
