"""Songs as karaoke tracks, one file per instrument: chapter 4 of the thesis.

A folder of audio files, and in it a table ``tracks.csv`` with a line per file::

    song,file,label,group
    Blue Monday,blue_monday/drums.mp3,drums,New Order

``file`` counts from the folder; ``label`` says what plays, an instrument or a class;
``group`` (may be left out) is what two splits should not share, as the artist. Other
columns become tags of the song.
"""

from collections.abc import Mapping

from data_pipelines.collections.collection import (
    Collection,
    Filters,
    MixRules,
    Output,
    Part,
    Recording,
)
from data_pipelines.readers import tables
from data_pipelines.readers.checks import Draw, choose, conclude, open_root
from data_pipelines.readers.labels import CLASSES

COLUMNS = ("song", "file", "label")
DRAW = Draw(train=900, valid=100, test=48)


def read_karaoke(
    root: str,
    *,
    table: str = "tracks.csv",
    classes: str = "six",
    all_instruments: bool = True,
    labels: Mapping[str, str] | None = None,
    default_class: str = "",
    mode: str = "adaptive",
    draw: Draw = DRAW,
    by: str = "song",
) -> Collection:
    """Read songs of single tracks, mixed, filtered and split as chapter 4 does.

    Songs are drawn for training and validation, all others are the pool for testing.
    Then songs in which one of the classes does not sound for 5 s are dropped, and
    ``test`` of the pool's remaining songs are kept. From the 1500 songs of the thesis
    this left 287, 38 and 48 of ``all_instruments``.

    Args:
        root: the folder.
        table: the table in it.
        classes: "six" of the thesis, or "eleven" of the source, or "four".
        all_instruments: False keeps the songs that lack a class: ``all_data``. The
            same seed gives both the same splits, so the songs for testing of the first
            are none that the second trains on.
        labels: label to class or instrument, where the names of
            :mod:`data_pipelines.readers.labels` do not know it.
        default_class: of labels that nothing knows; by default that is an error.
        mode: how tracks are mixed: summing, averaging, scaling or adaptive.
        draw: songs for training and validation, and how many of the others are kept
            for testing; -1: all.
        by: "group" never divides the songs of a group over two splits; "song", as in
            the thesis, does.

    Raises:
        DataError: everything that is wrong with the table, with its line.
    """
    base = open_root(root, "karaoke")
    names = CLASSES[choose("classes", classes, CLASSES)]
    problems: list[str] = []
    rows = tables.read_table(base / table, COLUMNS, problems)
    class_of = tables.label_map(rows, classes, labels, default_class, table, problems)
    songs = tables.grouped_files(rows, "song", base, table, problems)
    recordings = [_recording(name, songs[name], problems) for name in songs]
    if not problems and len(songs) <= draw.train + draw.valid:
        problems.append(
            f"{len(songs)} songs are too few for train={draw.train}, "
            f"valid={draw.valid} and some to test: give smaller numbers, as "
            f"train={6 * len(songs) // 10} valid={len(songs) // 10}"
        )
    keep = {} if draw.test == -1 else {"test": draw.test}
    collection = Collection(
        name="karaoke",
        root=str(base),
        classes=names,
        label_map=class_of,
        recordings=tuple(recordings),
        mix=MixRules(mode=mode),
        filters=Filters("all" if all_instruments else (), apply="after_split"),
        splits=draw._replace(test=-1).rules(by=by, keep=keep),
        output=Output(channels=2),
    )
    return conclude(collection, problems)


def _recording(name: str, rows: list[tables.Row], problems: list[str]) -> Recording:
    where = f"song '{name}'"
    parts = tuple(Part(row["file"], row["label"]) for row in rows)
    group = tables.shared(rows, "group", where, problems)
    tags = tables.tags_of(rows, where, (*COLUMNS, "group"), problems)
    return Recording(name, parts, group, tags=tags)
