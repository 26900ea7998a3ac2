"""What is wrong with a set of songs, in plain sentences: what, where, what to do."""

import itertools
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from data_pipelines.doctor.levels import Levels
from data_pipelines.doctor.reading import MIXTURE
from data_pipelines.doctor.same_audio import Pair
from data_pipelines.doctor.song import SongFacts

SERIOUS = "serious"

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


# Severity and kind, what, advice; in the order of the report.
_TEXTS = """
serious unreadable | songs that cannot be read
    | copy or export these files again
serious offset | stems that are not where the mixture has them
    | shift the stem by these samples, or export all stems from the same start
serious inverted | stems that the mixture holds upside down (polarity)
    | multiply the stem by -1
serious sum | stems do not sum to their mixture
    | look for a missing stem or another level; without a mixture file the exact sum of
    the stems is taken
serious leak | tracks of valid or test that occur in train, by their audio
    | remove them from one of the two; training refuses such a set, and with
    data.allow_overlap=True their scores say SEEN
warning sum | stems miss their mixture a little, as after lossy coding or mastering
    | without a mixture file the exact sum of the stems is taken
warning lengths | files of unequal length in one song; the shorter ones end in silence
    | export all files of a song with one length
warning silent | songs in which nothing sounds
    | leave them out: no score can be computed, and training wastes its time
warning over | samples beyond full scale, which are clipped when converted to 16 bits
    | turn the whole song down, all stems by the same gain
warning clipping | clipped waves: runs of equal samples at full scale
    | export again with less gain; what was clipped in the recording stays
warning dc | waves with a DC offset
    | subtract the mean, or use a high-pass of 10 to 20 Hz
warning anti-phase | left and right cancel each other: hardly anything is left in mono
    | invert one channel, or train in stereo (model.audio_channels=2)
warning selection | tracks that occur in valid and in test
    | remove them from one of the two: the checkpoint is chosen on valid
warning partly across | tracks of different splits that share a part of their audio
    | listen to both: a medley, a sample or a reprise of a training song
note low-pass | mixtures that end at a steep edge: a lossy source, or one of a lower
    rate
    | a model of the full rate hears nothing above; prefer lossless files
note dual mono | stereo files whose channels are the same
    | mono files say the same in half the space
note hardly active | stems that are silent nearly all the time
    | check that the stem was exported; such classes learn little from these songs
note twice | tracks that occur twice in one split
    | remove one of each pair: it counts twice in training or in the scores
note partly | tracks of one split that share a part of their audio
    | nothing, unless one is a copy of the other
"""
TEXTS = [
    " ".join(entry.split()).split(" | ")
    for entry in re.split(r"\n(?! )", _TEXTS.strip())
]
Place = tuple[str, str]  # severity and kind of a problem, and where it occurs


class Problem(NamedTuple):
    """One kind of problem and all places where it occurs."""

    severity: str  # serious | warning | note
    kind: str
    what: str
    advice: str
    where: tuple[str, ...]


def find_problems(
    songs: Sequence[SongFacts], pairs: Sequence[Pair]
) -> tuple[Problem, ...]:
    """Return all problems of a set, the most severe first.

    Example:
        >>> broken = SongFacts("test/a", "test", 1.0, 8000, {}, {}, error="empty file")
        >>> [(p.severity, p.kind, p.where) for p in find_problems([broken], [])]
        [('serious', 'unreadable', ('test/a: empty file',))]
    """
    places = defaultdict(list)
    looks = (_of_song, _offsets, _sum, _of_waves)
    of_songs = (place for song in songs for look in looks for place in look(song))
    for problem, place in itertools.chain(of_songs, map(_of_pair, pairs)):
        places[problem].append(place)
    problems = [
        Problem(*problem.split(" ", 1), what, advice, tuple(places[problem]))
        for problem, what, advice in TEXTS
        if problem in places
    ]
    return (*problems, *_loudness(songs))


