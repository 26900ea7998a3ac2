"""Folders of songs in any of the usual layouts, the same for training and evaluation.

::

    root/[train|valid|test/]<song>/<class>.wav       MUSDB18-HQ, Demucs, Open-Unmix
    root/[train|valid|test/]<song>/<song>_<class>.wav
    root/[train|valid|test/]<song>_<class>.wav       flat
    root/<class>.wav                                 a single song

Files are WAV, FLAC or whatever else libsndfile reads. Capitals in the names of classes
make no difference, nor does how accents are encoded. Hidden files, and the folders that
systems leave behind (``__MACOSX``), are passed over.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from data_pipelines.audio.files import audio_files, subfolders
from data_pipelines.manifest import DataError

AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64")
LOSSY = (".ogg", ".opus", ".mp3")
SPLIT_FOLDERS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("valid", "validation", "val"), "valid"
)
MIXTURES = ("mixture", "mix", "linear_mixture")
# A folder that holds one of these files is a song; others may be flat.
COMMON = {*MIXTURES, "vocals", "drums", "bass", "other", "accompaniment", "no_vocals"}

Files = dict[str, list[Path]]  # class or mixture -> its files, which should be one
Songs = dict[tuple[str, str], Files]  # (folder of the split or "", name) -> files


def find_songs(root: Path, classes: Sequence[str] = ()) -> Songs:
    """Find the songs of a folder.

    Args:
        root: the folder.
        classes: where they are known, they tell in flat layouts where the name of a
            song ends (``my_song_lead_vocals.wav``), which is otherwise the last
            underscore, and what lies between songs and is none.

    Returns:
        All audio of every song, by :func:`name_key` of what it is called.

    Raises:
        FileNotFoundError: there is no such folder.
        DataError: it holds no songs, and what it holds instead; a song's name is not
            UTF-8.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder")
    known = {name_key(name) for name in classes}
    songs: Songs = {}
    plain = []
    for folder in subfolders(root):
        inner = _songs_in(folder, known)
        if folder.name.lower() in SPLIT_FOLDERS and not _is_song(folder, inner):
            songs |= {(folder.name, name): files for name, files in inner.items()}
        else:
            plain.append(folder)
    inner = _songs_in(root, known, plain)
    songs |= {("", name): files for name, files in inner.items()}
    if not songs:
        raise DataError(no_songs(root, classes))
    return songs


def _is_song(folder: Path, inner: dict[str, Files]) -> bool:
    """A song may itself be called "test": then its stems lie right in the folder."""
    files = inner.get(folder.resolve().name, {})
    paths = [path for paths in files.values() for path in paths]
    return set(inner) <= {folder.resolve().name} and all(
        path.parent == folder for path in paths
    )


def _songs_in(
    folder: Path, known: set[str], inner: Iterable[Path] | None = None
) -> dict[str, Files]:
    songs: dict[str, Files] = {}

    def add(song: str, name: str, path: Path) -> None:
        if song:  # "notes.wav" beside songs: no class of anything
            for text in (song, *([] if known else [name])):
                _require_text(text, path)
            files = songs.setdefault(unicodedata.normalize("NFC", song), {})
            files.setdefault(name_key(name), []).append(path)

    for child in subfolders(folder) if inner is None else inner:
        for path in audio_files(child, AUDIO):
            name, prefix = name_key(path.stem), name_key(f"{child.name}_")
            add(child.name, name.removeprefix(prefix), path)
    paths = audio_files(folder, AUDIO)
    names = {name_key(path.stem) for path in paths}
    alone = bool(names & (known or COMMON))
    alone |= bool(names) and not known and not any("_" in name for name in names)
    for path in paths:
        whole = folder.resolve().name, path.stem
        add(*(whole if alone else _split(path.stem, known)), path)
    for files in songs.values():
        for name, paths in files.items():  # a copy made smaller is no second stem
            files[name] = [p for p in paths if p.suffix.lower() not in LOSSY] or paths
    return songs


def _require_text(name: str, path: Path) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        text = f"{path}: {name!a} is not UTF-8, as names of songs and classes are"
        raise DataError(f"{text}: rename it, or convert all names by convmv") from error


def _split(stem: str, known: Iterable[str]) -> tuple[str, str]:
    """Song and class of a file of a flat folder; no song if the class is not known.

    Example:
        >>> _split("my_song_vocals", []), _split("a_lead_vocals", ["lead_vocals"])
        (('my_song', 'vocals'), ('a', 'lead_vocals'))
    """
    text = unicodedata.normalize("NFC", stem)
    places = [place for place, letter in enumerate(text) if letter == "_"]
    for place in places:  # the longest name first
        if (name := name_key(text[place + 1 :])) in {*known, *MIXTURES}:
            return text[:place], name
    song, _, name = text.rpartition("_")
    return ("", "") if known else (song, name)


def name_key(name: str) -> str:
    r"""Return what two spellings of a name share.

    Example:
        >>> name_key("VOCALS"), name_key("Fiance\u0301") == name_key("fianc\u00e9")
        ('vocals', True)
    """
    return unicodedata.normalize("NFC", name).casefold()


def no_songs(root: Path, classes: Sequence[str]) -> str:
    """Say that a folder holds no songs, what it holds instead, and what is expected."""
    below = next((p for p in sorted(root.rglob("*")) if p.suffix in AUDIO), None)
    hint = ""
    if packed := next(root.rglob("*.stem.mp4"), None):
        hint = f"; {packed.name} is packed: unpack the dataset into WAV files with "
        hint += f"`musdbconvert {root} OTHER_FOLDER` (pip install musdb)"
    elif below and classes:
        hint = f"; there are other files, such as {below}: check the names of classes"
        hint += f" ({', '.join(classes)})"
    elif below:
        hint = f"; the first audio below it is {below}: name the folder of its songs"
    return (
        f"{root} holds no songs{hint}. Expected: <song>/<class>.wav, the same below "
        "train/ or test/, or <song>_<class>.wav"
    )
