"""Where the stems of a recording go: names that no other has, and patterns."""

import itertools
import os
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_pipelines.audio.encode import FORMATS, read_comment
from data_pipelines.songs.layouts import MIXTURES
from sepjax.registry import nearest
from sepjax.storage import text_sha256

PATTERN = "{track}/{stem}.{ext}"
MOST = 1000  # names that are tried; the last one is refused where it is written
KEYS = ("track", "trackext", "stem", "ext")


@dataclass(frozen=True)
class Place:
    """The files of a track's stems."""

    folder: Path  # that they lie in, or below
    track: str  # its name
    pattern: str = PATTERN  # of their names
    extension: str = ""  # of the recording, without its dot

    @classmethod
    def of(cls, folder: Path) -> "Place":
        """Return the place in which a folder is that of a track."""
        folder = folder if folder.name.strip(".") else folder.resolve()
        return cls(folder.parent, folder.name)

    def path(self, stem: str, kind: str) -> Path:
        """Return the file of a stem.

        Example:
            >>> place = Place(Path("out"), "song", "{stem}/{track}.{ext}")
            >>> place.path("vocals", "mp3").as_posix()
            'out/vocals/song.mp3'
        """
        values = dict(track=self.track, trackext=self.extension, stem=stem, ext=kind)
        names = [part.format(**values) for part in self.pattern.split("/") if part]
        names = [name if name.strip(".") else f"_{name}" for name in names]
        return self.folder.joinpath(*map(shortened, names))

    def __str__(self) -> str:
        """Return the folder of the stems, or their files with * for each stem."""
        if self.pattern == PATTERN:
            return str(self.folder / self.track)
        return str(self.path("*", "*"))

    def is_free(self, stems: Sequence[str], origin: Path | None) -> bool:
        """Whether files of the stems' names are stems of the same origin, if any."""
        for path in self.all_paths(stems):
            above = itertools.takewhile(lambda p: p != self.folder, path.parents)
            if any(os.path.lexists(each) and not each.is_dir() for each in above):
                return False
            # A pipe would wait for a writer.
            regular = path.is_file() and not path.is_symlink()
            ours = regular and read_comment(path).startswith(mark(origin))
            if os.path.lexists(path) and not ours:
                return False
        return True

    def holds(self, stems: Sequence[str], kind: str, comment: str) -> bool:
        """Whether all stems are there in a format, and have a comment."""
        paths = [self.path(stem, kind) for stem in stems]
        return all(p.is_file() and read_comment(p) == comment for p in paths)

    def all_paths(self, stems: Sequence[str]) -> list[Path]:
        """Return the files that stems may have; formats make way for each other."""
        return [*dict.fromkeys(self.path(s, kind) for s in stems for kind in FORMATS)]


def mark(origin: Path | None, recipe: str = "") -> str:
    """Return the comment of stems: digests of the path and of all that shapes them.

    Example:
        >>> mark(None)
        'separated from samples'
    """
    text = "" if origin is None else text_sha256(ascii(str(origin.absolute())))[:16]
    how = f" by recipe {text_sha256(recipe)[:16]}" if recipe else ""
    return f"separated from {text or 'samples'}{how}"


def is_stem(path: Path) -> bool:
    """Whether a file of audio is a stem that sepjax has written."""
    known = "separated from ([0-9a-f]{16}|samples)"
    return path.is_file() and bool(re.match(known, read_comment(path)))


def check_pattern(pattern: str) -> None:
    """Check a pattern of names, such as ``{track}/{stem}.{ext}``.

    Raises:
        ValueError: it has unknown keys, not the key of the stem, or leads elsewhere.

    Example:
        >>> check_pattern("{track}-{stems}.wav")
        Traceback (most recent call last):
        ValueError: --filename: unknown key {stems}: did you mean 'stem'? ...
    """
    try:
        fields = [each[1:] for each in string.Formatter().parse(pattern)]
    except ValueError as error:
        raise ValueError(f"--filename {pattern}: {error}") from error
    for key, form, conversion in fields:
        if key is not None and (key not in KEYS or form or conversion):
            hint = nearest(key, KEYS)
            raise ValueError(f"--filename: unknown key {{{key}}}: {hint}")
    parts = pattern.split("/")
    apart = {parts[0], parts[-1]} & {""} or {".", ".."} & {*parts}
    if "stem" not in [key for key, *_ in fields]:
        raise ValueError(f"--filename {pattern}: all stems have one name: add {{stem}}")
    if apart or {*"\\:\0"} & {*pattern}:
        text = "it must name files within the folder of -o"
        raise ValueError(f"--filename {pattern}: {text}")


def free_places(
    output: Path, files: Sequence[Path], stems: Sequence[str], pattern: str = PATTERN
) -> Iterator[tuple[Path, Place]]:
    """Yield each file and the place in ``output`` that its stems may have.

    ``{track}`` is the first name of the file that no other file's stems have.
    """
    taken: set[str] = set()
    for path, names in names_of(files).items():
        for name in itertools.islice(names, MOST if "{track}" in pattern else 1):
            place = Place(output, name, pattern, path.suffix[1:])
            keys = {str(each).casefold() for each in place.all_paths(stems)}
            if not keys & taken and place.is_free(stems, path):
                break
        taken |= keys
        yield path, place


def names_of(files: Sequence[Path]) -> dict[Path, Iterator[str]]:
    """Yield names for each file's stems, from the shortest that no other file has on.

    The first is the song's own, of the folder for a file called mixture; each following
    one is a folder deeper.

    Example:
        >>> names = names_of([Path("/a/CD/01.wav"), Path("/b/CD/01.wav")])
        >>> [next(each) for each in names.values()]
        ['a - CD - 01', 'b - CD - 01']
        >>> names = names_of([Path("/a/1.wav"), Path("/a/1.flac"), Path("/b/mix.wav")])
        >>> [next(each) for each in names.values()]
        ['1.wav', '1.flac', 'b']
    """
    lists = {path: _names(path) for path in files}
    ranks = itertools.zip_longest(*lists.values())
    counts = [Counter(str(name).casefold() for name in rank) for rank in ranks]

    def own(names: list[str]) -> Iterator[str]:
        for name, count in zip(names, counts):
            if count[name.casefold()] == 1:
                yield name
        for number in itertools.count(2):
            yield shortened(f"{names[-1]} ({number})")

    return {path: own(names) for path, names in lists.items()}


def _names(path: Path) -> list[str]:
    """The song's name, with its folders, and with what the file is called."""
    folders = [part for part in path.absolute().parts[1:-1] if part != ".."]
    named = path.stem.lower() in MIXTURES and folders
    stem = "stdin" if str(path) == "-" else path.stem.removesuffix(".stem")
    own = stem if stem.strip(".") else "track"
    parts = folders if named else [*folders, own]
    names = [" - ".join(parts[-depth:]) for depth in range(1, len(parts) + 1)]
    more = f" - {path.name}" if named else path.suffix
    return [shortened(name) for name in (*names, names[0] + more)]


def shortened(name: str) -> str:
    """Return the end of a name that is too long for a file system."""
    while len(os.fsencode(name)) > 255:
        name = name[1:]
    return name
