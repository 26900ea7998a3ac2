"""What a run folder holds, read once and tolerant of what is not there yet."""

import json
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("train", "valid")  # of lines of metrics.jsonl


@dataclass(frozen=True)
class RunFolder:
    """The contents of a run folder; a missing file leaves its field empty."""

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    train: list[dict[str, Any]] = field(default_factory=list)
    """Lines of metrics.jsonl, by step."""
    valid: list[dict[str, Any]] = field(default_factory=list)
    unreadable_lines: int = 0
    """Lines of metrics.jsonl that a kill cut off."""
    results: dict[str, Any] = field(default_factory=dict)
    excerpts: list[dict[str, Any]] = field(default_factory=list)
    """Entries of audio/index.json."""
    filters: dict[str, np.ndarray] = field(default_factory=dict)
    """"initial/encoder/conv": ``(length, filters)``."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Classes in the order of the configuration: the order of their colors."""
        names = list(lookup(self.config, "data", "sources") or ())
        names += self.results.get("model", {})
        for entry in self.excerpts:
            names += entry["references"]
        for line in self.valid:
            names += [key[7:] for key in line if key.startswith("si_sdr/")]
        return tuple(dict.fromkeys(names))

    @property
    def sample_rate(self) -> float | None:
        """Hz of the model's audio."""
        rate = lookup(self.config, "model", "sample_rate")
        return rate or lookup(self.config, "data", "sample_rate")

    @property
    def seen_tracks(self) -> list[str]:
        """Scored tracks that were trained on."""
        tracks = self.results.get("tracks", [])
        return [str(track.get("name")) for track in tracks if track.get("seen")]

    def score(self, part: str, name: str, metric: str) -> float | None:
        """A number of results.json; the improvement is derived if it is missing."""
        value = number(lookup(self.results, part, name, metric))
        if part != "improvement" or value is not None:
            return value
        return gain(*(self.score(p, name, metric) for p in ("model", "mixture")))

    def scored(self, metric: str) -> list[str]:
        """Classes with a score of both mixture and model."""

        def known(part: str, name: str) -> bool:
            return self.score(part, name, metric) is not None

        return [n for n in self.sources if known("mixture", n) and known("model", n)]

    def mean_score(self, part: str, metric: str) -> float | None:
        """Unweighted mean over the classes that mixture and model both have."""
        values = [self.score(part, name, metric) for name in self.scored(metric)]
        return statistics.fmean(values) if values and None not in values else None


def read_run(path: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file of it is not what it should be; names the file.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such run folder; give a run's --workdir")
    return RunFolder(
        path,
        _read_json(path / "config.json", {}),
        *_read_metrics(path / "metrics.jsonl"),
        results=_read_json(path / "results.json", {}),
        excerpts=_read_json(path / "audio" / "index.json", []),
        filters=_read_filters(path / "filters.npz"),
    )


def lookup(tree: Any, *keys: str) -> Any:
    """The value under nested keys, or None.

    Example:
        >>> lookup({"model": {"L": 20}}, "model", "L"), lookup({}, "model", "L")
        (20, None)
    """
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def number(value: Any) -> float | None:
    """A finite float, or None for null, NaN, infinities and absent values.

    Example:
        >>> number(3), number(float("nan")), number(None)
        (3.0, None, None)
    """
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def gain(model: float | None, mixture: float | None) -> float | None:
    """The difference of two scores, if there are two."""
    return None if model is None or mixture is None else model - mixture


def _read_json(path: Path, absent: Any) -> Any:
    if not path.exists():
        return absent
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: not valid JSON ({error}); delete it and run the step that "
            "writes it again"
        ) from None
    if not isinstance(content, type(absent)):
        raise ValueError(f"{path}: must hold a JSON {type(absent).__name__}")
    return content


def _read_metrics(path: Path) -> tuple[list[dict], list[dict], int]:
    """Lines by kind and step; a step logged again by a resumed run counts once."""
    lines: dict[str, dict[int, dict]] = {kind: {} for kind in KINDS}
    unreadable = 0
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
            lines.setdefault(line["kind"], {})[int(line["step"])] = line
        except (ValueError, KeyError, TypeError):
            unreadable += bool(text.strip())
    train, valid = ([lines[k][step] for step in sorted(lines[k])] for k in KINDS)
    return train, valid, unreadable


def _read_filters(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            filters = {name: np.asarray(archive[name], float) for name in archive.files}
    except Exception as error:
        raise ValueError(f"{path}: not a readable .npz file ({error})") from None
    for name, kernel in filters.items():
        if kernel.ndim != 2 or not kernel.size:
            raise ValueError(
                f"{path}: '{name}' has shape {kernel.shape}, expected (length, filters)"
            )
    return filters
