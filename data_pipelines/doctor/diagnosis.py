"""A manifest in, a diagnosis out: facts of every song, copies, and what to do."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.doctor import problems as rules
from data_pipelines.doctor.problems import SERIOUS, Problem, find_problems
from data_pipelines.doctor.same_audio import SAME, Pair, name_of, same_audio
from data_pipelines.doctor.song import SongFacts, examine
from data_pipelines.manifest import Manifest
from data_pipelines.workers import in_order

# The meaning of the numbers, and the thresholds of problems.
DEFINITION: dict[str, Any] = {
    "peak": "largest sample, dBFS",
    "loudness": "integrated, LUFS, ITU-R BS.1770-4",
    "dc": "largest mean of a channel, dBFS",
    "clipped": "samples in runs of 3 or more equal ones at full scale, in the file",
    "active": "share of blocks of 0.1 s whose peak exceeds -60 dBFS",
    "side": "energy of (L - R) / 2 against the mean of both channels, dB",
    "mono": "energy of (L + R) / 2 against the mean of both channels, dB",
    "edge": "frequency of a fall by 25 dB within 500 Hz, Hz",
    "sum.error": "energy of mixture - sum of stems against the mixture, dB",
    "sum.fitted_error": "the same with the best gain of the sum, dB",
    "sum.gains": "gain of every stem in the mixture by least squares, dB",
    "offsets.lag": "samples by which the mixture is later than the stem",
    "same_audio.share": f"part of the shorter song; {SAME:g} and more: same",
    "thresholds": {
        "sum_serious": rules.SUM_SERIOUS,
        "sum_warning": rules.SUM_WARNING,
        "clipped": rules.CLIPPED,
        "dc": rules.DC,
        "anti_phase": rules.ANTI_PHASE,
        "dual_mono": rules.DUAL_MONO,
        "active": rules.ACTIVE,
        "loudness": rules.LOUDNESS,
        "length": rules.LENGTH,
    },
}


class Diagnosis(NamedTuple):
    """The result of :func:`diagnose`: facts, copies and problems."""

    dataset: str
    root: str
    songs: tuple[SongFacts, ...]
    pairs: tuple[Pair, ...]  # of songs that share audio
    problems: tuple[Problem, ...]  # the most severe first

    @property
    def serious(self) -> tuple[Problem, ...]:
        """Problems to solve before training."""
        return tuple(one for one in self.problems if one.severity == SERIOUS)

    def to_tree(self) -> dict[str, Any]:
        """Plain values: definitions, songs, pairs and problems."""
        return {
            "dataset": self.dataset,
            "root": self.root,
            "definition": DEFINITION,
            "problems": [problem._asdict() for problem in self.problems],
            "same_audio": [
                {
                    "tracks": [name_of(pair.first), name_of(pair.second)],
                    "share": round(pair.share, 3),
                    "by": pair.by,
                    "same": pair.same,
                }
                for pair in self.pairs
            ],
            "songs": [song.to_tree() for song in self.songs],
        }


def diagnose(
    manifest: Manifest,
    *,
    jobs: int = 0,
    splits: Collection[str] | None = None,
    cache: str | Path | None = None,
) -> Diagnosis:
    """Examine every song of a set.

    Args:
        manifest: the set, as distributed.
        jobs: songs at a time; 0: one per core, eight at most. The result does not
            depend on it.
        splits: those to look at; all by default.
        cache: folder in which fingerprints are remembered;
            :func:`data_pipelines.audio.canonical.cache_folder` by default.

    Returns:
        Songs in the order of the manifest. One that cannot be read is a problem, no
        exception.

    Example:
        >>> import tempfile
        >>> from data_pipelines.songs import demo
        >>> songs = demo.build_manifest("", ("drums", "vocals"), songs={"test": 1})
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     found = diagnose(songs, cache=cache)
        >>> found.serious, sorted(found.songs[0].levels)
        ((), ['drums', 'mixture', 'vocals'])
    """
    tracks = [t for t in manifest.tracks if splits is None or t.split in splits]
    work = [(manifest, track) for track in tracks]
    songs = tuple(in_order(examine, work, "examining songs", jobs))
    readable = [track for track, song in zip(tracks, songs) if not song.error]
    pairs = same_audio(manifest, readable, readable, jobs=jobs, cache=cache)
    problems = find_problems(songs, pairs)
    return Diagnosis(manifest.name, manifest.root, songs, tuple(pairs), problems)
