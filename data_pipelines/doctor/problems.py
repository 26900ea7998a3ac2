"""What is wrong with a set of songs, in plain sentences: what, where, what to do."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from data_pipelines.doctor.levels import Levels
from data_pipelines.doctor.same_audio import Pair, name_of
from data_pipelines.doctor.song import MIXTURE, SongFacts

SERIOUS, WARNING, NOTE = "serious", "warning", "note"
SEVERITIES = (SERIOUS, WARNING, NOTE)

# dB of the mixture. An error of -20 dB is a stem that is missing or at another level:
# no separation can score better against such references. Coded stems (AAC, MP3) miss
# their mixture by -25 to -40 dB, rounding to 16 bits by -80 dB and less.
SUM_SERIOUS, SUM_WARNING = -20.0, -40.0
SUM_GOOD = -60.0  # and no stem can be out of place
# Share of samples: a limited master has a few clipped peaks, one in ten thousand is
# distortion that a model learns as part of the instrument.
CLIPPED = 1e-4
# dBFS: 0.3 % of full scale. SI-SDR does not remove means, and quiet stems vanish in it.
DC = -50.0
ANTI_PHASE = -20.0  # dB lost in (L + R) / 2, which is what mono training hears
DUAL_MONO = -60.0  # dB of the difference of the channels: below 16-bit audibility
ACTIVE = 0.01  # share of the time: three seconds of five minutes are hardly a class
LOUDNESS = 12.0  # LU from the median: four times the amplitude of other songs
LENGTH = 0.05  # s: more than what coders add, and less than anyone cuts on purpose


class Problem(NamedTuple):
    """One kind of problem and all places where it occurs."""

    severity: str  # serious | warning | note
    kind: str
    what: str
    advice: str
    where: tuple[str, ...]

    def to_tree(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self._asdict() | {"where": list(self.where)}


def find_problems(
    songs: Sequence[SongFacts], pairs: Sequence[Pair]
) -> tuple[Problem, ...]:
    """Return all problems of a set, the most severe first.

    Example:
        >>> broken = SongFacts("test/a", "test", 1.0, 8000, {}, {}, error="empty file")
        >>> [(p.severity, p.kind, p.where) for p in find_problems([broken], [])]
        [('serious', 'unreadable', ('test/a: empty file',))]
    """
    problems = [
        Problem(severity, kind, what, advice, tuple(where))
        for severity, kind, what, advice, look in (*OF_SONGS, *OF_STEMS)
        if (where := [place for song in songs for place in look(song)])
    ]
    problems += _same_audio(pairs)
    problems += _loudness(songs)
    order = {name: rank for rank, name in enumerate(SEVERITIES)}
    return tuple(sorted(problems, key=lambda problem: order[problem.severity]))


# --- of single songs --------------------------------------------------------------


def _unreadable(song: SongFacts) -> Iterator[str]:
    if song.error:
        yield f"{song.name}: {song.error}"


def _offsets(song: SongFacts) -> Iterator[str]:
    if song.sum_fit and song.sum_fit.error < SUM_GOOD:
        return
    for name, offset in song.offsets.items():
        if offset.confident and offset.lag:
            later = "later" if offset.lag > 0 else "earlier"
            seconds = abs(offset.lag) / song.rate
            yield (
                f"{song.name}: {name} is {abs(offset.lag)} samples ({seconds:.4f} s)"
                f" {later} in the mixture"
            )


def _inverted(song: SongFacts) -> Iterator[str]:
    for name, offset in song.offsets.items():
        if offset.confident and offset.inverted:
            yield f"{song.name}: {name}"


def _sums(low: float, high: float) -> Callable[[SongFacts], Iterator[str]]:
    def look(song: SongFacts) -> Iterator[str]:
        fit = song.sum_fit
        if fit is None or not low < fit.error <= high:
            return
        text = f"{song.name}: {fit.error:.1f} dB"
        if fit.fitted_error < fit.error - 6:
            text += f", {fit.fitted_error:.1f} dB with the sum at {fit.gain:+.1f} dB"
        off = [f"{n} {g:+.1f} dB" for n, g in fit.gains.items() if abs(g) > 1]
        if off and not any(_offsets(song)):
            text += f"; best levels of the stems: {', '.join(off)}"
        yield text

    return look


def _lengths(song: SongFacts) -> Iterator[str]:
    lengths = song.lengths
    if lengths and max(lengths.values()) - min(lengths.values()) > LENGTH:
        listed = ", ".join(f"{name} {s:.2f} s" for name, s in lengths.items())
        yield f"{song.name}: {listed}"


def _silent(song: SongFacts) -> Iterator[str]:
    if song.mixture and song.mixture.silent:
        yield song.name


def _edges(song: SongFacts) -> Iterator[str]:
    # Mixtures alone: a single voice may end steeply by itself.
    if song.mixture and song.mixture.edge:
        yield f"{song.name}: {song.mixture.edge:.0f} Hz"


OF_SONGS: tuple[
    tuple[str, str, str, str, Callable[[SongFacts], Iterator[str]]], ...
] = (
    (
        SERIOUS,
        "unreadable",
        "songs that cannot be read",
        "copy or export these files again",
        _unreadable,
    ),
    (
        SERIOUS,
        "offset",
        "stems that are not where the mixture has them",
        "shift the stem by these samples, or export all stems from the same start",
        _offsets,
    ),
    (
        SERIOUS,
        "inverted",
        "stems that the mixture holds upside down (polarity)",
        "multiply the stem by -1",
        _inverted,
    ),
    (
        SERIOUS,
        "sum",
        "stems do not sum to their mixture",
        "look for a missing stem or another level; without a mixture file the exact sum"
        " of the stems is taken",
        _sums(SUM_SERIOUS, float("inf")),
    ),
    (
        WARNING,
        "sum",
        "stems miss their mixture a little, as after lossy coding or mastering",
        "without a mixture file the exact sum of the stems is taken",
        _sums(SUM_WARNING, SUM_SERIOUS),
    ),
    (
        WARNING,
        "lengths",
        "files of unequal length in one song; the shorter ones end in silence",
        "export all files of a song with one length",
        _lengths,
    ),
    (
        WARNING,
        "silent",
        "songs in which nothing sounds",
        "leave them out: no score can be computed, and training wastes its time",
        _silent,
    ),
    (
        NOTE,
        "low-pass",
        "mixtures that end at a steep edge: a lossy source, or one of a lower rate",
        "a model of the full rate hears nothing above; prefer lossless files",
        _edges,
    ),
)


# --- of single waves --------------------------------------------------------------


def _each(
    good: Callable[[Levels], bool],
    text: Callable[[Levels], str],
    mixture: Callable[[SongFacts], bool] = lambda song: True,
) -> Callable[[SongFacts], Iterator[str]]:
    """Places of waves that are not good; of mixtures where ``mixture`` says so."""

    def look(song: SongFacts) -> Iterator[str]:
        for name, levels in song.levels.items():
            looked_at = name != MIXTURE or mixture(song)
            if looked_at and not levels.silent and not good(levels):
                yield f"{song.name}: {name}{text(levels)}"

    return look


OF_STEMS: tuple[
    tuple[str, str, str, str, Callable[[SongFacts], Iterator[str]]], ...
] = (
    (
        WARNING,
        "over",
        "samples beyond full scale, which are clipped when converted to 16 bits",
        "turn the whole song down, all stems by the same gain",
        _each(
            lambda one: one.peak <= 0.01,
            lambda one: f" {one.peak:+.1f} dBFS",
            # A computed mixture is float, and never converted.
            mixture=lambda song: MIXTURE in song.lengths,
        ),
    ),
    (
        WARNING,
        "clipping",
        "clipped waves: runs of equal samples at full scale",
        "export again with less gain; what was clipped in the recording stays",
        _each(
            lambda one: one.clipped <= CLIPPED * one.samples,
            lambda one: f" {100 * one.clipped / one.samples:.2f} % of its samples",
        ),
    ),
    (
        WARNING,
        "dc",
        "waves with a DC offset",
        "subtract the mean, or use a high-pass of 10 to 20 Hz",
        _each(lambda one: one.dc <= DC, lambda one: f" {one.dc:.1f} dBFS"),
    ),
    (
        WARNING,
        "anti-phase",
        "left and right cancel each other: hardly anything is left in mono",
        "invert one channel, or train in stereo (model.audio_channels=2)",
        _each(
            lambda one: one.mono is None or one.mono >= ANTI_PHASE,
            lambda one: f" {one.mono:.1f} dB in mono",
        ),
    ),
    (
        NOTE,
        "dual mono",
        "stereo files whose channels are the same",
        "mono files say the same in half the space",
        _each(lambda one: one.side is None or one.side > DUAL_MONO, lambda one: ""),
    ),
    (
        NOTE,
        "hardly active",
        "stems that are silent nearly all the time",
        "check that the stem was exported; such classes learn little from these songs",
        _each(
            lambda one: one.active >= ACTIVE,
            lambda one: f" sounds {100 * one.active:.2f} % of the time",
            mixture=lambda song: False,
        ),
    ),
)


# --- of the whole set -------------------------------------------------------------


def _same_audio(pairs: Sequence[Pair]) -> Iterator[Problem]:
    kinds = {
        "leak": (
            SERIOUS,
            "tracks of valid or test that occur in train, by their audio",
            "remove them from one of the two; training refuses such a set, and with"
            " data.allow_overlap=True their scores say SEEN",
        ),
        "selection": (
            WARNING,
            "tracks that occur in valid and in test",
            "remove them from one of the two: the checkpoint is chosen on valid",
        ),
        "partly across": (
            WARNING,
            "tracks of different splits that share a part of their audio",
            "listen to both: a medley, a sample or a reprise of a training song",
        ),
        "twice": (
            NOTE,
            "tracks that occur twice in one split",
            "remove one of each pair: it counts twice in training or in the scores",
        ),
        "partly": (
            NOTE,
            "tracks of one split that share a part of their audio",
            "nothing, unless one is a copy of the other",
        ),
    }
    where: dict[str, list[str]] = {}
    for pair in pairs:
        text = f"{name_of(pair.first)} and {name_of(pair.second)}: {pair.how}"
        where.setdefault(_kind(pair), []).append(text)
    for kind, (severity, what, advice) in kinds.items():
        if kind in where:
            yield Problem(severity, kind, what, advice, tuple(where[kind]))


def _kind(pair: Pair) -> str:
    splits = {pair.first.split, pair.second.split}
    if len(splits) == 1:
        return "twice" if pair.same else "partly"
    if not pair.same:
        return "partly across"
    return "leak" if "train" in splits else "selection"


def _loudness(songs: Sequence[SongFacts]) -> Iterator[Problem]:
    loud = {
        song.name: song.mixture.loudness
        for song in songs
        if song.mixture and song.mixture.loudness > float("-inf")
    }
    if len(loud) < 3:
        return
    middle = statistics.median(loud.values())
    where = tuple(
        f"{name}: {value:.1f} LUFS"
        for name, value in loud.items()
        if abs(value - middle) > LOUDNESS
    )
    if where:
        what = f"songs far louder or softer than the others (median {middle:.1f} LUFS)"
        advice = (
            "check their export; excerpts are normalized unless data.normalize=False"
        )
        yield Problem(NOTE, "loudness", what, advice, where)
