"""Concerts as multitrack recordings: chapter 6 of the thesis.

A folder of audio files with two tables: a line per file, all files of a concert
beginning at the same moment, and where its songs lie, in seconds or as h:mm:ss::

    concert,file,label,crowd,year,genre                 concert,name,start,end
    night1,night1/kick.wav,kick drum,high,2018,jazz     night1,song1,12.5,4:20

``crowd`` is how much the audience is heard: low, medium or high. ``year``, ``genre``
and other columns may be left out; they become tags.
"""

from collections.abc import Mapping, Sequence

from data_pipelines.collections.collection import (
    Collection,
    Filters,
    Interval,
    MixRules,
    Output,
    Part,
    Recording,
)
from data_pipelines.readers import checks, tables
from data_pipelines.readers.labels import FOUR

COLUMNS = ("concert", "file", "label", "crowd")
INTERVAL_COLUMNS = ("concert", "name", "start", "end")
DRAW = checks.Draw(train=88, valid=16, test=52)
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
    draw: checks.Draw = DRAW,
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
    base = checks.open_root(root, "montreux")
    problems: list[str] = []
    rows = tables.read_table(base / table, COLUMNS, problems)
    _check_crowds(rows, table, problems)
    class_of = tables.label_map(rows, "four", labels, default_class, table, problems)
    concerts = tables.grouped_files(rows, "concert", base, table, problems)
    cuts = tables.read_table(base / intervals, INTERVAL_COLUMNS, problems)
    songs = _songs(cuts, concerts, intervals, problems)
    exclude = checks.several(exclude)
    problems += _unknown(exclude, concerts, songs)
    lacking = _lacking(concerts, class_of)
    bare = [name for name in concerts if name not in {*songs, *exclude, *lacking}]
    problems += [f"{intervals}: no song of '{n}'; or give exclude={n}" for n in bare]
    collection = Collection(
        name="montreux",
        root=str(base),
        classes=FOUR,
        label_map=class_of,
        recordings=tuple(_recording(n, concerts, songs, problems) for n in concerts),
        mix=MixRules(mode="adaptive", beta="never", guard=guard),
        filters=Filters("all", min_active_seconds, exclude=exclude),
        splits=draw.rules(
            by=checks.choose("by", by, ("song", "group")), stratify="crowd"
        ),
        output=Output(channels=2),
    )
    remarks = checks.remark("will be left out", list(lacking.values()))
    return checks.conclude(collection, problems, remarks)


def _check_crowds(rows: Sequence[tables.Row], table: str, problems: list[str]) -> None:
    for value, members in tables.grouped(rows, "crowd").items():
        if value not in CROWDS:
            where = f"{table} line {members[0].line}"
            problems.append(
                f"{where}: crowd '{value}': {tables.suggest(value, CROWDS)}"
            )


def _unknown(
    exclude: Sequence[str],
    concerts: tables.Groups,
    songs: Mapping[str, Sequence[Interval]],
) -> list[str]:
    """Problems of what is to be excluded, but is no concert and no song."""
    known = {*concerts, *(f"{n}/{one.name}" for n in songs for one in songs[n])}
    return [
        f"exclude: '{name}' is no concert, nor concert/name; "
        f"{tables.suggest(name, known)}"
        for name in exclude
        if name not in known
    ]


def _lacking(concerts: tables.Groups, class_of: Mapping[str, str]) -> dict[str, str]:
    """Concerts without a track of each class, and a sentence about what they lack."""
    lacking = {}
    for name, rows in concerts.items():
        classes = {class_of.get(row["label"], row["label"]) for row in rows}
        if missing := [one for one in FOUR if one not in classes]:
            lacking[name] = f"{name} has no {', '.join(missing)}"
    return lacking


def _songs(
    rows: Sequence[tables.Row], concerts: tables.Groups, table: str, problems: list[str]
) -> dict[str, tuple[Interval, ...]]:
    """Concert to its songs, in order of time."""
    songs: dict[str, tuple[Interval, ...]] = {}
    for row in rows:
        where, concert = f"{table} line {row.line}", row["concert"]
        start, end = tables.seconds(row["start"]), tables.seconds(row["end"])
        if concert not in concerts:
            hint = tables.suggest(concert, concerts)
            problems.append(f"{where}: no concert '{concert}' has tracks; {hint}")
        elif start is None or end is None or end <= start:
            span = f"'{row['start']}' to '{row['end']}'"
            problems.append(f"{where}: {span}: seconds or h:mm:ss are wanted, in order")
        else:
            each = (*songs.get(concert, ()), Interval(row["name"], start, end))
            songs[concert] = tuple(sorted(each, key=lambda one: one.start))
    return songs


def _recording(
    name: str,
    concerts: tables.Groups,
    songs: Mapping[str, tuple[Interval, ...]],
    problems: list[str],
) -> Recording:
    rows = concerts[name]
    parts = tuple(Part(row["file"], row["label"], channels="mean") for row in rows)
    tags: dict[str, str | int] = dict(
        tables.tags_of(rows, f"concert '{name}'", COLUMNS[:3], problems)
    )
    if (year := str(tags.get("year", ""))).isdecimal():
        tags["year"] = int(year)
    return Recording(name, parts, name, tags=tags, intervals=songs.get(name, ()))