def _of_song(song: SongFacts) -> Iterator[Place]:
    if song.error:
        yield "serious unreadable", f"{song.name}: {song.error}"
    for name, offset in song.offsets.items():
        if offset.confident and offset.inverted:
            yield "serious inverted", f"{song.name}: {name}"
    lengths = song.lengths
    if lengths and max(lengths.values()) - min(lengths.values()) > LENGTH:
        listed = ", ".join(f"{name} {s:.2f} s" for name, s in lengths.items())
        yield "warning lengths", f"{song.name}: {listed}"
    if song.mixture and song.mixture.silent:
        yield "warning silent", song.name
    # Mixtures alone: a single voice may end steeply by itself.
    if song.mixture and song.mixture.edge:
        yield "note low-pass", f"{song.name}: {song.mixture.edge:.0f} Hz"


def _offsets(song: SongFacts) -> Iterator[Place]:
    if song.sum_fit and song.sum_fit.error < SUM_GOOD:
        return
    for name, offset in song.offsets.items():
        if offset.confident and offset.lag:
            later = "later" if offset.lag > 0 else "earlier"
            seconds = abs(offset.lag) / song.rate
            yield (
                "serious offset",
                f"{song.name}: {name} is {abs(offset.lag)} samples ({seconds:.4f} s)"
                f" {later} in the mixture",
            )


def _sum(song: SongFacts) -> Iterator[Place]:
    fit = song.sum_fit
    if fit is None or fit.error <= SUM_WARNING:
        return
    text = f"{song.name}: {fit.error:.1f} dB"
    if fit.fitted_error < fit.error - 6:
        text += f", {fit.fitted_error:.1f} dB with the sum at {fit.gain:+.1f} dB"
    off = [f"{n} {g:+.1f} dB" for n, g in fit.gains.items() if abs(g) > 1]
    if off and not any(_offsets(song)):
        text += f"; best levels of the stems: {', '.join(off)}"
    yield "serious sum" if fit.error > SUM_SERIOUS else "warning sum", text


def _of_waves(song: SongFacts) -> Iterator[Place]:
    for name, levels in song.levels.items():
        skipped = []
        if name == MIXTURE:
            skipped.append("note hardly active")
            if MIXTURE not in song.lengths:  # computed: float, and never converted
                skipped.append("warning over")
        for problem, text in [] if levels.silent else _of_wave(levels):
            if problem not in skipped:
                yield problem, f"{song.name}: {name}{text}"


def _of_wave(one: Levels) -> Iterator[tuple[str, str]]:
    if one.peak > 0.01:
        yield "warning over", f" {one.peak:+.1f} dBFS"
    if one.clipped > CLIPPED * one.samples:
        share = 100 * one.clipped / one.samples
        yield "warning clipping", f" {share:.2f} % of its samples"
    if one.dc > DC:
        yield "warning dc", f" {one.dc:.1f} dBFS"
    if one.mono is not None and one.mono < ANTI_PHASE:
        yield "warning anti-phase", f" {one.mono:.1f} dB in mono"
    if one.side is not None and one.side <= DUAL_MONO:
        yield "note dual mono", ""
    if one.active < ACTIVE:
        yield "note hardly active", f" sounds {100 * one.active:.2f} % of the time"


def _of_pair(pair: Pair) -> Place:
    splits = {pair.first.split, pair.second.split}
    if len(splits) == 1:
        problem = "note twice" if pair.same else "note partly"
    elif not pair.same:
        problem = "warning partly across"
    else:
        problem = "serious leak" if "train" in splits else "warning selection"
    return problem, str(pair)


def _loudness(songs: Sequence[SongFacts]) -> Iterable[Problem]:
    loud = {
        song.name: song.mixture.loudness
        for song in songs
        if song.mixture and song.mixture.loudness > float("-inf")
    }
    middle = statistics.median(loud.values()) if loud else 0.0
    where = tuple(
        f"{name}: {value:.1f} LUFS"
        for name, value in loud.items()
        if abs(value - middle) > LOUDNESS
    )
    if where and len(loud) >= 3:
        what = f"songs far louder or softer than the others (median {middle:.1f} LUFS)"
        advice = (
            "check their export; excerpts are normalized unless data.normalize=False"
        )
        yield Problem("note", "loudness", what, advice, where)
