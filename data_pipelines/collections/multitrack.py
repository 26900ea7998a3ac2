"""Songs of recorded tracks, of any names: what can be mixed in more than one way.

::

    root/[train|valid|test/]<song>/<class>.wav            one file is a class
    root/[train|valid|test/]<song>/<class>/<track>.wav    several tracks make a class

One file called mixture or mix is not read. Nothing is decoded until a song is read, so
that one broken file costs one song.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.audio.files import audio_files, probe, read_blocks, subfolders
from data_pipelines.audio.int16 import to_int16
from data_pipelines.collections.collection import Collection, Recording
from data_pipelines.collections.file import read_collection
from data_pipelines.collections.mixing import align
from data_pipelines.feeding.host import read_frames
from data_pipelines.manifest import DataError, Manifest, Track, hash_file
from data_pipelines.prepare import tracks
from data_pipelines.prepare.choice import chosen
from data_pipelines.songs.layouts import MIXTURES, SPLIT_FOLDERS, name_key
from sepjax.registry import nearest
from sepjax.storage import text_sha256

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3")
DEMO = "demo"
DEMO_SONGS = 12  # at most, of a split; training has thousands
MOST_CLASSES = 32  # more are tracks that nobody has sorted into classes yet


class Multitrack(NamedTuple):
    """A song in memory, int16 and of one shape, ready for :mod:`.mixing`."""

    sample_rate: int  # Hz
    tracks: list[list[np.ndarray]]  # class -> track -> (time, channels)
    clipped: int  # samples beyond full scale in the files (float WAV can hold them)
    digest: str  # SHA-256 of classes and files


class SongReader(NamedTuple):
    """A song on disk; ``read`` decodes it."""

    name: str
    read: Callable[[], Multitrack]
    classes: frozenset[str]  # of which there is a track, perhaps a silent one


def open_recordings(
    data: str, sources: Sequence[str] = (), split: str = ""
) -> tuple[tuple[str, ...], list[SongReader]]:
    """Open the classes and songs of a folder, or of the embedded demo music.

    Args:
        data: the folder, the file of a collection (``docs/prepare.md``), or "demo".
        sources: classes to mix, in this order; all, sorted by name, by default.
        split: everything by default, of the demo the test split.

    Returns:
        Classes and songs.

    Raises:
        DataError: there is no such folder, class or split, or nothing is in it.

    Example:
        >>> classes, songs = open_recordings("demo", ["drums", "bass"])
        >>> classes, len(songs), [len(group) for group in songs[0].read().tracks]
        (('drums', 'bass'), 12, [1, 1])
    """
    if data == DEMO:
        return _demo(sources, split or "test")
    if Path(data).is_file():
        return _collection(data, sources, split)
    songs, sources = _find(Path(data), split), tuple(map(name_key, sources))
    known = tuple(sorted({name for files in songs.values() for name in files}))
    for name in sources:
        if name not in known:
            raise DataError(f"no song in {data} has '{name}': {nearest(name, known)}")
    classes = sources or known
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"{data} holds {len(classes)} differently named stems ({classes[0]}, "
            f"{classes[1]}, ...): sort tracks into folders <song>/<class>/<track>.wav, "
            "or choose classes with --sources a,b,c"
        )
    return classes, [
        SongReader(name, partial(_read, base, files, classes), frozenset(files))
        for (name, base), files in songs.items()
    ]


def summed(song: SongReader, groups: Mapping[str, Sequence[str]]) -> SongReader:
    """Return a song of classes that have the tracks of several: of all its own."""
    order = [name for parts in groups.values() for name in parts]

    def read() -> Multitrack:
        loaded = song.read()
        tracks = dict(zip(order, loaded.tracks))
        sums = ([tracks[part] for part in parts] for parts in groups.values())
        return loaded._replace(tracks=[list(chain(*each)) for each in sums])

    sounding = (name for name, parts in groups.items() if song.classes & {*parts})
    return SongReader(song.name, read, frozenset(sounding))


def _find(root: Path, split: str) -> dict[tuple[str, Path], dict[str, list[Path]]]:
    """(Name, folder) of every song -> class -> files."""
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"{root.absolute()} {state}; or say '{DEMO}' for the demo music"
        )
    folders = subfolders(root)
    splits = [one for one in folders if one.name.lower() in SPLIT_FOLDERS]
    chosen = [one for one in splits if SPLIT_FOLDERS[one.name.lower()] == split]
    if split and not chosen:
        listed = ", ".join(one.name for one in splits) or "none"
        raise DataError(f"{root} has no split '{split}'; split folders there: {listed}")
    if splits:
        folders = [one for part in (chosen or splits) for one in subfolders(part)]
    if not folders:
        hint = ": it looks like a song, name the folder above" if _classes(root) else ""
        raise DataError(
            f"{root.absolute()} holds no songs{hint}. Expected <song>/<class>.wav or "
            "<song>/<class>/<track>.wav"
        )
    return {(str(one.relative_to(root)), one): _classes(one) for one in folders}


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Class -> files of one song, stem files first."""
    files: dict[str, list[Path]] = {}
    for path in audio_files(folder, EXTENSIONS):
        files.setdefault(name_key(path.stem), []).append(path)
    for inner in subfolders(folder):
        if tracks := audio_files(inner, EXTENSIONS):
            files.setdefault(name_key(inner.name), []).extend(tracks)
    return {name: paths for name, paths in files.items() if name not in MIXTURES}


