"""MedleyDB: 122 songs of version 1 and 74 of version 2; layout in docs/datasets.md.

Metadata have has_bleed, artist, genre and stems: {S01: {instrument, component,
filename, raw: {R01: {instrument, filename}}}}. Stems are processed as they were in the
mix and sum to it approximately; raw tracks are as they were recorded.

Reference:
    Bittner, Salamon, Tierney, Mauch, Cannam and Bello, "MedleyDB: a multitrack dataset
    for annotation-intensive MIR research", ISMIR 2014; Bittner et al., "MedleyDB 2.0",
    ISMIR 2016 late-breaking. https://medleydb.weebly.com
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.audio.files import subfolders
from data_pipelines.collections.collection import (
    Collection,
    MixRules,
    Output,
    Recording,
)
from data_pipelines.readers import checks
from data_pipelines.readers.labels import CLASSES, TO_CLASSES, kind_of

NAME = "medleydb"
LEVELS = ("stems", "raw")
ENSEMBLE = "Main System"  # microphones that hear everybody
UNLABELED = "Unlabeled"
COUNTS = ({"": 122}, {"": 74}, {"": 196})  # versions 1 and 2, and both
DRAW = checks.Draw(train=156, valid=20, test=20)
SEPARATOR = " + "  # between the instruments of one track


def read_medleydb(
    root: str,
    *,
    classes: str = "six",
    level: str = "stems",
    bleed: bool = True,
    mixture: bool = False,
    metadata: str = "",
    exclude: Sequence[str] = (),
    draw: checks.Draw = DRAW,
) -> Collection:
    """Read the songs of MedleyDB; the label of a track is its instrument.

    Tracks that hold several classes, and microphones that hear everybody ("Main
    System"), are in no class: they are left out, with a warning. An unknown or
    unlabeled instrument is "other".

    Args:
        root: the folder of the songs, or of V1 and V2.
        classes: "six" (chapter 4 of the thesis), "four" or "eleven".
        level: "stems", or "raw": the raw tracks, and the stem where it has none.
        bleed: False leaves out the songs with bleed.
        mixture: take the distributed mixture, not the sum of the stems; of songs of
            which nothing is left out.
        metadata: folder of the metadata, where they are in no song's folder.
        exclude: songs to leave out, by id. MUSDB18 shares 46 songs with MedleyDB.
        draw: of the splits; the set has no official ones. Artists are not divided.

    Raises:
        DataError: every file that is missing or not understood.
    """
    checks.choose("classes", classes, CLASSES)
    checks.choose("level", level, LEVELS)
    base = checks.open_root(root, NAME, ("MedleyDB", "Audio"))
    problems: list[str] = []
    if mixture and level == "raw":
        problems.append("mixture=true needs level=stems: raw tracks sum to no mixture")
    every = [
        _recording(base, folder, tree, level, problems)
        for folder, tree in _songs(base, metadata, problems)
        if bleed or not checks.truth(tree.get("has_bleed"))
    ]
    songs, mixed = _sorted(base, every, classes, mixture, problems)
    collection = Collection(
        CLASSES[classes],
        tuple(songs),
        name=NAME,
        root=str(base),
        label_map=checks.label_map(songs, class_of, classes),
        default_class="other",
        mix=MixRules(mode="summing") if mixture else MixRules(),
        filters=checks.excluding(exclude, [song.id for song in every], problems),
        splits=draw.rules(),
        output=Output(channels=2),
    )
    count = checks.count_problem({"": len(every)}, *COUNTS) if bleed else ""
    remarks = [count, *checks.remark("left out, of no class or of several", mixed)]
    return checks.conclude(collection, problems, remarks)


def class_of(label: str, classes: str = "six") -> str:
    """Return the class of an instrument, or of several on one track; "" if none fits.

    Example:
        >>> class_of("trumpet section"), class_of("male singer + male rapper")
        ('wind', 'vocals')
        >>> class_of("acoustic guitar + electric bass"), class_of("Main System")
        ('', '')
        >>> class_of("Unlabeled")
        'other'
    """
    table = TO_CLASSES[classes]
    names = label.split(SEPARATOR)
    kinds = {table.get(kind_of(name), "other") for name in names}
    return kinds.pop() if len(kinds) == 1 and ENSEMBLE not in names else ""


def _songs(
    base: Path, metadata: str, problems: list[str]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and metadata of every song, the folder of a version or not."""
    folders = [
        folder
        for one in subfolders(base)
        for folder in ([one] if _is_song(one) else subfolders(one))
        if _is_song(folder)
    ]
    if not folders:
        problems.append("no songs; expected <Id>/<Id>_METADATA.yaml and <Id>_STEMS")
    for folder in folders:
        places = [Path(metadata).expanduser()] if metadata else []
        places += [folder, base / "Metadata", base.parent / "Metadata"]
        files = [place / f"{folder.name}_METADATA.yaml" for place in places]
        path = next((one for one in files if one.is_file()), folder / files[0].name)
        if tree := checks.read_tree(path, problems):
            yield folder, tree


def _is_song(folder: Path) -> bool:
    return any(one.name.startswith(folder.name + "_") for one in folder.iterdir())


def _recording(
    base: Path, folder: Path, tree: dict[str, Any], level: str, problems: list[str]
) -> Recording:
    """A song with all of its tracks."""
    stems = folder / str(tree.get("stem_dir") or f"{folder.name}_STEMS")
    raw = folder / str(tree.get("raw_dir") or f"{folder.name}_RAW")
    where, parts = f"{folder.name}: stems", []
    for _, stem in checks.sections(tree.get("stems"), where, problems):
        tracks = checks.sections(stem.get("raw") or {}, f"{where}: raw", problems)
        use_raw = level == "raw" and bool(tracks)
        for _, track in tracks if use_raw else [("", stem)]:
            path = (raw if use_raw else stems) / str(track.get("filename"))
            names = track.get("instrument")
            names = names if isinstance(names, list) else [names]
            label = SEPARATOR.join(map(str, filter(None, names))) or UNLABELED
            parts.append(checks.part(path, base, label, problems))
    if not parts:
        problems.append(f"{where}: none")
    tags = {key: str(tree.get(key, "")) for key in ("title", "artist", "genre")}
    tags["has_bleed"] = checks.truth(tree.get("has_bleed"))
    return Recording(folder.name, tuple(parts), group=tags["artist"], tags=tags)


def _sorted(
    base: Path,
    every: Iterable[Recording],
    classes: str,
    mixture: bool,
    problems: list[str],
) -> tuple[list[Recording], list[str]]:
    """Songs without tracks of no class or of several, and the names of these tracks."""
    songs, mixed = [], []
    for song in every:
        parts = tuple(part for part in song.tracks if class_of(part.label, classes))
        left = [part for part in song.tracks if part not in parts]
        mixed += [f"{Path(part.path).name} ({part.label})" for part in left]
        whole = None
        if mixture and parts and not left:
            folder = (base / song.tracks[0].path).parent.parent
            whole = checks.part(folder / f"{song.id}_MIX.wav", base, "", problems)
        if parts:
            songs.append(dataclasses.replace(song, tracks=parts, mixture=whole))
    return songs, mixed
