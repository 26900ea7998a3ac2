"""A run folder as training and evaluation leave it, made of tones and noise."""

import json
from pathlib import Path

import numpy as np

from sepjax.config import Config, to_dict
from sepjax.evaluation.excerpts import Collector
from sepjax.evaluation.protocol import make_protocol
from sepjax.evaluation.scoring import summaries
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.storage import write_json

SOURCES = ("vocals", "electric guitar", "bass")


def write_fake_run(
    folder: Path,
    *,
    name: str = "demo",
    sources: tuple[str, ...] = SOURCES,
    sample_rate: int = 8000,
    seconds: float = 1.0,
    excerpts: int = 1,
    tracks: int = 4,
    steps: int = 1000,
    seen: int = 0,
) -> Path:
    """Write every file that a report reads, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    provenance = {
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "data_sha256": "5a" * 32,
        "device": "1 x cpu (cpu)",
        "parameters": 1_234_567,
        "versions": {"python": "3.11.2", "jax": "0.10.2"},
    }
    config = Config(model=TasNetConfig(), name=name)
    config.data.sources = config.model.sources = sources
    config.data.sample_rate = config.model.sample_rate = sample_rate
    config.train.steps = steps
    tree = {**to_dict(config), "provenance": provenance}
    (folder / "config.json").write_text(json.dumps(tree))
    _write_metrics(folder / "metrics.jsonl", rng, sources, steps)
    scored = _scored_tracks(rng, sources, tracks, seen)
    write_json(folder / "results.json", _results(scored, provenance))
    collector = Collector(excerpts, seconds)
    for index in range(excerpts):
        waves = fake_waves(rng, len(sources), round(seconds * sample_rate), sample_rate)
        name = scored[index % tracks]["name"]
        collector.add(index, name, sample_rate, sources, *waves)
    collector.write(folder / "audio")
    np.savez(folder / "filters.npz", **fake_filters(rng, sample_rate))
    shares = dict(channels=220, norm=0.5, deviation=8.25, weights=0.75, scaled=1 / 3)
    branch = {"branch": "encoder/conv_0", **shares, "arriving": None, "norms": [0.5]}
    write_json(folder / "branches.json", [branch])
    return folder


def fake_waves(
    rng: np.random.Generator, sources: int, time: int, sample_rate: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mixture, references and leaky estimates; every other class is tonal."""
    beat = np.exp(-((np.arange(time) / sample_rate * 3) % 1) * 6)
    references = np.stack(
        [
            beat * 0.2 * np.sin(np.arange(time) * 2 * np.pi * (index + 1) * 0.02)
            if index % 2 == 0
            else beat * rng.normal(0, 0.1, time)
            for index in range(sources)
        ]
    )[..., None]
    mixture = references.sum(0)
    return mixture, references, 0.8 * references + 0.15 * mixture


def fake_filters(rng: np.random.Generator, sample_rate: int) -> dict[str, np.ndarray]:
    """A filterbank that moved a little, and convolutions that noise started."""
    time = np.arange(1, 21)[:, None] / sample_rate
    centers = np.geomspace(80, 0.45 * sample_rate, 48)
    moved = centers * rng.normal(1.0, 0.06, 48)

    def bank(frequencies: np.ndarray) -> np.ndarray:
        width = 2 * np.pi * (25 + 0.1 * frequencies)
        return time * np.exp(-width * time) * np.cos(2 * np.pi * frequencies * time)

    noise = rng.uniform(-0.2, 0.2, (20, 64))
    learned = np.hanning(20)[:, None] * np.cos(
        2 * np.pi * rng.gamma(2.0, 350.0, 64) * time + rng.uniform(0, 6.3, 64)
    )
    return {
        "initial/encoder/filterbank": bank(centers),
        "final/encoder/filterbank": bank(moved),
        "initial/encoder/conv": noise,
        "final/encoder/conv": learned + 0.15 * noise,
    }


def _write_metrics(
    path: Path, rng: np.random.Generator, sources: tuple[str, ...], steps: int
) -> None:
    lines = []
    for step in range(10, steps + 1, 10):
        rise = 6 * (1 - np.exp(-step / steps * 4)) - 4
        line = {
            "kind": "train",
            "step": step,
            "loss": -rise - rng.normal(0.3, 1.2),
            "learning_rate": 1e-3 * 0.5 ** (step > 0.6 * steps),
            "grad_norm": 1.0,
            "seconds": step / 10,
        }
        lines.append(line)
        if step % (steps // 10) == 0:
            late = 0.4 if step == steps else 0.0
            scores = {
                f"si_sdr/{name}": rise + 1.5 * index - late + rng.normal(0, 0.15)
                for index, name in enumerate(sources)
            }
            loss = -float(np.mean(list(scores.values())))
            lines.append({"kind": "valid", "step": step, "loss": loss, **scores})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _scored_tracks(
    rng: np.random.Generator, sources: tuple[str, ...], tracks: int, seen: int
) -> list[dict]:
    """Tracks of which the first lacks the last class."""
    scored = []
    for index in range(tracks):
        columns: dict[str, dict] = {"mixture": {}, "model": {}, "oracle": {}}
        for order, name in enumerate(sources):
            silent = index == 0 and order == len(sources) - 1 and tracks > 1
            level = np.nan if silent else -2.0 - 2 * order + rng.normal(0, 1)
            for gain, column in zip((0.0, 3.5 + order, 9.0), columns):
                value = level + gain + rng.normal(0, 0.5)
                columns[column][name] = {"si_sdr": value, "usdr": value + 1.0}
        scored.append({"name": f"song {index + 1}", "seen": index < seen, **columns})
    return scored


def _results(scored: list[dict], provenance: dict) -> dict:
    return {
        "definition": {
            "si_sdr": "10 log10(|a s|^2 / |a s - e|^2) dB, a = <e, s> / |s|^2",
            "usdr": "10 log10((sum s^2 + 1e-7) / (sum (s - e)^2 + 1e-7)) dB",
            "improvement": "si_sdr of the model minus si_sdr of the mixture",
            "aggregation": "mean over the tracks in which the class sounds",
            "silence": "a class whose reference is all zeros is not scored",
            "oracle": {"mask": "ideal ratio mask", "power": 2.0},
            "split": "test",
            "zero_mean": False,
            "data_digest": provenance["data_sha256"],
        },
        **summaries(scored, make_protocol("mdx")),
        "tracks": scored,
        "failed": [],
        "provenance": provenance,
    }
