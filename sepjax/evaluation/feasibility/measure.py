"""What songs promise: ideal masks of every song in four mixes, and groupings."""

import functools
import hashlib
import itertools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

import sepjax
from data_pipelines.audio.int16 import to_float
from data_pipelines.collections.mixing import PROCEDURES, mix
from data_pipelines.prepare.splits import draw
from data_pipelines.workers import reason, run_jobs
from sepjax.evaluation.feasibility import grouping
from sepjax.evaluation.feasibility.song import activity, oracle_scores, overlap

ORACLES = {
    "ratio": "ideal ratio mask |Y_j|^p / sum_k |Y_k|^p of the stems",
    "binary": "ideal binary mask |Y_j| >= |X| / 2 of stems and mixture",
    "wiener": "multichannel Wiener filter of the stems' covariances",
}


class Settings(NamedTuple):
    """The quantities to measure, and the data to measure them on."""

    data: str  # as it is written along
    split: str | None = None
    jobs: int = 1  # songs at a time
    power: float = 2.0  # exponent of the ratio mask
    window: float = 6.0  # seconds of a window of SDR
    mark: float = 6.0  # dB of SI-SDR that classes should reach
    beta: str = "when_needed"  # of scaling and adaptive mixing
    mask: str = "ratio"  # of song.MASKS
    songs_per_class: int = 0  # drawn for each class of those that have it; 0: all songs
    seed: int = 42


def report(
    classes: tuple[str, ...], songs: Sequence[Any], settings: Settings
) -> dict[str, Any]:
    """Return the content of ``oracle.json``, without the commit.

    Songs are those of :func:`data_pipelines.collections.multitrack.open_recordings`.

    Raises:
        ValueError: no song could be measured.
    """
    measure, draws = functools.partial(measure_song, classes, settings), {}
    if settings.songs_per_class:
        draws = draw_songs(classes, songs, settings.songs_per_class, settings.seed)
        drawn = {name for names in draws.values() for name in names}
        songs = [song for song in songs if song.name in drawn]
    tracks, failed = over_songs(measure, songs, settings.jobs, "oracle")
    if not tracks:
        raise ValueError(f"none of the {len(songs)} songs could be measured, see above")
    summary = grouping.summarize(tracks, classes, settings.mark, draws)
    usable = [song for song in songs if song.name not in {f["name"] for f in failed}]
    digests = "".join(track["digest"] for track in tracks)
    return {
        "definition": definition(classes, tracks, settings),
        **summary,
        **({"draws": draws} if draws else {}),
        "groupings": groupings(classes, usable, summary, settings),
        "tracks": tracks,
        "failed": failed,
        "provenance": {
            "data": settings.data,
            "data_sha256": hashlib.sha256(digests.encode()).hexdigest(),
            "sepjax": sepjax.__version__,
        },
    }


def draw_songs(
    classes: Sequence[str], songs: Sequence[Any], count: int, seed: int
) -> dict[str, list[str]]:
    """Draw so many songs for each class, of those with a track of it (thesis, 4.1.2).

    The draws are separate; a song's place in one follows from seed, class and name.
    """
    draws = {}
    for name in classes:
        known = [song.name for song in songs if name in song.classes]
        places = {song: draw(seed, f"{name}/{song}") for song in known}
        draws[name] = sorted(known, key=places.__getitem__)[:count]
    return draws


def measure_song(
    classes: Sequence[str], settings: Settings, song: Any
) -> dict[str, Any]:
    """Measure all numbers of one song, mixed in four ways."""
    loaded = song.read()
    scores: dict[str, Any] = {}
    clipped: dict[str, Any] = {}
    known: dict[tuple, Any] = {}
    for procedure in PROCEDURES:
        mixed = mix(loaded.tracks, procedure, beta=settings.beta)
        *stems, whole = [*map(int, mixed.clipped), mixed.mixture_clipped]
        # Where nothing overflows, three of the four procedures give the same song.
        key = (mixed.factors.tobytes(), mixed.mixture_factor, *stems, whole)
        if key not in known:
            known[key] = _scores(mixed, loaded.sample_rate, settings)
        scores[procedure] = _by_class(classes, known[key])
        clipped[procedure] = {"mixture": whole, "stems": dict(zip(classes, stems))}
    mixed = mix(loaded.tracks, grouping.REFERENCE, beta=settings.beta)
    waves, rate = to_float(mixed.stems), loaded.sample_rate
    frames, channels = mixed.mixture.shape
    presence = {}  # how much of a class there is, at the level of its recording
    for name, group in zip(classes, loaded.tracks):
        total = np.sum(group, 0, np.int32) if len(group) else np.zeros((frames, 1))
        facts = activity(to_float(total), rate)
        presence[name] = {"tracks": len(group), **facts._asdict()}
    common = overlap(waves, sample_rate=rate, power=settings.power).tolist()
    return {
        **{"name": song.name, "seconds": frames / rate, "sample_rate": rate},
        **{"channels": channels, "samples": frames * channels},
        **{"digest": loaded.digest, "clipped_in_files": loaded.clipped},
        **{"classes": presence, "scores": scores, "clipped": clipped},
        "overlap": common,
    }


