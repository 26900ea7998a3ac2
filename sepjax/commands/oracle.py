"""``sepjax oracle DATA``: what a set of songs promises, before anything is trained."""

import argparse
import functools
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``sepjax oracle``."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="folder of songs, <song>/<class>.wav or <song>/<class>/<track>.wav, "
        "perhaps below train, valid and test; a collection of recordings (.yaml, "
        ".jsonl); or 'demo' for the embedded music",
    )
    parser.add_argument(
        "--sources", default="", metavar="A,B", help="classes to mix (all that exist)"
    )
    splits = ("train", "valid", "test")
    parser.add_argument("--split", choices=splits, help="(all songs; of the demo test)")
    text = "songs at a time; 5 minutes of six stereo classes at 44.1 kHz take 4.5 GB"
    parser.add_argument("--jobs", type=int, default=1, help=f"{text} (%(default)s)")
    numbers = {
        "power": (2.0, "exponent of the ratio mask"),
        "window": (6.0, "seconds of a window of SDR"),
        "mark": (6.0, "dB of SI-SDR that classes should reach"),
    }
    for name, (value, text) in numbers.items():
        told = f"{text} (%(default)g)"
        parser.add_argument(f"--{name}", type=float, default=value, help=told)
    parser.add_argument(
        "--beta",
        choices=("when_needed", "always"),
        default="when_needed",
        help="scaling and adaptive: turn classes down when they overflow, or always "
        "bring them to full scale (%(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("feasibility"),
        help="folder of oracle.json and oracle.html (%(default)s)",
    )


def oracle(arguments: argparse.Namespace) -> int:
    """Measure, print a table, write JSON and a page; 1 if a song could not be read."""
    _check(arguments)
    from data_pipelines.collections.multitrack import open_recordings
    from sepjax.report.pages.feasibility import write_page
    from sepjax.report.pages.feasibility_table import format_report
    from sepjax.storage import finite, write_json

    arguments.output.mkdir(parents=True, exist_ok=True)
    sources = [name for name in arguments.sources.split(",") if name]
    classes, songs = open_recordings(arguments.data, sources, arguments.split or "")
    results = report(classes, songs, arguments)
    write_json(arguments.output / "oracle.json", results)
    page = write_page(finite(results), arguments.output / "oracle.html")
    print(format_report(finite(results)))
    print(f"report: {page}")
    return 1 if results["failed"] else 0


def _check(arguments: argparse.Namespace) -> None:
    for name in ("jobs", "power", "window"):
        if not getattr(arguments, name) > 0:
            raise ValueError(f"--{name} must be above zero")


def report(
    classes: tuple[str, ...], songs: Sequence[Any], options: argparse.Namespace
) -> dict[str, Any]:
    """What ``oracle.json`` holds.

    Args:
        classes: to separate.
        songs: of :func:`data_pipelines.collections.multitrack.open_recordings`.
        options: of the command.

    Raises:
        ValueError: no song could be measured.
    """
    import sepjax
    from sepjax.evaluation.feasibility.grouping import summarize
    from sepjax.storage import text_sha256
    from sepjax.train.provenance import commit

    def measure(song: Any) -> dict[str, Any]:
        return measure_song(song, classes, options)

    tracks, failed = over_songs(measure, songs, options.jobs, "oracle")
    if not tracks:
        raise ValueError(f"none of the {len(songs)} songs could be measured, see above")
    summary = summarize(tracks, classes, options.mark)
    usable = [song for song in songs if song.name not in {f["name"] for f in failed}]
    digests = "".join(track["digest"] for track in tracks)
    return {
        "definition": definition(classes, tracks, options),
        **summary,
        "groupings": groupings(classes, usable, summary, options),
        "tracks": tracks,
        "failed": failed,
        "provenance": {
            "data": options.data,
            "data_sha256": text_sha256(digests),
            "sepjax": sepjax.__version__,
            "commit": commit(),
        },
    }


