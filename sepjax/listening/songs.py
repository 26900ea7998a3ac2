"""What listeners can compare: the songs and classes that all systems have separated."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.audio.files import probe
from data_pipelines.songs.layouts import name_key
from sepjax.evaluation.folders.pairing import Pair, pair_tracks, some
from sepjax.evaluation.folders.reading import read_pair
from sepjax.evaluation.scoring import MAIN
from sepjax.report.html.players import read_excerpt
from sepjax.report.run_folder import read_run

SYSTEMS = 9  # with reference and two anchors the twelve signals of BS.1534-3, 5.3


class Stems(NamedTuple):
    """A song, or a run's excerpt of it, as one system has separated it."""

    rate: int  # Hz
    references: dict[str, np.ndarray]  # class -> (time, channels)
    estimates: dict[str, np.ndarray]


Song = tuple[str, float]  # name, and seconds at which an excerpt of a run begins
Reader = Callable[[], Stems]


def name_systems(folders: Sequence[Path]) -> dict[str, Path]:
    """Return systems by the names of their folders, by whole paths where these agree.

    Raises:
        ValueError: there are too few or too many, or one comes twice.

    Example:
        >>> [*name_systems([Path("a/small"), Path("b/large")])]
        ['small', 'large']
    """
    if not 2 <= len(folders) <= SYSTEMS:
        raise ValueError(
            f"{len(folders)} systems: a listening test compares 2 to {SYSTEMS}, "
            "`sepjax listen A B --references DIR -o DIR`"
        )
    names = Counter(folder.resolve().name for folder in folders)
    named = {
        str(one) if names[one.resolve().name] > 1 else one.resolve().name: one
        for one in folders
    }
    if len({one.resolve() for one in folders}) < len(folders):
        raise ValueError(f"{', '.join(map(str, folders))}: one system comes twice")
    return named


def shared_songs(
    systems: Mapping[str, Path], references: Path | None, classes: Sequence[str] = ()
) -> tuple[dict[Song, list[Reader]], list[str]]:
    """Find the songs that all systems have separated.

    Args:
        systems: name -> folder of estimates, or run folder with ``audio/``.
        references: folder of the true stems; runs have their own.
        classes: the only ones to compare.

    Returns:
        Song -> what reads it, system by system; and remarks on what is left out.

    Raises:
        OSError, ValueError: a folder holds no songs, lengths differ, or no song is in
            all systems.
    """
    known, remarks = {}, []
    for name, folder in systems.items():
        known[name], notes = _songs(folder, references, classes)
        remarks += [f"{name}: {note}" for note in notes]
    first = next(iter(known.values()))
    shared = [song for song in first if all(song in own for own in known.values())]
    for name, own in known.items():
        rest = [
            f"{song} from {start:g} s" if start else song
            for song, start in own
            if (song, start) not in shared
        ]
        if rest:
            remarks.append(f"{name}: songs that not all systems have: {some(rest)}")
    if not shared:
        lines = "\n  ".join(remarks)
        raise ValueError(f"no song is in all systems, and names decide:\n  {lines}")
    return {song: [own[song] for own in known.values()] for song in shared}, remarks


def _songs(
    folder: Path, references: Path | None, classes: Sequence[str]
) -> tuple[dict[Song, Reader], list[str]]:
    if (folder / "audio" / "index.json").is_file():
        excerpts = read_run(folder).excerpts
        keys = [(entry["track"], float(entry.get("start", 0.0))) for entry in excerpts]
        reads = [functools.partial(_read_run, folder, e, classes) for e in excerpts]
        return dict(zip(keys, reads)), []
    if references is None:
        raise ValueError(
            f"{folder}: is no run folder with audio/, which would hold the references: "
            "name the folder of the true stems, --references DIR"
        )
    pairs, remarks = pair_tracks(references, folder, classes)
    names = Counter(pair.name for pair in pairs)
    songs: dict[Song, Reader] = {}
    for pair in pairs:
        _require_equal_lengths(pair)
        name = pair.name if names[pair.name] == 1 else pair.title
        songs[name, 0.0] = functools.partial(_read_files, pair)
    return songs, [*remarks]


def _require_equal_lengths(pair: Pair) -> None:
    paths = [p for side in pair[2:] for files in side.values() for p in files]
    lengths = {path: probe(str(path)).frames for path in paths}
    if len({*lengths.values()}) > 1:
        text = "; ".join(f"{path} {frames}" for path, frames in lengths.items())
        raise ValueError(
            f"song {pair.title!r}: lengths differ, in samples: {text}: one may begin "
            "elsewhere, and what is compared has to run together; export them alike"
        )


def _read_files(pair: Pair) -> Stems:
    track = read_pair(pair)
    sides = track.references, track.estimates[MAIN]
    return Stems(track.sample_rate, *(dict(zip(track.classes, s)) for s in sides))


def _read_run(folder: Path, entry: dict[str, Any], classes: Sequence[str]) -> Stems:
    excerpt = read_excerpt(folder, entry)
    wanted = {name_key(name) for name in classes}
    sides = [
        {k: wave for k, wave in side.items() if not wanted or name_key(k) in wanted}
        for side in (excerpt.references, excerpt.estimates)
    ]
    return Stems(excerpt.sample_rate, *sides)
