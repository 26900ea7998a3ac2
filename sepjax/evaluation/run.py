"""Score a model on whole tracks, beside the untouched mixture and the oracle."""

import functools
import operator
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation import masks as oracle
from sepjax.evaluation.device import float64_device
from sepjax.evaluation.excerpts import Collector
from sepjax.evaluation.exchange import Rows, bring_together
from sepjax.evaluation.protocol import Protocol, make_protocol
from sepjax.evaluation.score_files import json_tree, write_scores
from sepjax.evaluation.scoring import CLEAN, COLUMNS, Track, make_results, score_all
from sepjax.inference.separate import separate


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
    protocol: Protocol | None = None,
) -> dict[str, Any] | None:
    """Score every track, write the files of scores and the excerpts in ``audio/``.

    Args:
        model: as for :func:`sepjax.separate`; an ideal mask is given the references.
        variables: its parameters.
        config: a :class:`sepjax.config.Config`; ``config.eval`` counts.
        tracks: with ``name``, ``sample_rate``, ``classes``, ``mixture (time,
            channels)`` and ``references (sources, time, channels)``.
        workdir: the run folder.
        seen: names of tracks that the model was trained on, perhaps with the reason.
        seen_unknown: why it is not known of the others.
        provenance: where model and data come from; written along.
        total: number of tracks, where ``len`` cannot tell.
        progress: show a bar with the expected time on stderr.
        part: which tracks of the split these are: process p of P of a distributed run
            gives ``slice(p, None, P)``.
        protocol: what is measured; :func:`run_protocol` by default.

    Returns:
        What was written to ``results.json``. A track that fails does not stop the
        others: it is reported and listed with its error under ``"failed"``. None where
        ``p > 0``: the first process writes the results of all.

    Raises:
        ValueError: there is no track to score, or no device that has float64.
    """
    float64_device()  # one error rather than one for each track
    workdir, protocol = Path(workdir), protocol or run_protocol(config)
    collector = Collector(config.eval.excerpts, config.eval.excerpt_seconds)
    names: list[str] = []

    def load(track: Any) -> Track:
        place = part.start + part.step * len(names)
        names.append(track.name)
        offer = functools.partial(collector.add, place, track.name)
        song = separate_track(model, variables, config, track, offer)
        return song._replace(facts=_seen(track.name, seen))

    rows: Rows = {}
    total = total or operator.length_hint(tracks)
    options = {"total": total, "progress": progress and not part.start}
    for index, row in score_all(tracks, load, protocol, **options):
        rows[part.start + part.step * index] = {"name": names[index]} | row
        if "error" in row and not part.start:
            text = f"track {names[index]!r} could not be scored: {row['error']}"
            print(text, file=sys.stderr)
    if not bring_together(rows, collector, workdir, part):
        return None
    if not rows:
        raise ValueError(f"split {config.eval.split!r} has no track to score")
    about = definition(config, provenance), provenance
    ordered = [rows[place] for place in sorted(rows)]
    results = make_results(ordered, protocol, *about, seen_unknown=seen_unknown)
    collector.write(workdir / "audio")
    write_scores(workdir, results)
    return json_tree(results)


def run_protocol(config: Any, preset: str = "", **changes: Any) -> Protocol:
    """How a run is scored: by ``config.eval.metrics``, or by a preset; with changes."""
    if not preset:
        changes = {"metrics": config.eval.metrics} | changes
    return make_protocol(preset or "museval", **changes)


def definition(config: Any, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a run's numbers depend on, beside the protocol."""
    rate = config.data.sample_rate
    size = oracle.fft_size(rate)
    rescaled = "least squares onto the mixture, per channel"
    facts = config.eval
    estimates = {"chunk_seconds": facts.chunk_seconds, "overlap": facts.overlap}
    estimates["rescale"] = rescaled if facts.rescale else "none"
    return {
        "improvement": "the model's score minus that of the mixture, per track",
        "estimates": estimates,
        "mixture": "the mixture itself as the estimate of every class",
        "oracle": {
            "mask": "ideal ratio mask |Y_j|^p / sum_k |Y_k|^p of the references",
            **{"power": config.eval.oracle_power, "n_fft": size, "hop": size // 2},
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
    named = {"drawn_from": "the track's name", "references": live.targets}
    if live.targets == "recorded":
        text = "the same estimates against what was played; 'recorded': the recorded "
        named["clean"] = text + "stems as estimates of it"
    named["own_recordings"] = [folder for folder in folders if folder]
    return {"live": named | bounds}


def _seen(name: str, seen: Collection[str] | Mapping[str, str]) -> dict[str, Any]:
    why = seen.get(name) if isinstance(seen, Mapping) else None
    return {"seen": name in seen} | ({"seen_because": why} if why else {})


def separate_track(
    model: Any, variables: Any, config: Any, track: Any, offer: Callable[..., None]
) -> Track:
    """Return a track with the model's estimates, beside mixture and ideal masks.

    Arguments as :func:`evaluate`; a track of live music has ``clean``, what was played.
    ``offer`` is given sample rate, classes, mixture, references and estimates.

    Raises:
        ValueError: the track lacks a class of the model.
    """
    missing = set(model.sources) - set(track.classes)
    if missing:
        raise ValueError(f"no reference of the classes {', '.join(sorted(missing))}")
    names, mixture, rate = tuple(model.sources), track.mixture, track.sample_rate
    order = [track.classes.index(name) for name in names]
    references = track.references[order]
    how = {"chunk": config.eval.chunk_seconds, "overlap": config.eval.overlap}
    how |= {"normalize": config.data.normalize, "rescale": config.eval.rescale}
    how |= {"sample_rate": rate, "references": references}
    stems = separate(model, variables, mixture, **how)
    estimates = np.stack([stems[name] for name in names])
    how = {"power": config.eval.oracle_power, "n_fft": oracle.fft_size(rate)}
    masked = oracle.ideal_ratio_mask(references, mixture, **how)
    untouched = np.broadcast_to(mixture, references.shape)
    columns = dict(zip(COLUMNS, (estimates, untouched, masked)))
    if (clean := getattr(track, "clean", None)) is not None:
        clean = clean[order]
        waves = zip(CLEAN, (estimates, untouched, references))
        columns |= {f"clean/{column}": wave for column, wave in waves}
    offer(rate, names, mixture, references, estimates)
    return Track(track.name, rate, names, references, columns, mixture, clean)
