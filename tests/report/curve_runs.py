"""Run folders with nothing but a configuration and rising curves."""

import json
from pathlib import Path

import numpy as np

from sepjax.config import Config, to_dict
from sepjax.models.tasnet.config import TasNetConfig

SOURCES = ("drums", "bass", "other", "vocals")


def write_curves(
    folder: Path,
    name: str,
    *,
    seed: int = 42,
    batch: int = 12,
    level: float = 0.0,
    sources: tuple[str, ...] = SOURCES,
    data: str = "5a" * 32,
    steps: int = 4580,
    every: int = 458,
    **model: object,
) -> Path:
    """Write configuration and metrics; the first class ends at about ``level``."""
    folder.mkdir(parents=True)
    config = Config(model=TasNetConfig(), name=name, seed=seed)
    config.data.sources = config.model.sources = sources
    config.train.batch_size, config.train.steps = batch, steps
    for field, value in model.items():
        setattr(config.model, field, value)
    tree = {**to_dict(config), "provenance": {"data_sha256": data, "seed": seed}}
    (folder / "config.json").write_text(json.dumps(tree))
    rng = np.random.default_rng([seed, *name.encode()])
    lines = []
    for step in range(every, steps + 1, every):
        rise = level - 9 * np.exp(-4 * step / steps)
        scores = {
            f"si_sdr/{source}": float(rise + 1.7 * index + rng.normal(0, 0.18))
            for index, source in enumerate(sources)
        }
        loss = -float(np.mean(list(scores.values())))
        lines.append({"kind": "valid", "step": step, "loss": loss, **scores})
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder
