"""Fingerprints and waves of a manifest's tracks, remembered by their content."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.canonical import atomic_file, in_parallel
from data_pipelines.doctor import matching
from data_pipelines.doctor.fingerprint import RATE, VERSION, Fingerprint, fingerprint
from data_pipelines.doctor.reading import heard, mixture_blocks, rate_of
from data_pipelines.manifest import DataError, Manifest, Track


class Listener(NamedTuple):
    """Compares tracks of a manifest by ear."""

    manifest: Manifest
    folder: Path  # of what is remembered
    jobs: int = 0  # threads; 0: one per core, eight at most

    def alike(
        self,
        queries: Sequence[Track],
        references: Sequence[Track],
        wanted: Callable[[Track, Track], bool],
    ) -> Iterator[tuple[Track, Track, float]]:
        """A query, a reference, and the part of the shorter that both hold.

        Args:
            queries: tracks that are looked for.
            references: tracks among which they are looked for.
            wanted: whether a query and a reference are to be compared.

        Raises:
            DataError: files that cannot be read.
        """
        if not queries or not references:
            return
        tracks = {track.name: track for track in (*references, *queries)}
        prints = dict(zip(tracks, self.fingerprints(list(tracks.values()))))
        index = matching.build_index([prints[track.name] for track in references])
        asked = [(index, prints[query.name]) for query in queries]
        proposed = [
            (query, references[one.song], one.offsets)
            for query, found in zip(
                queries, self._run(matching.candidates, asked, "looking up")
            )
            for one in found
            if wanted(query, references[one.song])
        ]
        for job, share in zip(proposed, self._run(self._share, proposed, "comparing")):
            yield *job[:2], share

    def fingerprints(self, tracks: Sequence[Track]) -> list[Fingerprint]:
        """One for every track; those known are not computed again."""
        return self._run(self._fingerprint, [(t,) for t in tracks], "listening")

    def _run(self, function: Callable, jobs: Sequence[tuple], what: str) -> list:
        results = list(in_parallel(function, jobs, f"{what} (songs)", self.jobs))
        if problems := [str(one) for one in results if isinstance(one, DataError)]:
            raise DataError.of(f"dataset '{self.manifest.name}'", problems)
        return results

    def _fingerprint(self, track: Track) -> Fingerprint:
        path = self.folder / f"{self._key(track)}.npy"
        if known := _remembered(path):
            return known
        found = fingerprint(mono_wave(self.manifest, track))
        _remember(path, lambda file: np.save(file, np.stack(found)))
        return found

    def _share(self, query: Track, other: Track, offsets: tuple[int, ...]) -> float:
        compared = self._key(query), self._key(other), offsets, matching.VERSION
        keys = json.dumps(compared)
        path = self.folder / "pairs" / f"{hashlib.sha256(keys.encode()).hexdigest()}"
        with contextlib.suppress(OSError, ValueError):
            return float(path.read_text())
        wave, long = mono_wave(self.manifest, query), mono_wave(self.manifest, other)
        if len(wave) > len(long):
            wave, long, offsets = long, wave, tuple(-offset for offset in offsets)
        share = matching.shared_part(wave, long, offsets)
        _remember(path, lambda file: file.write(repr(share).encode()))
        return share

    def _key(self, track: Track) -> str:
        """SHA-256 of what is heard of a track."""
        stems = [
            (self.manifest.file_digest(self.manifest.files[s.file]), s.start, s.gains)
            for s in heard(track)
        ]
        what = [VERSION, track.frames, sorted(stems)]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def mono_wave(manifest: Manifest, track: Track) -> np.ndarray:
    """A track's mono mixture (time,) at the rate of fingerprints, float32.

    Raises:
        DataError: a file cannot be decoded.
    """
    import soxr

    rate = rate_of(manifest, track)
    blocks = mixture_blocks(manifest, track)
    if rate == RATE:
        found = list(blocks)
    else:
        stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        found = [stream.resample_chunk(block) for block in blocks]
        found.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(found) if found else np.zeros(0, np.float32)


def _remembered(path: Path) -> Fingerprint | None:
    """A fingerprint that was written; what is no such file counts as absent."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        found = np.load(path, allow_pickle=False)
        wanted = isinstance(found, np.ndarray) and found.dtype == np.uint32
        if wanted and found.ndim == 2 and len(found) == 2:
            return Fingerprint(*found)
    return None


def _remember(path: Path, write: Callable) -> None:
    # A cache that cannot be written costs time only.
    with contextlib.suppress(DataError), atomic_file(path) as file:
        write(file)