def groupings(
    classes: Sequence[str],
    songs: Sequence[Any],
    summary: dict[str, Any],
    settings: Settings,
) -> list[dict[str, Any]]:
    """Merge classes until all groups reach the mark; measure each step anew."""
    pairs = summary["overlap"]["pairs"]
    overlaps = {frozenset(pair["classes"]): pair["overlap"] for pair in pairs}
    known = summary["scores"][grouping.REFERENCE]
    scores = {k: row for k, row in known.items() if not math.isnan(row["si_sdr"])}
    groups = tuple(sorted((name,) for name in scores))
    steps: list[dict[str, Any]] = []
    while groups:
        done = all(grouping.reaches(row, settings.mark) for row in scores.values())
        listed = [*map(list, groups)]
        steps.append({"groups": listed, "scores": scores, "reaches_mark": done})
        groups = grouping.next_groups(groups, scores, overlaps, settings.mark)
        if groups:
            measure = functools.partial(_score_groups, groups, classes, settings)
            text = f"{len(groups)} groups"
            measured, _ = over_songs(measure, songs, settings.jobs, text)
            scores = grouping.median_scores(measured)
    return steps


def _score_groups(
    groups: Any, classes: Sequence[str], settings: Settings, song: Any
) -> dict[str, Any]:
    """Mix a song from the tracks of groups of classes, and score it."""
    loaded, rank = song.read(), {name: i for i, name in enumerate(classes)}
    tracks = ((loaded.tracks[rank[name]] for name in group) for group in groups)
    merged = [list(itertools.chain.from_iterable(group)) for group in tracks]
    mixed = mix(merged, grouping.REFERENCE, beta=settings.beta)
    names = [grouping.group_name(group) for group in groups]
    return _by_class(names, _scores(mixed, loaded.sample_rate, settings))


def over_songs(
    function: Callable[[Any], Any], songs: Sequence[Any], jobs: int, text: str
) -> tuple[list[Any], list[dict[str, str]]]:
    """Results in the order of the songs, and the songs that failed with their errors.

    Shows a bar with the expected time on stderr.
    """
    results, failed = {}, {}
    work = [(song,) for song in songs]
    # Threads: decoding and transforms leave Python to others.
    for done in run_jobs(function, work, text, workers=jobs, progress=True):
        if done.error is None:
            results[done.index] = done.result
            continue
        name, why = songs[done.index].name, reason(done.error)
        failed[done.index] = {"name": name, "error": why}
        tqdm.write(f"song {name!r} is left out: {why}", file=sys.stderr)
    return [results[i] for i in sorted(results)], [failed[i] for i in sorted(failed)]


def definition(
    classes: Sequence[str], tracks: Sequence[dict], settings: Settings
) -> dict[str, Any]:
    """Return every fact that a comparison of numbers needs."""
    rates = sorted({track["sample_rate"] for track in tracks})
    drawn = f"up to {settings.songs_per_class}, drawn with seed {settings.seed}"
    return {
        "mark": settings.mark,
        "mark_metric": "median over songs of the SI-SDR under adaptive mixing",
        "oracle": f"{ORACLES[settings.mask]}, applied to the mixture; periodic Hann "
        "window as long as 2048 samples at 44.1 kHz, to the next power of two, half "
        "overlapping",
        "mask": settings.mask,
        "power": settings.power,
        "songs_of_a_class": drawn if settings.songs_per_class else "all that have it",
        "si_sdr": "whole song, all channels as one vector, no mean removed; median "
        "over the songs in which the class sounds",
        "sdr": f"10 log10(|s|^2 / |s - e|^2) of windows of {settings.window:g} s, not "
        "overlapping; median over the windows in which the class sounds, then over "
        "songs",
        "window_seconds": settings.window,
        "activity": "share of the time in which the peak of 0.1 s of the sum of the "
        "class's tracks exceeds -60 dBFS, over all songs",
        "level": "root mean square of these parts in dBFS, median over songs",
        "overlap": "sum E min(M_a, M_b) / min(sum E M_a, sum E M_b) over all bins, "
        "with masks M and energy E = sum_k |Y_k|^2, under adaptive mixing; mean over "
        "songs",
        "silence": "a class that is all zeros in a song, or alone in it, is not scored "
        "there",
        "beta": settings.beta,
        "classes": list(classes),
        "split": settings.split or ("test" if settings.data == "demo" else "all"),
        "songs": len(tracks),
        "sample_rates": rates,
    }


def _scores(mixed: Any, rate: int, settings: Settings) -> dict[str, list]:
    options = {name: getattr(settings, name) for name in ("power", "window", "mask")}
    waves = to_float(mixed.stems), to_float(mixed.mixture)
    return oracle_scores(*waves, sample_rate=rate, **options)


def _by_class(names: Sequence[str], scores: dict[str, list]) -> dict[str, Any]:
    rows = zip(*scores.values())
    return {name: dict(zip(scores, row)) for name, row in zip(names, rows)}
