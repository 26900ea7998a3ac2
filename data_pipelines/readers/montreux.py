"""Concerts as multitrack recordings: chapter 6 of the thesis.

A folder of audio files with two tables. ``tracks.csv`` has a line per file, all files
of a concert beginning at the same moment::

    concert,file,label,crowd,year,genre
    night1,night1/kick.wav,kick drum,high,2018,jazz
    night1,night1/keys.wav,piano,high,2018,jazz

``intervals.csv`` says where its songs lie, in seconds or as h:mm:ss::

    concert,name,start,end
    night1,song1,12.5,4:20

``crowd`` is how much the audience is heard: low, medium or high. ``year``, ``genre``
and other columns may be left out; they become tags.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_pipelines.collections.collection import (
    Collection,
    Filters,
    Interval,
    MixRules,
    Output,
    Part,
    Recording,
)
from data_pipelines.readers.checks import (
    Draw,
    choose,
    conclude,
    open_root,
    remark,
    several,
)
from data_pipelines.readers.labels import FOUR
from data_pipelines.readers.table import (
    Row,
    check_files,
    grouped,
    label_map,
    read_table,
    seconds,
    shared,
    suggest,
)

COLUMNS = ("concert", "file", "label", "crowd")
INTERVAL_COLUMNS = ("concert", "name", "start", "end")
DRAW = Draw(train=88, valid=16, test=52)
CROWDS = ("low", "medium", "high")


def read_montreux(
    root: str,
    *,
    table: str = "tracks.csv",
    intervals: str = "intervals.csv",
    labels: Mapping[str, str] | None = None,
    default_class: str = "",
    by: str = "song",
    guard: str = "total",
    min_active_seconds: float = 0.0,
    exclude: Sequence[str] = (),
    draw: Draw = DRAW,
) -> Collection:
    """Read concerts, mixed and split into songs as chapter 6 does.

    The channels of every instrument are averaged. One factor per concert brings the sum
    of all tracks to full scale where it is above; the factor multiplies all tracks,
    so that a mixture is the sum of its stems. Concerts without a track of each of
    vocals, drums, bass and other are left out (4 of 16 in the thesis). The songs are
    split in the proportions 88:16:52, with equal shares of each ``crowd``.

    Args:
        root: the folder.
        table: the table of tracks in it.
        intervals: the table of songs in it.
        labels: label to class or instrument, where the names of
            :mod:`data_pipelines.readers.labels` do not know it.
        default_class: of labels that nothing knows; by default that is an error.
        by: "song", as in the thesis: songs of one concert are in several splits, and
            the test's concert was in training with another song. "group" keeps
            concerts whole.
        guard: "total": no mixture is clipped. A class can still be, where others cancel
            it: "all" looks at the peaks of classes, too.
        min_active_seconds: drop songs in which one of the classes sounds less; those in
            which it is silent from beginning to end are always dropped.
        exclude: concerts, or songs as concert/name.
        draw: shares of the splits.

    Raises:
        DataError: everything that is wrong with the tables, with its line.
    """
    base = open_root(root, "montreux")
    problems: list[str] = []
    rows = read_table(base / table, COLUMNS, problems)
    _check_crowds(rows, table, problems)
    class_of = label_map(rows, "four", labels or {}, default_class, table, problems)
    concerts = grouped(rows, "concert")
    for members in concerts.values():
        check_files(members, base, table, problems)
    cuts = read_table(base / intervals, INTERVAL_COLUMNS, problems)
    songs = _songs(cuts, concerts, intervals, problems)
    exclude = several(exclude)
    problems += _unknown(exclude, concerts, songs)
    lacking = _lacking(concerts, class_of)
    bare = [name for name in concerts if name not in {*songs, *exclude, *lacking}]
    problems += [f"{intervals}: no song of '{n}'; or give exclude={n}" for n in bare]
    collection = Collection(
        name="montreux",
        root=str(base),
        classes=FOUR,
        label_map={label: one for label, one in class_of.items() if label != one},
        recordings=tuple(
            _recording(name, members, songs.get(name, ()), problems)
            for name, members in concerts.items()
        ),
        mix=MixRules(mode="adaptive", beta="never", guard=guard),
        filters=Filters("all", min_active_seconds, exclude=exclude),
        splits=draw.rules(by=choose("by", by, ("song", "group")), stratify="crowd"),
        output=Output(channels=2),
    )
    texts = [f"{name} has no {', '.join(lack)}" for name, lack in lacking.items()]
    return conclude(collection, problems, remark("will be left out", texts))


def _unknown(
    exclude: Sequence[str],
    concerts: Iterable[str],
    songs: Mapping[str, Sequence[Interval]],
) -> list[str]:
    known = {
        *concerts,
        *(f"{n}/{one.name}" for n, each in songs.items() for one in each),
    }
    return [
        f"exclude: '{name}' is no concert, nor concert/name; {suggest(name, known)}"
        for name in exclude
        if name not in known
    ]


def _check_crowds(rows: Sequence[Row], table: str, problems: list[str]) -> None:
    for value, members in grouped(rows, "crowd").items():
        if value not in CROWDS:
            where = f"{table} line {members[0].line}"
            problems.append(f"{where}: crowd '{value}': {suggest(value, CROWDS)}")


def _lacking(
    concerts: Mapping[str, Sequence[Row]], classes: Mapping[str, str]
) -> dict[str, list[str]]:
    """Concerts without a track of each class, and what they lack."""
    there = {
        name: {classes.get(row["label"]) for row in rows}
        for name, rows in concerts.items()
    }
    return {
        name: [one for one in FOUR if one not in held]
        for name, held in there.items()
        if not held.issuperset(FOUR)
    }


def _songs(
    rows: Sequence[Row], concerts: Mapping[str, Any], table: str, problems: list[str]
) -> dict[str, tuple[Interval, ...]]:
    """Concert to its songs, in order of time."""
    songs: dict[str, list[Interval]] = {}
    for row in rows:
        where = f"{table} line {row.line}"
        start, end = seconds(row["start"]), seconds(row["end"])
        if row["concert"] not in concerts:
            hint = suggest(row["concert"], concerts)
            problems.append(
                f"{where}: no concert '{row['concert']}' has tracks; {hint}"
            )
        elif start is None or end is None or end <= start:
            span = f"'{row['start']}' to '{row['end']}'"
            problems.append(f"{where}: {span}: seconds or h:mm:ss are wanted, in order")
        else:
            one = Interval(row["name"], start, end)
            songs.setdefault(row["concert"], []).append(one)
    return {
        name: tuple(sorted(each, key=lambda one: one.start))
        for name, each in songs.items()
    }


def _recording(
    name: str,
    rows: Sequence[Row],
    songs: Sequence[Interval],
    problems: list[str],
) -> Recording:
    extra = [key for key in rows[0].cells if key not in ("concert", "file", "label")]
    tags = {key: shared(rows, key, f"concert '{name}'", problems) for key in extra}
    return Recording(
        id=name,
        tracks=tuple(Part(row["file"], row["label"], channels="mean") for row in rows),
        group=name,
        tags={
            key: int(value) if key == "year" and value.isdecimal() else value
            for key, value in tags.items()
            if value
        },
        intervals=tuple(songs),
    )
