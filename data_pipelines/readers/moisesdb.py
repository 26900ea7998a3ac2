"""MoisesDB: 240 songs of 45 artists as single tracks; layout in docs/datasets.md.

``data.json`` has song, artist, genre and stems: [{stemName, tracks: [{id, trackType,
extension, has_bleed}]}]. There is no mixture: it is the sum of the tracks, padded to
the longest.

Reference:
    Pereira, Araújo, Korzeniowski and Vogl, "MoisesDB: a dataset for source separation
    beyond 4-stems", ISMIR 2023.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.audio.files import subfolders
from data_pipelines.collections.collection import Collection, Output, Recording
from data_pipelines.readers import checks
from data_pipelines.readers.labels import FOUR, SIX, kind_of
from sepjax.registry import nearest

NAME = "moisesdb"
FOLDER = "moisesdb_v0.1"
SONGS = 240
STEMS = ("vocals", "bass", "drums", "other", "guitar", "other_plucked", "percussion")
STEMS += ("piano", "other_keys", "bowed_strings", "wind")
DRAW = checks.Draw(train=192, valid=24, test=24)
CLASSES = {"six": SIX, "four": FOUR, "stems": STEMS}


def read_moisesdb(
    root: str,
    *,
    classes: str = "six",
    bleed: bool = True,
    exclude: Sequence[str] = (),
    partial: bool = False,
    draw: checks.Draw = DRAW,
) -> Collection:
    """Read the songs of MoisesDB; the label of a track is "stemName/trackType".

    Args:
        root: the folder of the songs, or the one above it.
        classes: "six" (chapter 4 of the thesis), "four" (vocals, drums, bass, other) or
            "stems", the eleven that the set itself has; see :func:`class_of`.
        bleed: False leaves out the tracks in which other instruments sound; a song
            keeps its others, and is left out if it has none.
        exclude: songs to leave out, by UUID.
        partial: fewer songs than the whole set are a warning, not an error.
        draw: of the splits; the set has no official ones. Artists are not divided.

    Raises:
        DataError: every file that is missing or not understood, and missing songs.
    """
    checks.choose("classes", classes, CLASSES)
    base = checks.open_root(root, NAME, (FOLDER,))
    problems: list[str] = []
    songs = [_recording(base, one, bleed, problems) for one in subfolders(base)]
    count = checks.count_problem({"": len(songs)}, {"": SONGS})
    if count and not partial:
        problems.append(f"{count}; partial=true reads what is there")
    kept = tuple(song for song in songs if song.tracks)
    collection = Collection(
        CLASSES[classes],
        kept,
        name=NAME,
        root=str(base),
        label_map=checks.label_map(kept, class_of, classes),
        filters=checks.excluding(exclude, [song.id for song in songs], problems),
        splits=draw.rules(),
        output=Output(channels=2),
    )
    bare = [song.id for song in songs if not song.tracks]
    remarks = [count, *checks.remark("left out, every track has bleed", bare)]
    return checks.conclude(collection, problems, remarks)


def class_of(label: str, classes: str = "six") -> str:
    """The class of a label "stemName/trackType".

    With six classes ``electric_guitar`` is what the stem "guitar" holds of clean and
    distorted electric, lap steel and slide guitar; acoustic guitar and every stem
    without a class of its name are "other", with four classes wind as well.

    Example:
        >>> class_of("guitar/clean_electric_guitar"), class_of("guitar/acoustic_guitar")
        ('electric_guitar', 'other')
        >>> class_of("wind/brass"), class_of("wind/brass", "four")
        ('wind', 'other')
    """
    stem, _, kind = label.partition("/")
    if classes == "six" and stem == "guitar":
        electric = kind_of(kind) == "electric_guitar"
        return "electric_guitar" if electric else "other"
    return stem if stem in CLASSES[classes] else "other"


def _recording(base: Path, folder: Path, bleed: bool, problems: list[str]) -> Recording:
    """A song; one without tracks if all of them have bleed and none may."""
    tree = checks.read_tree(folder / "data.json", problems)
    where = str(folder / "data.json")
    tracks = list(_tracks(tree, where, problems)) if tree else []
    if tree and not tracks:
        problems.append(f"{where}: no tracks")
    parts = []
    for stem, track in tracks:
        ending = str(track.get("extension", "wav")).lstrip(".")
        path = folder / stem / f"{track.get('id')}.{ending}"
        label = f"{stem}/{track.get('trackType', '')}"
        part = checks.part(path, base, label, problems)
        if bleed or not checks.truth(track.get("has_bleed")):
            parts.append(part)
    tags = {key: str(tree.get(key, "")) for key in ("song", "artist", "genre")}
    tags["has_bleed"] = any(checks.truth(track.get("has_bleed")) for _, track in tracks)
    return Recording(folder.name, tuple(parts), group=tags["artist"], tags=tags)


def _tracks(
    tree: dict[str, Any], where: str, problems: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Stem and entry of every track."""
    for stem in checks.entries(tree.get("stems"), f"{where}: stems", problems):
        name = str(stem.get("stemName"))
        if name not in STEMS:
            problems.append(f"{where}: unknown stem '{name}': {nearest(name, STEMS)}")
            continue
        for track in checks.entries(stem.get("tracks"), f"{where}: {name}", problems):
            yield name, track
