"""Two folders, references and estimates: which songs they share, paired by name.

Layouts, the same or different ones in the two folders::

    root/[train|valid|test/]<song>/<class>.wav       MUSDB18-HQ, Demucs, Open-Unmix
    root/[train|valid|test/]<song>/<song>_<class>.wav
    root/[train|valid|test/]<song>_<class>.wav       flat
    root/<class>.wav                                 a single song

Files are WAV, FLAC or whatever else libsndfile reads. Mixtures are passed over. Names
count, never positions: a song or a class without a partner is told, not guessed.
"""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sepjax.evaluation.tables import title

AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64")
SUBSETS = ("train", "valid", "validation", "val", "test")
MIXTURES = ("mixture", "mix", "linear_mixture")
# A folder that holds one of these files is a song; others may be flat.
COMMON = (*MIXTURES, "vocals", "drums", "bass", "other", "accompaniment", "no_vocals")
LISTED = 5  # names in a remark; what is more is counted

Files = dict[str, list[Path]]  # class -> its files, which should be one
Songs = dict[tuple[str, str], Files]  # (subset or "", name) -> files


class Pair(NamedTuple):
    """A song with the files of the classes that both folders have."""

    name: str
    subset: str  # "" where no folder says it
    references: Files
    estimates: Files

    @property
    def title(self) -> str:
        """Subset and name, as they are shown and as museval names its files."""
        return title(self._asdict())


class Pairing(NamedTuple):
    """Songs to score, and messages about files without a partner."""

    pairs: tuple[Pair, ...]
    remarks: tuple[str, ...]


def pair_tracks(
    references: Path, estimates: Path, classes: Sequence[str] = ()
) -> Pairing:
    """Find the songs of two folders and pair them, and their classes, by name.

    Upper and lower case of classes does not count, nor how accents are encoded. Where
    only one folder is divided into subsets (train, test), the songs are paired by
    their names alone.

    Args:
        references: folder of the true stems.
        estimates: folder of what is to be scored.
        classes: the only classes to score; they also tell in flat layouts where the
            name of a song ends (``my_song_lead_vocals.wav``), which is otherwise the
            last underscore.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a folder holds no songs, or nothing in them has a partner.
    """
    sides = [find_songs(folder, classes) for folder in (references, estimates)]
    matched, remarks = _match_songs(*sides, references, estimates)
    pairs = []
    lacking: dict[str, list[str]] = {}  # remark on a class -> songs
    for subset, name, truth, guess in matched:
        shared = [key for key in truth if key in guess]
        for text in _class_remarks(truth, guess):
            lacking.setdefault(text, []).append(name)
        if shared:
            files = ({key: side[key] for key in shared} for side in (truth, guess))
            pairs.append(Pair(name, subset, *files))
    remarks += [f"{text} ({_some(songs)})" for text, songs in lacking.items()]
    if not pairs:
        raise ValueError(
            "nothing to score: no song and class is in both folders. Songs and classes "
            "are paired by name:\n  " + "\n  ".join(remarks)
        )
    return Pairing(tuple(pairs), tuple(remarks))


