"""A diagnosis as text for a terminal."""

from collections import Counter
from collections.abc import Sequence

from data_pipelines.doctor.diagnosis import Diagnosis
from data_pipelines.doctor.problems import SERIOUS, Problem
from data_pipelines.doctor.song import SongFacts
from data_pipelines.manifest import SPLITS
from sepjax.registry import aligned

MOST_PLACES = 8  # of one problem; JSON lists all
MOST_SONGS = 40  # in the table
WIDTH = 32  # of a song's name


def format_diagnosis(diagnosis: Diagnosis) -> str:
    """Splits, songs, and problems with what to do about them.

    Example:
        >>> print(format_diagnosis(Diagnosis("folder", "music", (), (), ())))
        dataset 'folder' (music)
        <BLANKLINE>
        Nothing to complain about.
    """
    lines = [f"dataset '{diagnosis.dataset}' ({diagnosis.root or 'embedded'})"]
    for split in SPLITS:
        if songs := [song for song in diagnosis.songs if song.split == split]:
            hours = sum(song.seconds for song in songs) / 3600
            lines.append(f"  {split}: {len(songs)} songs, {hours:.2f} h")
    if diagnosis.songs:
        lines += ["", *_songs(diagnosis.songs)]
    lines.append("")
    for problem in diagnosis.problems:
        lines += _problem(problem)
    return "\n".join([*lines, _verdict(diagnosis)])


def _songs(songs: Sequence[SongFacts]) -> list[str]:
    rows = [["song", "time", "LUFS", "peak", "sum", "offset", ""]]
    rows += map(_row, songs[:MOST_SONGS])
    more = len(songs) - MOST_SONGS
    rest = [f"... and {more} more, in doctor.json"] if more > 0 else []
    return [aligned(rows, left=(0, 6)), *rest]


def _row(song: SongFacts) -> list[str]:
    name = song.name if len(song.name) <= WIDTH else song.name[: WIDTH - 1] + "…"
    time = f"{int(song.seconds) // 60}:{int(song.seconds) % 60:02d}"
    if song.error or song.mixture is None:
        return [name, time, "-", "-", "-", "-", "not readable"]
    levels = song.mixture
    error = f"{song.sum_fit.error:.1f}" if song.sum_fit else "-"
    lags = [one.lag for one in song.offsets.values() if one.confident]
    lag = str(max(lags, key=abs)) if lags else "-"
    return [name, time, f"{levels.loudness:.1f}", f"{levels.peak:.1f}", error, lag, ""]


def _problem(problem: Problem) -> list[str]:
    places, more = problem.where[:MOST_PLACES], len(problem.where) - MOST_PLACES
    places += (f"... and {more} more",) if more > 0 else ()
    head = f"{problem.severity.upper()}  {problem.what} ({len(problem.where)})"
    return [head, *(f"    {one}" for one in places), f"  -> {problem.advice}", ""]


def _verdict(diagnosis: Diagnosis) -> str:
    if not diagnosis.problems:
        return "Nothing to complain about."
    counts: Counter[str] = Counter()
    for problem in diagnosis.problems:
        counts[problem.severity] += len(problem.where)
    text = ", ".join(f"{severity} {count}" for severity, count in counts.items())
    rest = "" if SERIOUS in counts else "; nothing stands against training"
    return f"Found: {text}{rest}."
