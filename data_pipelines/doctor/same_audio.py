"""Tracks that hold the same audio, whatever they are called.

In three steps, each for what the one before cannot tell: files of the same bytes; for
songs made of loops, the same takes; and for all others fingerprints of their mixtures
(:mod:`.fingerprint`), verified wave against wave (:mod:`.matching`). Fingerprints and
verdicts are remembered in the cache under names made of the files' content.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from data_pipelines.audio.canonical import cache_folder
from data_pipelines.doctor.listening import Listener
from data_pipelines.doctor.reading import MIXTURE, heard, sounds, streams_of
from data_pipelines.manifest import Manifest, Stem, Track

# Share of the shorter song. Two songs that share half of their length are one song: a
# cut, a single and its album version, an excerpt. Less is a sample or a shared intro.
SAME = 0.5
PARTLY = 0.1  # less than this is not worth a word
HOW = {"files": "the same files", "takes": "made of the same takes"}


class Pair(NamedTuple):
    """Two tracks that share audio."""

    first: Track
    second: Track
    share: float  # of the shorter of the two
    by: str  # files: the same bytes | takes: the same loops | audio: the same sound
    stems: tuple[int, int] = (0, 0)  # files: so many are the same, of how many

    def __str__(self) -> str:
        return f"{name_of(self.first)} and {name_of(self.second)}: {self.how}"

    @property
    def same(self) -> bool:
        """Whether both are one song: half of the audio, more than half of the files."""
        return self.share > SAME or (self.share == SAME and self.by != "files")

    @property
    def how(self) -> str:
        """How the two tracks are alike.

        Example:
            >>> one = Track("one", "test", "", 8, {})
            >>> Pair(one, one, 0.75, "files", (3, 4)).how
            '3 of 4 stems are the same files'
        """
        count, total = self.stems
        if count < total:
            verb = "is the same file" if count == 1 else "are the same files"
            return f"{count} of {total} stems {verb}"
        if self.same and self.by in HOW:
            return HOW[self.by]
        return f"{100 * self.share:.0f} % of the shorter one is the same audio"


def name_of(track: Track) -> str:
    """Name a track with its split.

    Example:
        >>> name_of(Track("some song", "test", "", 8, {}))
        'test/some song'
    """
    return f"{track.split}/{track.name}"


def same_audio(
    manifest: Manifest,
    queries: Sequence[Track],
    references: Sequence[Track],
    *,
    jobs: int = 0,
    cache: str | Path | None = None,
) -> list[Pair]:
    """Find pairs of a query and a reference that share a tenth of the shorter, or more.

    Args:
        manifest: the dataset of both, as distributed.
        queries: tracks that are looked for.
        references: tracks among which they are looked for; where they are queries, too,
            every two are compared once.
        jobs: threads that read songs; 0: one per core, eight at most.
        cache: folder of what is remembered; by default
            :func:`~data_pipelines.audio.canonical.cache_folder`.

    Returns:
        Pairs in the order of the queries, what is most alike first.

    Raises:
        DataError: files that cannot be read.
    """
    order = {track.name: index for index, track in enumerate(queries)}

    def wanted(query: Track, other: Track) -> bool:
        return order.get(other.name, -1) < order[query.name]

    def loops(track: Track) -> bool:
        return any(stem.loop for stem in heard(track))

    sets = queries, references
    looped = [[track for track in tracks if loops(track)] for tracks in sets]
    played = [[track for track in tracks if not loops(track)] for tracks in sets]
    pairs = list(_same_takes(manifest, *looped, wanted))
    pairs += _same_files(manifest, *played, wanted)
    known = {(pair.first.name, pair.second.name) for pair in pairs if pair.same}

    def unknown(query: Track, other: Track) -> bool:
        return wanted(query, other) and (query.name, other.name) not in known

    listener = Listener(manifest, cache_folder(cache) / "fingerprints", jobs)
    pairs += [Pair(*each, "audio") for each in listener.alike(*played, unknown)]
    best: dict[tuple[str, str], Pair] = {}
    for pair in sorted(pairs, key=lambda pair: (not pair.same, -pair.share)):
        if pair.share >= PARTLY:
            best.setdefault((pair.first.name, pair.second.name), pair)
    return sorted(best.values(), key=lambda pair: order[pair.first.name])


def _same_takes(
    manifest: Manifest,
    queries: Iterable[Track],
    references: Iterable[Track],
    wanted: Callable[[Track, Track], bool],
) -> Iterable[Pair]:
    """Songs composed of the same looping files, from whatever bar and at any level.

    A loop in two songs is no copy of a song: all of them must be the same.
    """

    def takes(track: Track) -> frozenset[str]:
        return frozenset(_digest(manifest, stem) for stem in heard(track))

    shelf = defaultdict(list)
    for track in references:
        shelf[takes(track)].append(track)
    for query in queries:
        alike = [track for track in shelf[takes(query)] if wanted(query, track)]
        yield from (Pair(query, track, 1.0, "takes") for track in alike)


def _same_files(
    manifest: Manifest,
    queries: Iterable[Track],
    references: Iterable[Track],
    wanted: Callable[[Track, Track], bool],
) -> Iterable[Pair]:
    """Songs whose mixture, or some of whose stems, are the same frames of files.

    What is silent is the same in all songs: such files do not count, nor do songs in
    which no class sounds.
    """
    shelf: dict[str, list[tuple[Track, Stem]]] = defaultdict(list)
    for track in references:
        for stem in streams_of(track).values() if track.stems else ():
            shelf[_digest(manifest, stem)].append((track, stem))
    for query in queries:
        shared: dict[str, tuple[Track, dict[str, float]]] = {}
        for name, stem in streams_of(query).items() if query.stems else ():
            for track, other in shelf[_digest(manifest, stem)]:
                overlap = _overlap(query, stem, track, other)
                if overlap and wanted(query, track):
                    _, parts = shared.setdefault(track.name, (track, {}))
                    parts[name] = max(parts.get(name, 0.0), overlap)
        for track, parts in shared.values():
            yield _by_files(manifest, query, track, parts)


def _by_files(
    manifest: Manifest, query: Track, track: Track, parts: dict[str, float]
) -> Pair:
    """The share of two tracks: parts of the query's files that the other has."""
    if query.mixture and parts.get(MIXTURE, 0.0) > SAME:
        return Pair(query, track, parts[MIXTURE], "files")
    sounding = [
        {name for name, stem in one.stems.items() if sounds(manifest, one, stem)}
        for one in (query, track)
    ]
    shared = [parts[name] for name in sounding[0] if name in parts]
    total = min(map(len, sounding))
    share = min(sum(shared) / max(total, 1), 1.0)
    return Pair(query, track, share, "files", (min(len(shared), total), total))


def _digest(manifest: Manifest, stem: Stem) -> str:
    return manifest.file_digest(manifest.files[stem.file])


def _overlap(first: Track, stem: Stem, second: Track, other: Stem) -> float:
    """The part of the shorter track in which both are the same frames of a file."""
    begin = max(stem.start, other.start)
    stop = min(stem.start + first.frames, other.start + second.frames)
    return max(stop - begin, 0) / min(first.frames, second.frames)
