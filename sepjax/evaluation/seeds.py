"""Mean and spread of the scores of several seeds of one configuration."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.storage import write_json

COLUMNS = ("model", "improvement", "mixture", "oracle")


def combine(results: Sequence[dict[str, Any]], metric: str = "si_sdr") -> dict:
    """What ``band.json`` holds, from the ``results.json`` of every seed.

    Returns:
        ``definition`` common to all, ``seeds``, and for each column (model,
        improvement, mixture, oracle) ``{class: {"mean", "sd", "values"}}`` in decibels,
        ``"mean"`` among the classes: the mean over classes of each seed. The deviation
        is that of a sample, dB.

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
    definitions = [dict(one["definition"]) for one in results]
    seeds = [definition.pop("seed") for definition in definitions]
    if any(definition != definitions[0] for definition in definitions):
        raise ValueError(
            "these seeds were scored by different definitions or on other "
            "data: score them again with --mode=evaluate"
        )
    band: dict[str, Any] = {"definition": definitions[0], "seeds": seeds}
    for column in COLUMNS:
        tables = [one[column] | {"mean": one["mean"][column]} for one in results]
        band[column] = {
            name: _spread([table[name][metric] for table in tables])
            for name in tables[0]
        }
    return band


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = np.array([np.nan if value is None else value for value in values], float)
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return {"mean": float(np.mean(known)), "sd": spread, "values": known.tolist()}


def summarize_band(workdir: Path, folders: Sequence[Path]) -> str:
    """Write ``band.json`` of the runs of several seeds; returns a table to print."""
    results = [json.loads((one / "results.json").read_text()) for one in folders]
    band = combine(results)
    write_json(workdir / "band.json", band)
    tracks = results[0].get("tracks", ())
    seen = sum(bool(track.get("seen")) for track in tracks)
    count = f", SEEN: {seen} of {len(tracks)} tracks" if seen else ""
    lines = [
        f"SI-SDR (dB), mean ± deviation over {len(band['seeds'])} seeds{count}",
        f"{'class':18s} {'model':>15s} {'improvement':>15s}",
    ]
    for name in band["model"]:
        cells = (band[column][name] for column in ("model", "improvement"))
        text = (f"{c['mean']:8.2f} ± {c['sd']:.2f}" for c in cells)
        lines.append(f"{name:18s} " + " ".join(f"{cell:>15s}" for cell in text))
    return "\n".join(lines)