def measure_song(
    song: Any, classes: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """All numbers of one song, mixed in four ways."""
    from data_pipelines.audio.int16 import to_float
    from data_pipelines.collections.mixing import PROCEDURES, mix
    from sepjax.evaluation.feasibility.grouping import REFERENCE
    from sepjax.evaluation.feasibility.song import overlap

    loaded = song.read()
    scores: dict[str, Any] = {}
    clipped: dict[str, Any] = {}
    known: dict[tuple, Any] = {}
    for procedure in PROCEDURES:
        mixed = mix(loaded.tracks, procedure, beta=options.beta)
        *stems, whole = [*map(int, mixed.clipped), mixed.mixture_clipped]
        # Where nothing overflows, three of the four procedures give the same song.
        key = (mixed.factors.tobytes(), mixed.mixture_factor, *stems, whole)
        if key not in known:
            known[key] = _scores(mixed, loaded.sample_rate, options)
        scores[procedure] = _by_class(classes, known[key])
        clipped[procedure] = {"mixture": whole, "stems": dict(zip(classes, stems))}
    mixed = mix(loaded.tracks, REFERENCE, beta=options.beta)
    waves, rate = to_float(mixed.stems), loaded.sample_rate
    return {
        "name": song.name,
        **_facts(loaded, mixed.mixture.shape),
        "classes": {
            name: _presence(group, mixed.mixture.shape, rate)
            for name, group in zip(classes, loaded.tracks)
        },
        "scores": scores,
        "clipped": clipped,
        "overlap": overlap(waves, sample_rate=rate, power=options.power).tolist(),
    }


def _facts(loaded: Any, shape: tuple[int, int]) -> dict[str, Any]:
    frames, channels = shape
    return {
        "seconds": frames / loaded.sample_rate,
        "sample_rate": loaded.sample_rate,
        "channels": channels,
        "samples": frames * channels,
        "digest": loaded.digest,
        "clipped_in_files": loaded.clipped,
    }


def groupings(
    classes: Sequence[str],
    songs: Sequence[Any],
    summary: dict[str, Any],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Merge classes until all groups reach the mark; each step is measured anew."""
    from sepjax.evaluation.feasibility import grouping

    overlaps = {
        frozenset(pair["classes"]): pair["overlap"]
        for pair in summary["overlap"]["pairs"]
    }
    known = summary["scores"][grouping.REFERENCE]
    scores = {k: row for k, row in known.items() if not math.isnan(row["si_sdr"])}
    groups = tuple(sorted((name,) for name in scores))
    steps: list[dict[str, Any]] = []
    while groups:
        done = all(grouping.reaches(row, options.mark) for row in scores.values())
        listed = [*map(list, groups)]
        steps.append({"groups": listed, "scores": scores, "reaches_mark": done})
        groups = grouping.next_groups(groups, scores, overlaps, options.mark)
        if groups:
            measure = functools.partial(_score_groups, groups, classes, options)
            text = f"{len(groups)} groups"
            measured, _ = over_songs(measure, songs, options.jobs, text)
            scores = grouping.median_scores(measured)
    return steps


def _score_groups(
    groups: Any, classes: Sequence[str], options: argparse.Namespace, song: Any
) -> dict[str, Any]:
    """Mix a song from the tracks of groups of classes, and score it."""
    from data_pipelines.collections.mixing import mix
    from sepjax.evaluation.feasibility import grouping

    loaded, rank = song.read(), {name: i for i, name in enumerate(classes)}
    merged = [
        [track for name in group for track in loaded.tracks[rank[name]]]
        for group in groups
    ]
    mixed = mix(merged, grouping.REFERENCE, beta=options.beta)
    names = [grouping.group_name(group) for group in groups]
    return _by_class(names, _scores(mixed, loaded.sample_rate, options))


def over_songs(
    function: Callable[[Any], Any], songs: Sequence[Any], jobs: int, text: str
) -> tuple[list[Any], list[dict[str, str]]]:
    """Results in the order of the songs, and the songs that failed with their errors.

    Shows a bar with the expected time on stderr.
    """
    from tqdm import tqdm

    from data_pipelines.workers import reason, run_jobs

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
    classes: Sequence[str], tracks: Sequence[dict], options: argparse.Namespace
) -> dict[str, Any]:
    """Everything one must know to compare a number with another."""
    rates = sorted({track["sample_rate"] for track in tracks})
    return {
        "mark": options.mark,
        "mark_metric": "median over songs of the SI-SDR under adaptive mixing",
        "oracle": "ideal ratio mask |Y_j|^p / sum_k |Y_k|^p of the stems, applied to "
        "the mixture; periodic Hann window as long as 2048 samples at 44.1 kHz, to the "
        "next power of two, half overlapping",
        "power": options.power,
        "si_sdr": "whole song, all channels as one vector, no mean removed; median "
        "over the songs in which the class sounds",
        "sdr": f"10 log10(|s|^2 / |s - e|^2) of windows of {options.window:g} s, not "
        "overlapping; median over the windows in which the class sounds, then over "
        "songs",
        "window_seconds": options.window,
        "activity": "share of the time in which the peak of 0.1 s of the sum of the "
        "class's tracks exceeds -60 dBFS, over all songs",
        "level": "root mean square of these parts in dBFS, median over songs",
        "overlap": "sum E min(M_a, M_b) / min(sum E M_a, sum E M_b) over all bins, "
        "with masks M and energy E = sum_k |Y_k|^2, under adaptive mixing; mean over "
        "songs",
        "silence": "a class that is all zeros in a song, or alone in it, is not scored "
        "there",
        "beta": options.beta,
        "classes": list(classes),
        "split": options.split or ("test" if options.data == "demo" else "all"),
        "songs": len(tracks),
        "sample_rates": rates,
    }


def _scores(mixed: Any, rate: int, options: argparse.Namespace) -> dict[str, list]:
    from data_pipelines.audio.int16 import to_float
    from sepjax.evaluation.feasibility.song import oracle_scores

    return oracle_scores(
        to_float(mixed.stems),
        to_float(mixed.mixture),
        sample_rate=rate,
        power=options.power,
        window=options.window,
    )


def _by_class(names: Sequence[str], scores: dict[str, list]) -> dict[str, Any]:
    return {
        name: {metric: values[i] for metric, values in scores.items()}
        for i, name in enumerate(names)
    }


def _presence(group: Sequence[Any], shape: tuple[int, int], rate: int) -> dict:
    """How much of a class there is, before any procedure changes its level."""
    import numpy as np

    from data_pipelines.audio.int16 import to_float
    from sepjax.evaluation.feasibility.song import activity

    total = np.zeros(shape, np.int32)
    for track in group:
        total += track
    return {"tracks": len(group), **activity(to_float(total), rate)._asdict()}
