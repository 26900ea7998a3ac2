"""Fingerprints and waves of a manifest's tracks, remembered by their content."""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.audio.resample import resample_blocks
from data_pipelines.doctor import matching
from data_pipelines.doctor.fingerprint import RATE, VERSION, Fingerprint, fingerprint
from data_pipelines.doctor.reading import heard, mixture_blocks, rate_of
from data_pipelines.manifest import DataError, Manifest, Track
from data_pipelines.workers import in_order
from sepjax.storage import text_sha256, write_atomically

CANCELED = -20.0  # dB of a mean of channels against them: too little to listen to


class Listener(NamedTuple):
    """Compares tracks of a manifest by their sound."""

    manifest: Manifest
    folder: Path  # of what is remembered
    jobs: int = 0  # threads; 0: one per core, eight at most

    def alike(
        self,
        queries: Sequence[Track],
        references: Sequence[Track],
        wanted: Callable[[Track, Track], bool],
    ) -> Iterator[tuple[Track, Track, float]]:
        """Yield a query, a reference, and the part of the shorter that both contain.

        Of pairs of them that are ``wanted``. DataError: files that cannot be read.
        """
        proposed = [
            (queries[query], references[other], offsets)
            for query, other, offsets in self._proposed(queries, references)
            if wanted(queries[query], references[other])
        ]
        for job, share in zip(proposed, self._run(self._share, proposed, "comparing")):
            yield *job[:2], share

    def fingerprints(self, tracks: Sequence[Track]) -> list[Fingerprint]:
        """Return a fingerprint of every track; stored ones are not computed again."""
        new = sum(not self._path(track).exists() for track in tracks)
        if new and not sys.stderr.isatty():  # where no progress is shown
            songs = f"{new} song" + "s" * (new != 1)
            print(f"listening to {songs}, once", file=sys.stderr)
        return self._run(self._fingerprint, [(t,) for t in tracks], "listening")

    def _proposed(
        self, queries: Sequence[Track], references: Sequence[Track]
    ) -> list[tuple[int, int, tuple[int, ...]]]:
        """Which query may be in which reference, at which offsets."""
        if not queries or not references:
            return []
        keys = [[self._key(track) for track in each] for each in (queries, references)]
        path = self.folder / "sets" / _digest([*keys, matching.VERSION])
        with contextlib.suppress(OSError, ValueError, TypeError):
            known = json.loads(path.read_text())
            return [(query, other, tuple(offsets)) for query, other, offsets in known]
        tracks = {track.name: track for track in (*references, *queries)}
        prints = dict(zip(tracks, self.fingerprints(list(tracks.values()))))
        index = matching.build_index([prints[track.name] for track in references])
        asked = [(index, prints[query.name]) for query in queries]
        candidates_of = self._run(matching.candidates, asked, "looking up")
        proposed = [
            (query, one.song, one.offsets)
            for query, candidates in enumerate(candidates_of)
            for one in candidates
        ]
        _remember(path, json.dumps(proposed))
        return proposed

    def _run(self, function: Callable, jobs: Sequence[tuple], what: str) -> list:
        results = in_order(function, jobs, f"{what} (songs)", self.jobs)
        if problems := [str(one) for one in results if isinstance(one, DataError)]:
            raise DataError.of(f"dataset '{self.manifest.name}'", problems)
        return results

    def _fingerprint(self, track: Track) -> Fingerprint:
        path = self._path(track)
        # What is no fingerprint counts as absent.
        with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
            known = np.lib.format.read_array(file, allow_pickle=False)
            if known.dtype == np.uint32 and known.ndim == 2 and len(known) == 2:
                return Fingerprint(*known)
        prints = fingerprint(mono_wave(self.manifest, track))
        content = io.BytesIO()
        np.save(content, np.stack(prints))
        _remember(path, content.getvalue())
        return prints

    def _share(self, query: Track, other: Track, offsets: tuple[int, ...]) -> float:
        compared = self._key(query), self._key(other), offsets, matching.VERSION
        path = self.folder / "pairs" / _digest(compared)
        with contextlib.suppress(OSError, ValueError):
            return float(path.read_text())
        wave, long = mono_wave(self.manifest, query), mono_wave(self.manifest, other)
        if len(wave) > len(long):
            wave, long, offsets = long, wave, tuple(-offset for offset in offsets)
        share = matching.shared_part(wave, long, offsets)
        _remember(path, repr(share))
        return share

    def _key(self, track: Track) -> str:
        """SHA-256 of what is heard of a track."""
        stems = [
            (self.manifest.file_digest(self.manifest.files[s.file]), s.start, s.gains)
            for s in heard(track)
        ]
        return _digest([VERSION, track.frames, sorted(stems)])

    def _path(self, track: Track) -> Path:
        return self.folder / f"{self._key(track)}.npy"


def _digest(what: Sequence) -> str:
    return text_sha256(json.dumps(what))


def mono_wave(manifest: Manifest, track: Track) -> np.ndarray:
    """Read a track in mono, (time,) at the rate of fingerprints, float32.

    The mean of its channels; the first one where they cancel each other
    (:data:`CANCELED`). DataError: a file cannot be decoded.
    """
    energies, rate = np.zeros(2), rate_of(manifest, track)

    def means() -> Iterator[np.ndarray]:
        for block in mixture_blocks(manifest, track):
            mean = block.mean(axis=1)
            energies[:] += np.vdot(mean, mean), np.vdot(block, block) / block.shape[1]
            yield mean

    blocks = list(resample_blocks(means(), rate, RATE, quality="HQ"))
    if energies[0] < 10 ** (CANCELED / 10) * energies[1]:
        firsts = (block[:, 0] for block in mixture_blocks(manifest, track))
        blocks = list(resample_blocks(firsts, rate, RATE, quality="HQ"))
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def _remember(path: Path, content: str | bytes) -> None:
    # A cache that cannot be written costs time only.
    with contextlib.suppress(OSError):
        write_atomically(path, content)
