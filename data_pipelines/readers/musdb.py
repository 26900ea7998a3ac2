"""MUSDB18, MUSDB18-HQ and the sample of 7 s, with the official split.

Layouts are in docs/datasets.md. Fourteen songs of the training folder, listed in
:data:`VALIDATION`, validate. (A folder ``valid`` with those, as some tools want it, is
read as well.) Sources: https://sigsep.github.io/datasets/musdb.html and the settings of
``musdb``, the package of its authors.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from data_pipelines.audio.files import subfolders
from data_pipelines.collections.collection import (
    Collection,
    MixRules,
    Output,
    Part,
    Recording,
)
from data_pipelines.manifest import DataError
from data_pipelines.readers.checks import conclude, excluding, file_problem, open_root
from data_pipelines.readers.labels import FOUR

SUFFIX = ".stem.mp4"
STREAMS = ("mixture", "drums", "bass", "other", "vocals")  # of such a file
RATE = 44100  # Hz
VALIDATION = (
    "Actions - One Minute Smile",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Johnny Lokke - Promises & Lies",
    "Patrick Talbot - A Reason To Leave",
    "Triviul - Angelsaint",
    "Alexander Ross - Goodbye Bolero",
    "Fergessen - Nos Palpitants",
    "Leaf - Summerghost",
    "Skelpolu - Human Mistakes",
    "Young Griffo - Pennies",
    "ANiMAL - Rockshow",
    "James May - On The Line",
    "Meaxic - Take A Step",
    "Traffic Experiment - Sirens",
)


class SongPath(NamedTuple):
    """A song on disk."""

    name: str
    folder: str  # train | valid | test
    path: Path  # a file of streams, or a folder of files


def read_musdb18(
    root: str, *, exclude: Sequence[str] = (), partial: bool = False
) -> Collection:
    """Read MUSDB18 as distributed: 150 ``.stem.mp4`` files, 86 + 14 + 50 songs.

    A song's mixture is the distributed one. It differs from the sum of the stems, since
    each stream is compressed on its own.

    Args:
        root: the folder that holds ``train`` and ``test``.
        exclude: songs to leave out, by name.
        partial: take what is there; whatever of the data set is missing is a warning.

    Raises:
        DataError: all that is missing, or does not belong there.
    """
    return _read("musdb18", root, _stem_files, (100, 50), exclude, partial)


def read_musdb18_7s(
    root: str, *, exclude: Sequence[str] = (), partial: bool = False
) -> Collection:
    """Read the sample of MUSDB18: 7 s each of 144 songs, 80 + 14 + 50."""
    return _read("musdb18_7s", root, _stem_files, (94, 50), exclude, partial)


def read_musdb18hq(
    root: str, *, exclude: Sequence[str] = (), partial: bool = False
) -> Collection:
    """Read MUSDB18-HQ: the same songs without compression, five WAV files each."""
    return _read("musdb18hq", root, subfolders, (100, 50), exclude, partial)


def _read(
    name: str,
    root: str,
    find: Callable[[Path], Iterable[Path]],
    counts: tuple[int, int],
    exclude: Sequence[str],
    partial: bool,
) -> Collection:
    hq = name == "musdb18hq"
    what = "<Artist - Title>/mixture.wav ..." if hq else f"<Artist - Title>{SUFFIX}"
    base = _base(name, open_root(root, name), what)
    songs = [
        SongPath(path.name.removesuffix(SUFFIX), folder, path)
        for folder in ("train", "valid", "test")
        if (base / folder).is_dir()
        for path in sorted(find(base / folder))
    ]
    if not songs:
        raise DataError(f"{base}: 'train' and 'test' hold no {what}")
    lacking, problems = _incomplete(songs, counts), list(_broken(songs))
    filters = excluding(exclude, [song.name for song in songs], problems)
    if lacking and not partial:
        hint = f"{lacking[0]} (partial=true takes what is there)"
        problems = [hint, *lacking[1:], *problems]
    collection = Collection(
        name=name,
        root=str(base),
        classes=FOUR,
        recordings=tuple(_recording(song, base) for song in songs),
        mix=MixRules(mode="summing"),
        filters=filters,
        output=Output(channels=2),
    )
    remarks = [f"incomplete: {'; '.join(lacking)}"] if lacking else []
    return conclude(collection, problems, remarks)


def _base(name: str, root: Path, what: str) -> Path:
    """The folder that holds ``train``: as said, or the one folder within it."""
    if (root / "train").is_dir():
        return root
    inner = [path.parent for path in root.glob("*/train")]
    if len(inner) != 1 and not (root / "test").is_dir():
        raise DataError(
            f"{root} has neither 'train' nor 'test': expected "
            f"{{train,test}}/ with {what} as {name} is distributed"
        )
    return inner[0] if len(inner) == 1 else root


def _stem_files(folder: Path) -> Iterator[Path]:
    # "._x" is what macOS leaves beside a file x on foreign disks.
    return (path for path in folder.glob(f"*{SUFFIX}") if path.name[0] != ".")


def _incomplete(songs: Sequence[SongPath], counts: tuple[int, int]) -> list[str]:
    """Songs and numbers of songs that the data set lacks."""
    known = {song.name for song in songs if song.folder != "test"}
    of_test = sum(song.folder == "test" for song in songs)
    problems = [
        f"'{folder}' holds {count} songs instead of {wanted}"
        for folder, count, wanted in zip(
            ("train", "test"), (len(known), of_test), counts
        )
        if count != wanted
    ]
    missing = [name for name in VALIDATION if name not in known]
    return problems + [f"no song '{name}', which validates" for name in missing]


def _broken(songs: Sequence[SongPath]) -> Iterator[str]:
    """Problems of single songs: double, in the wrong split, broken."""
    seen: dict[str, str] = {}
    for song in songs:
        if song.name in seen:
            yield f"'{song.name}' is in '{seen[song.name]}' and in '{song.folder}'"
        seen[song.name] = song.folder
        if (song.name in VALIDATION) > (song.folder != "test"):
            yield f"'{song.name}' is in 'test', but it validates"
        if song.folder == "valid" and song.name not in VALIDATION:
            yield f"'{song.name}' is in 'valid', but it is none of the official 14"
        inside = [song.path / f"{name}.wav" for name in STREAMS]
        paths = inside if song.path.is_dir() else [song.path]
        yield from filter(None, map(file_problem, paths))


def _recording(song: SongPath, base: Path) -> Recording:
    place = song.path.relative_to(base)
    artist, _, title = song.name.partition(" - ")

    def part(name: str, label: str) -> Part:
        if song.path.is_dir():
            return Part((place / f"{name}.wav").as_posix(), label)
        return Part(place.as_posix(), label, stream=STREAMS.index(name))

    return Recording(
        id=song.name,
        tracks=tuple(part(name, name) for name in FOUR),
        group=artist,
        split="valid" if song.name in VALIDATION else song.folder,
        tags={"artist": artist, "title": title},
        sample_rate=RATE,
        mixture=part("mixture", ""),
    )
