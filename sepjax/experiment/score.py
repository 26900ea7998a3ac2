"""The scores of a run's best checkpoint: measured, printed, written, on its page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from sepjax.evaluation.run import evaluate
from sepjax.evaluation.tables import summary
from sepjax.report import write_report
from sepjax.report.figures.boxes import write_plots
from sepjax.train.checkpoint import describe, load
from sepjax.train.provenance import provenance


def score(
    folder: Path, config: Any, data: Any, protocol: Any = None, ready: Any = None
) -> bool:
    """Score a run's best checkpoint on ``config.eval.split``; print, write, report.

    Args:
        folder: the run.
        config: its configuration, whose ``eval`` section may be another.
        data: where the tracks come from, as ``data_pipelines.pipeline.open_data``.
        protocol: what is measured; as the configuration says where None.
        ready: model and variables that are no run's: the folder takes their scores.

    Returns:
        Whether every track could be scored. In a distributed run all processes call
        this and score their part; the first one prints, writes and knows of failures.
    """
    split = config.eval.split
    part = slice(jax.process_index(), None, jax.process_count())
    scored: dict[str, Any] = {"data_sha256": data.digest}
    if ready:
        (model, variables), seen = ready, {}
        unknown = "nobody has told what the weights have heard" if variables else ""
        origin = provenance(data.digest, config.seed)
    else:
        model, variables, _ = load(folder)
        stored = describe(folder)
        origin = stored["provenance"]
        seen, unknown = heard(origin, data)
        scored["checkpoint"] = stored["best"]
    if files := getattr(data, "distributed", None):
        scored["recorded_rate"] = files.sample_rate
    results = evaluate(
        model,
        variables,
        config,
        data.tracks(split, part),
        workdir=folder,
        seen=seen,
        seen_unknown=unknown,
        provenance=origin | scored,
        total=len(data.manifest.split(split)[part]),
        part=part,
        protocol=protocol,
    )
    if results is None:
        return True
    write_plots(folder / "plots", results)
    print(summary(results))
    print(f"report: {write_report(folder)}")
    return not results["failed"]


def heard(provenance: Mapping[str, Any], data: Any) -> tuple[Mapping[str, str], str]:
    """Return the tracks that a model was trained on, and why there may be others."""
    if provenance.get("data_sha256", data.digest) != data.digest:
        # Names and splits of this set say nothing about what the model has heard.
        return {}, "the model was trained on other data than it is scored on"
    start = provenance.get("pretrained")
    if start and start.get("data_sha256") != data.digest:
        return data.seen, f"it starts from {start['run']}, trained on other data"
    return data.seen, ""