def _read(
    folder: Path, files: dict[str, list[Path]], classes: Sequence[str]
) -> Multitrack:
    """Decode a song: tracks of unequal length are padded, the widest is stereo."""
    chosen = {name: files.get(name, []) for name in classes}
    if not any(chosen.values()):
        raise DataError(f"{folder}: holds none of the classes {', '.join(classes)}")
    for name, paths in chosen.items():
        if len(paths) > 1 and any(path.parent == folder for path in paths):
            listed = " and ".join(str(path.relative_to(folder)) for path in paths[:2])
            raise DataError(f"{folder}: both {listed} are '{name}'; keep one")
    headers = [[probe(str(path)) for path in paths] for paths in chosen.values()]
    rates = {file.path: file.sample_rate for group in headers for file in group}
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{Path(path).name} {hz} Hz" for path, hz in rates.items())
        raise DataError(f"{folder}: unequal sample rates: {listed}; export them alike")
    decoded = [
        [to_int16(np.concatenate(list(read_blocks(file)))) for file in group]
        for group in headers
    ]
    clipped = sum(count for group in decoded for _, count in group)
    tracks = [[samples for samples, _ in group] for group in decoded]
    channels = 2 if 2 in {file.channels for group in headers for file in group} else 1
    content = [[name, *map(hash_file, map(str, p))] for name, p in chosen.items()]
    rate, digest = next(iter(rates.values())), text_sha256(repr(content))
    return Multitrack(rate, align(tracks, channels), clipped, digest)


def _collection(
    path: str, sources: Sequence[str], split: str
) -> tuple[tuple[str, ...], list[SongReader]]:
    collection = chosen(read_collection(path))
    for name in sources:
        if name not in collection.classes:
            raise DataError(f"{path}: '{name}': {nearest(name, collection.classes)}")
    classes = tuple(sources) or collection.classes
    songs = [
        SongReader(
            r.id,
            partial(_read_recording, collection, r, classes),
            frozenset(collection.class_of(part.label) for part in r.tracks),
        )
        for r in collection.recordings
        if split in ("", r.split) and r.id not in collection.filters.exclude
    ]
    if not songs:
        raise DataError(f"{path}: no recording has the split '{split}'")
    return classes, songs


def _read_recording(
    collection: Collection, recording: Recording, classes: Sequence[str]
) -> Multitrack:
    """A whole recording at the rate of the collection, in 16 bits."""
    headers = tracks.read_headers(collection, recording)
    headers = [header for header in headers if header.name in classes]
    if not headers:
        raise DataError(f"{recording.id}: has none of {', '.join(classes)}")
    rate, channels = collection.output.rate, tracks.song_channels(collection, headers)
    groups: list[list[np.ndarray]] = [[] for _ in classes]
    clipped = 0
    for header in headers:
        track = tracks.PartReader(header)
        blocks = list(track.blocks(rate, channels, np.dtype(np.int16)))
        wait = np.zeros((round(header.part.start * rate), channels), np.int16)
        groups[classes.index(header.name)].append(np.concatenate([wait, *blocks]))
        clipped += track.clipped
    content = [[h.name, str(h.part), hash_file(str(h.path))] for h in headers]
    digest = text_sha256(repr(content))
    return Multitrack(rate, align(groups, channels), clipped, digest)


def _demo(sources: Sequence[str], split: str) -> tuple[tuple[str, ...], list]:
    from data_pipelines.songs import demo

    classes = tuple(sources) or demo.CLASSES
    songs = {split: min(demo.SONGS.get(split, 0), DEMO_SONGS)}
    manifest = demo.build_manifest("", classes, songs=songs)
    return classes, [
        SongReader(t.name, partial(_read_demo, manifest, t), frozenset(t.stems))
        for t in manifest.tracks
    ]


def _read_demo(manifest: Manifest, track: Track) -> Multitrack:
    """A song of looping takes, at the rate of its takes."""
    tracks: dict[str, list[np.ndarray]] = {name: [] for name in manifest.classes}
    for name, stem in track.stems.items():
        file = manifest.files[stem.file]
        take = np.concatenate(list(read_blocks(probe(manifest.path(file)))))
        stop = stem.start + track.frames
        wave = read_frames(take, stem.start, stop, stem.loop) * np.array(stem.gains)
        tracks[name].append(to_int16(wave)[0])
    digest = text_sha256(f"{manifest.digest()} {track.name}")
    return Multitrack(file.sample_rate, list(tracks.values()), 0, digest)
