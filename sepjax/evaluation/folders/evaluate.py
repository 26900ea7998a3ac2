"""Score a folder of estimates against a folder of references, tracks in parallel.

A process holds the audio of one track at a time, and gives back nothing but numbers.
"""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.audio.files import probe
from data_pipelines.workers import processors
from sepjax.evaluation.folders.pairing import Pair, pair_tracks
from sepjax.evaluation.folders.reading import read_pair
from sepjax.evaluation.protocol import Protocol
from sepjax.evaluation.scoring import make_results, score_all
from sepjax.evaluation.tables import title

MOST_JOBS = 4  # by default: each holds a whole track in memory
SHORT = 120.0  # seconds of all songs that are not worth a second process


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
            :mod:`data_pipelines.songs.layouts`.
        estimates: folder of the separated stems.
        protocol: what is measured, :func:`sepjax.evaluation.protocol.make_protocol`.
        classes: the only classes to score; all that are in both folders otherwise.
        jobs: processes; 0 for one per processor, at most four, and one alone for a few
            short songs.
        progress: show a bar with the expected time on stderr.
        provenance: where the numbers come from; written along.

    Returns:
        As :func:`sepjax.evaluation.scoring.make_results`, and ``"remarks"`` on what has
        no partner. Every track has ``"windows"``, for curves over time.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: nothing in the folders has a partner.
    """
    if jobs < 0:
        raise ValueError(f"jobs={jobs} must be at least 1, or 0 for one per processor")
    pairs, remarks = pair_tracks(Path(references), Path(estimates), classes)
    options = {"total": len(pairs), "progress": progress}
    options["jobs"] = min(jobs or _useful_jobs(pairs), len(pairs))
    # Short songs share a process: its imports would take longer than they do.
    options["threads"] = 2 if jobs == 0 and options["jobs"] == 1 else 1
    done = dict(score_all(pairs, read_pair, protocol, **options))
    rows = [{"name": pairs[index].title} | done[index] for index in sorted(done)]
    about = _definition([row for row in rows if "error" not in row])
    origin = {"references": str(references), "estimates": str(estimates)}
    results = make_results(rows, protocol, about, {**origin, **(provenance or {})})
    return results | {"remarks": list(remarks)}


def _useful_jobs(pairs: Sequence[Pair]) -> int:
    seconds = 0.0
    for pair in pairs:
        with contextlib.suppress(OSError, ValueError):  # told when it is read
            file = probe(str(next(iter(pair.references.values()))[0]))
            seconds += file.frames / file.sample_rate
    return 1 if seconds < SHORT else processors(MOST_JOBS)


def _definition(tracks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The part of the definition that is of the data."""
    ordered = sorted(tracks, key=title)
    digests = "\n".join(track["references_sha256"] for track in ordered)
    subsets = sorted({track["subset"] for track in tracks} - {""})
    rates = sorted({track["sample_rate"] for track in tracks})
    return {
        "pairing": "songs and classes by name",
        "length": "estimates cut, or filled with zeros, at their end",
        "split": ", ".join(subsets) or "all",
        "tracks": len(tracks),
        "classes": list(dict.fromkeys(c for track in tracks for c in track["model"])),
        "sample_rate": rates[0] if len(rates) == 1 else rates,
        "data_sha256": hashlib.sha256(digests.encode()).hexdigest(),
    }
