"""What a run folder holds, read once and tolerant of what is not there yet.

This is the one door for its files: what pages and figures use of them is checked here,
and only files of the folder itself are read.
"""

import math
import statistics
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation import results as stored
from sepjax.evaluation.results import COUNT, NUMBER, RATE, SECONDS, TEXT, Kind, maybe
from sepjax.progress import read_log
from sepjax.storage import read_json

FILES = (
    *("config.json", "metrics.jsonl", "results.json", "filters.npz"),
    *("audio/index.json", "branches.json"),
)
"""The files of a run folder; one of them makes a folder a run."""
CONFIG = {
    **{"name": TEXT, "seed": Kind("a whole number", lambda v: type(v) is int)},
    "data": {
        **{"sources": [TEXT], "sample_rate": maybe(RATE), "dataset": maybe(TEXT)},
        **{"valid_seconds": maybe(SECONDS), "chunk_seconds": maybe(SECONDS)},
    },
    "model": {"name": TEXT, "sample_rate": maybe(RATE)},
    "train": {"steps": maybe(NUMBER), "batch_size": maybe(COUNT)},
    **{"optim": {"schedule": maybe(TEXT)}, "eval": {"split": maybe(TEXT)}},
    "provenance": {"data_sha256": maybe(TEXT), "parameters": maybe(COUNT)},
}
INDEX = [
    {
        **{"track!": TEXT, "start": SECONDS, "sample_rate!": COUNT, "mixture!": TEXT},
        **{"references!": {...: TEXT}, "estimates!": {...: TEXT}},
    }
]
FACTS = ("branch", "channels", "norm", "deviation", "weights", "scaled", "arriving")
BRANCH = {f"{name}!": maybe(NUMBER) for name in FACTS} | {"branch!": TEXT}
LARGEST, MOST, LONGEST = 1 << 28, 1 << 13, 1 << 16
"""Bytes of filters.npz, filters of an array, and taps of a filter."""


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
    branches: list[dict[str, Any]] = field(default_factory=list)
    """Entries of branches.json."""

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
        ValueError: a file of it is not what it should be, or is no file of the folder;
            names the file and the field.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such run folder; give a run's --workdir")
    _, log, results, filters, index, branches = (inside(path, name) for name in FILES)
    return RunFolder(
        path,
        read_config(path),
        *_read_metrics(log),
        results=stored.read_results(results) if results.exists() else {},
        excerpts=_read_json(index, INDEX, []),
        filters=_read_filters(filters),
        branches=_read_json(branches, [BRANCH], []),
    )


def read_config(path: Path) -> dict[str, Any]:
    """Read the ``config.json`` of a run folder; empty where there is none."""
    return _read_json(inside(path, "config.json"), CONFIG, {})


def inside(run: Path, name: str) -> Path:
    """The path of a file of a run folder.

    Raises:
        ValueError: the name, or a link under it, leads out of the folder.

    Example:
        >>> inside(Path("run"), "audio/../../secret.flac")
        Traceback (most recent call last):
        ValueError: run/audio/../../secret.flac: is no file inside run, and a run ...
    """
    path = run / name
    try:
        own = path.resolve().is_relative_to(run.resolve())
        path.exists()  # a name may be too long to ask
    except (OSError, ValueError, RuntimeError):  # NUL, links in a circle
        own = False
    if not own:
        raise ValueError(
            f"{run}/{name[:200]}: is no file inside {run}, and a run is read from its "
            "own folder alone"
        )
    return path


def is_run(path: Path) -> bool:
    """Whether a folder holds anything of a run."""
    return any((path / name).is_file() for name in FILES)


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
    if isinstance(value, int | float) and abs(value) < math.inf:
        return float(value)
    return None


def gain(model: float | None, mixture: float | None) -> float | None:
    """The difference of two scores, if there are two."""
    return None if model is None or mixture is None else model - mixture


def _read_json(path: Path, schema: Any, absent: Any) -> Any:
    if not path.exists():
        return absent
    content = read_json(path, type(absent))
    stored.require(content, schema, path)
    return content


def _read_metrics(path: Path) -> tuple[list[dict], list[dict], int]:
    """Records by kind and step; a step logged again by a resumed run counts once."""
    records, unreadable = read_log(path)
    kinds: dict[str, dict[int, dict]] = {"train": {}, "valid": {}}
    for record in records:
        kinds.setdefault(record["kind"], {})[record["step"]] = record
    train, valid = (
        [kinds[kind][step] for step in sorted(kinds[kind])]
        for kind in ("train", "valid")
    )
    return train, valid, unreadable


def _read_filters(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        with zipfile.ZipFile(path) as archive:  # arrays as large as their bytes
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MiB")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:
        raise ValueError(f"{path}: not a readable .npz file ({error})") from None
    filters = {}
    for name, kernel in arrays.items():
        time, _, rest = name.partition("/")
        if (
            time not in ("initial", "final")
            or not rest
            or kernel.dtype.kind not in "fiu"
        ):
            raise ValueError(f"{path}: {name[:80]!r} is no array of initial/ or final/")
        if (
            kernel.ndim != 2
            or not 0 < kernel.shape[1] <= MOST
            or (not 0 < kernel.shape[0] <= LONGEST)
        ):
            raise ValueError(
                f"{path}: {name!r} has shape {kernel.shape}, expected (length, filters)"
            )
        filters[name] = kernel.astype(float)
        if not (abs(filters[name]) < stored.LARGE).all():
            raise ValueError(f"{path}: {name!r} is not finite: train the run again")
    return filters
