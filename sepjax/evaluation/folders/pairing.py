"""Two folders, references and estimates: which songs they share, paired by name.

Both in any layout of :mod:`data_pipelines.songs.layouts`, the same or different ones.
Mixtures are passed over. Names count, never positions: a song or a class without a
partner is told, not guessed.
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from data_pipelines.songs.layouts import (
    MIXTURES,
    SPLIT_FOLDERS,
    Files,
    Songs,
    find_songs,
    name_key,
    no_songs,
)
from sepjax.evaluation.tables import title

LISTED = 5  # names in a remark; what is more is counted


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
    sides = [_wanted(folder, classes) for folder in (references, estimates)]
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
    remarks += [f"{text} ({some(songs)})" for text, songs in lacking.items()]
    if not pairs:
        raise ValueError(
            "nothing to score: no song and class is in both folders. Songs and classes "
            "are paired by name:\n  " + "\n  ".join(remarks)
        )
    return Pairing(tuple(pairs), tuple(remarks))


def _wanted(root: Path, classes: Sequence[str]) -> Songs:
    """The songs of a folder with the files of the classes, without mixtures."""
    known, kept = [name_key(name) for name in classes], {}
    for key, files in find_songs(root, classes).items():
        names = known or [name for name in files if name not in MIXTURES]
        if wanted := {name: files[name] for name in names if name in files}:
            kept[key] = wanted
    if not kept:
        raise ValueError(no_songs(root, classes))
    return kept


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
            {(SPLIT_FOLDERS[k.lower()], name): (k, files) for (k, name), files in s}
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
        remarks[-1] += f"and are not scored: {some(names)}"
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
    return f"; references there: {some(names)}"


def some(names: Sequence[str]) -> str:
    """The first names, and how many more.

    Example:
        >>> some(["a", "b"]), some(list("abcdefg"))
        ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
