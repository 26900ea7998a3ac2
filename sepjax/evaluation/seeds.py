"""Mean and spread of the scores of several seeds of one configuration."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sepjax.evaluation.averages import mean_and_deviation
from sepjax.evaluation.results import read_results
from sepjax.evaluation.tables import cell, scores_of
from sepjax.registry import aligned
from sepjax.storage import write_json

COLUMNS = ("model", "improvement", "mixture", "oracle")


def combine(results: Sequence[dict[str, Any]], metric: str = "si_sdr") -> dict:
    """Return the content of ``band.json``, from the ``results.json`` of every seed.

    It is the ``definition`` common to all, ``seeds``, and for each of ``COLUMNS``
    ``{class: {"mean", "sd", "values"}}`` in dB, ``"mean"`` among the classes: the mean
    over classes of each seed. The deviation is that of a sample.

    Raises:
        ValueError: the scores are of different definitions.

    Example:
        >>> def scores(seed, value):
        ...     each = {"bass": {"si_sdr": value}}
        ...     mean = {c: {"si_sdr": value} for c in COLUMNS}
        ...     return {"definition": {"seed": seed}, "mean": mean, **{
        ...         c: each for c in COLUMNS}}
        >>> band = combine([scores(1, 2.0), scores(2, 4.0)])
        >>> band["seeds"], band["model"]["bass"]["mean"]
        ([1, 2], 3.0)
    """
    definitions = [dict(one.get("definition", {})) for one in results]
    seeds = [definition.pop("seed", None) for definition in definitions]
    if any(definition != definitions[0] for definition in definitions):
        raise ValueError(
            "these seeds were scored by different definitions or on other "
            "data: score them again with --mode=evaluate"
        )
    band: dict[str, Any] = {"definition": definitions[0], "seeds": seeds}
    for column in COLUMNS:
        tables = [scores_of(one, column, metric) for one in results]
        band[column] = {}
        for name in tables[0]:
            values = [table.get(name, math.nan) for table in tables]
            mean, spread = map(float, mean_and_deviation(values))
            band[column][name] = {"mean": mean, "sd": spread, "values": values}
    return band


def summarize_band(workdir: Path, folders: Sequence[Path]) -> str:
    """Write ``band.json`` of the runs of several seeds; returns a table to print."""
    results = [read_results(one / "results.json") for one in folders]
    band = combine(results)
    write_json(workdir / "band.json", band)
    tracks = results[0].get("tracks", ())
    seen = sum(bool(track.get("seen")) for track in tracks)
    count = f", SEEN: {seen} of {len(tracks)} tracks" if seen else ""
    rows = [["class", "model", "improvement"]]
    for name in band["model"]:
        cells = (band[column][name] for column in rows[0][1:])
        rows.append([name, *(f"{cell(c['mean'])} ± {cell(c['sd'])}" for c in cells)])
    title = f"SI-SDR (dB), mean ± deviation over {len(band['seeds'])} seeds{count}"
    return f"{title}\n{aligned(rows)}"
