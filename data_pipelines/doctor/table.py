"""A diagnosis as text for a terminal."""

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
    lines += _splits(diagnosis.songs)
    if diagnosis.songs:
        lines += ["", *_songs(diagnosis.songs)]
    lines.append("")
    for problem in diagnosis.problems:
        lines += _problem(problem)
    return "\n".join([*lines, _verdict(diagnosis)])


def _splits(songs: Sequence[SongFacts]) -> list[str]:
    lines = []
    for split in SPLITS:
        if held := [song for song in songs if song.split == split]:
            hours = sum(song.seconds for song in held) / 3600
            lines.append(f"  {split}: {len(held)} songs, {hours:.2f} h")
    return lines


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
    count = len(problem.where)
    lines = [f"{problem.severity.upper()}  {problem.what} ({count})"]
    lines += [f"    {place}" for place in problem.where[:MOST_PLACES]]
    if count > MOST_PLACES:
        lines.append(f"    ... and {count - MOST_PLACES} more")
    return [*lines, f"  -> {problem.advice}", ""]


def _verdict(diagnosis: Diagnosis) -> str:
    if not diagnosis.problems:
        return "Nothing to complain about."
    counts = {
        severity: sum(
            len(p.where) for p in diagnosis.problems if p.severity == severity
        )
        for severity in dict.fromkeys(p.severity for p in diagnosis.problems)
    }
    text = ", ".join(f"{severity} {count}" for severity, count in counts.items())
    rest = "" if SERIOUS in counts else "; nothing stands against training"
    return f"Found: {text}{rest}."