def find_songs(root: Path, classes: Sequence[str] = ()) -> Songs:
    """Find the songs of a folder in any of the layouts, without mixtures.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no songs; says what it holds instead.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder")
    known = [_key(name) for name in classes]
    songs: Songs = {}
    plain = []
    for folder in _subfolders(root):
        inner = _songs_in(folder, known)
        # A song may itself be called "test": then its stems lie right in the folder.
        if folder.name.lower() in SUBSETS and set(inner) - {folder.resolve().name}:
            songs |= {(folder.name, name): files for name, files in inner.items()}
        else:
            plain.append(folder)
    for name, files in _songs_in(root, known, plain).items():
        songs["", name] = files
    kept: Songs = {}
    for key, files in songs.items():
        names = known or [name for name in files if name not in MIXTURES]
        if wanted := {name: files[name] for name in names if name in files}:
            kept[key] = wanted
    if not kept:
        raise ValueError(_no_songs(root, classes))
    return kept


def _songs_in(
    folder: Path, known: Sequence[str], subfolders: Iterable[Path] | None = None
) -> dict[str, Files]:
    songs: dict[str, Files] = {}

    def add(song: str, name: str, path: Path) -> None:
        if song:  # "notes.wav" beside songs: no class of anything
            files = songs.setdefault(unicodedata.normalize("NFC", song), {})
            files.setdefault(_key(name), []).append(path)

    for child in _subfolders(folder) if subfolders is None else subfolders:
        for path in _audio(child):
            add(child.name, path.stem.removeprefix(f"{child.name}_"), path)
    paths = _audio(folder)
    names = {_key(path.stem) for path in paths}
    alone = bool(names & {*known, *(() if known else COMMON)})
    alone |= bool(names) and not any("_" in name for name in names)
    for path in paths:
        whole = folder.resolve().name, path.stem
        add(*(whole if alone else _split(path.stem, known)), path)
    return songs


def _split(stem: str, known: Iterable[str]) -> tuple[str, str]:
    """Song and class of a file of a flat folder.

    Example:
        >>> _split("my_song_vocals", []), _split("a_lead_vocals", ["lead_vocals"])
        (('my_song', 'vocals'), ('a', 'lead_vocals'))
    """
    for name in sorted((*known, *MIXTURES), key=len, reverse=True):
        if stem.casefold().endswith("_" + name):
            return stem[: -len(name) - 1], name
    song, _, name = stem.rpartition("_")
    return song, name


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in _children(folder) if path.is_dir()]


def _audio(folder: Path) -> list[Path]:
    return [path for path in _children(folder) if path.suffix.lower() in AUDIO]


def _children(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _no_songs(root: Path, classes: Sequence[str]) -> str:
    below = next((p for p in sorted(root.rglob("*")) if p.suffix in AUDIO), None)
    hint = ""
    if packed := next(root.rglob("*.stem.mp4"), None):
        hint = f"; {packed.name} is packed: unpack the dataset into WAV files with "
        hint += f"`musdbconvert {root} OTHER_FOLDER` (pip install musdb)"
    elif below and classes:
        hint = f"; there are other files, such as {below}: check the names of --classes"
    elif below:
        hint = f"; the first audio below it is {below}: name the folder of its songs"
    return (
        f"{root} holds no songs{hint}. Expected: <song>/<class>.wav, the same below "
        "train/ or test/, or <song>_<class>.wav"
    )


def _match_songs(
    truth: Songs, guess: Songs, references: Path, estimates: Path
) -> tuple[list[tuple[str, str, Files, Files]], list[str]]:
    """(subset, name, references, estimates) of each song, and remarks on the rest."""
    single = (references.resolve().name, estimates.resolve().name)
    if [*truth] == [("", single[0])] and [*guess] == [("", single[1])]:
        return [("", single[0], *truth.values(), *guess.values())], []
    if not (all(s for s, _ in truth) and all(s for s, _ in guess)):
        truth, guess = _by_name(truth, references), _by_name(guess, estimates)
    else:
        truth, guess = (
            {(subset.lower(), name): (subset, files) for (subset, name), files in s}
            for s in (truth.items(), guess.items())
        )
    matched = []
    missing: dict[str, list[str]] = {}
    for key, (subset, files) in truth.items():
        if key in guess:
            matched.append((subset or guess[key][0], key[1], files, guess[key][1]))
        else:
            missing.setdefault(subset, []).append(key[1])
    strangers = [name for subset, name in guess if (subset, name) not in truth]
    known = [name for _, name in truth]
    text = f"{estimates}: no reference of song"
    remarks = [f"{text} {name!r}{_near(name, known)}" for name in strangers]
    for subset, names in missing.items():
        where = f" of {subset}" if subset else ""
        remarks.append(f"{references}: {len(names)} songs{where} have no estimates ")
        remarks[-1] += f"and are not scored: {_some(names)}"
    return matched, remarks


def _by_name(songs: Songs, root: Path) -> dict[tuple[str, str], tuple[str, Files]]:
    merged: dict[tuple[str, str], tuple[str, Files]] = {}
    for (subset, name), files in songs.items():
        other = merged.setdefault(("", name), (subset, files))[0]
        if other != subset:
            raise ValueError(
                f"{root}: song {name!r} is in {other or '.'} and in {subset or '.'}, "
                "and the other folder does not tell which is meant: name the subset's "
                "folder itself"
            )
    return merged


def _class_remarks(truth: Files, guess: Files) -> Iterable[str]:
    for name in guess:
        if name not in truth:
            yield f"no reference of class {name!r}{_near(name, truth)}"
    for name in truth:
        if name not in guess:
            yield f"no estimate of class {name!r}, which is not scored"


def _near(name: str, known: Iterable[str]) -> str:
    names = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    return f"; references there: {_some(names)}"


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more.

    Example:
        >>> _some(["a", "b"]), _some(list("abcdefg"))
        ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
