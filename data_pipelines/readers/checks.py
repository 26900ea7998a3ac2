"""Checks of a folder before a reader trusts it, and messages about their results."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.collections import trees
from data_pipelines.collections.collection import (
    Collection,
    Filters,
    Part,
    Recording,
    SplitRules,
)
from data_pipelines.collections.rules import check_collection
from data_pipelines.manifest import DataError
from data_pipelines.readers.tables import suggest
from sepjax.registry import nearest

LISTED = 10  # entries of a warning


def choose(option: str, value: str, known: Iterable[str]) -> str:
    """Return the value of an option; DataError with the nearest if it is not known."""
    if value not in (known := list(known)):
        raise DataError(f"{option}={value!r}: {nearest(str(value), known)}")
    return value


def open_root(root: str, name: str, inner: Sequence[str] = ()) -> Path:
    """Open the folder of a set, also if the folder above it is given.

    ``inner`` are names that the set's own folder has when it is unpacked.

    Raises:
        DataError: nothing is named, or it is no folder.
    """
    if not root:
        raise DataError(f"{name} needs the folder that it was unpacked to")
    base = Path(root).expanduser()
    if not base.is_dir():
        state = "is not a folder" if base.exists() else "does not exist"
        raise DataError(f"{name}: {base.absolute()} {state}")
    return next((base / one for one in inner if (base / one).is_dir()), base).absolute()


def read_tree(path: Path, problems: list[str]) -> dict[str, Any]:
    """Read a JSON or YAML file; {} and one more problem if that fails."""
    try:
        tree = trees.read_tree(path)
    except DataError as error:
        problems.append(str(error).splitlines()[0])
        return {}
    if isinstance(tree, dict):
        return tree
    problems.append(f"{path}: names with values are wanted, not {str(tree)[:40]!r}")
    return {}


def entries(tree: Any, where: str, problems: list[str]) -> list[dict[str, Any]]:
    """Return the sections of a list; everything else in the list becomes a problem."""
    if not isinstance(tree, list):
        problems.append(f"{where}: a list is wanted, not {str(tree)[:40]!r}")
        return []
    problems += [
        f"{where}: names with values are wanted, not {str(one)[:40]!r}"
        for one in tree
        if not isinstance(one, dict)
    ]
    return [one for one in tree if isinstance(one, dict)]


def sections(
    tree: Any, where: str, problems: list[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Return names and sections in the order of the names, as S00, S01."""
    if not isinstance(tree, dict):
        problems.append(f"{where}: names with sections are wanted, not {tree!r}")
        return []
    by_name = {str(name): one for name, one in tree.items()}
    ordered = sorted(by_name.items(), key=lambda item: item[0])
    entries([one for _, one in ordered], where, problems)
    return [(name, one) for name, one in ordered if isinstance(one, dict)]


def truth(value: Any) -> bool:
    """Read a word of metadata as a truth value: true, yes, 1 or their opposites.

    Example:
        >>> [truth(one) for one in ("yes", True, 1, "No", "false", 0, None, "")]
        [True, True, True, False, False, False, False, False]
    """
    return str(value).strip().lower() in ("yes", "true", "1")


def relative(path: Path, base: Path) -> str:
    """Make a path for a collection whose root is ``base``.

    Example:
        >>> relative(Path("/set/a/b.wav"), Path("/set"))
        'a/b.wav'
        >>> relative(Path("/elsewhere/b.wav"), Path("/set"))
        '/elsewhere/b.wav'
    """
    return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()


def file_problem(path: Path) -> str:
    """Say why a file cannot be read, as far as is known without opening it; or ""."""
    try:
        size = path.stat().st_size
    except (OSError, ValueError):  # ValueError: no name that a file can have
        return f"{path}: no such file; copy or unpack it again"
    return "" if size else f"{path}: empty file (0 bytes); copy it again"


def part(path: Path, base: Path, label: str, problems: list[str]) -> Part:
    """Make the part of a file; what :func:`file_problem` says joins the problems."""
    problems += filter(None, [file_problem(path)])
    return Part(relative(path, base), label)


def label_map(
    songs: Iterable[Recording], class_of: Callable[[str, str], str], classes: str
) -> dict[str, str]:
    """Map every label of the songs' tracks to its class among ``classes``."""
    labels = sorted({part.label for song in songs for part in song.tracks})
    return {label: class_of(label, classes) for label in labels}


def count_problem(counts: Mapping[str, int], *expected: Mapping[str, int]) -> str:
    """Say that counts differ from those of the whole set; "" if they do not.

    Example:
        >>> count_problem({"train": 3}, {"train": 86}, {"train": 100})
        'train 3 songs; the whole set has train 86, or train 100'
        >>> count_problem({"train": 100}, {"train": 86}, {"train": 100})
        ''
    """
    found, *whole = (
        ", ".join(f"{key} {n}".strip() for key, n in each.items())
        for each in (counts, *expected)
    )
    whole_set = ", or ".join(whole)
    return "" if counts in expected else f"{found} songs; the whole set has {whole_set}"


def remark(text: str, names: Sequence[str]) -> list[str]:
    """Make a warning of the first few names; none if there are no names.

    Example:
        >>> remark("left out", [f"song {n}" for n in range(12)])[0][-25:]
        'song 8, song 9 and 2 more'
    """
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return [f"{text}: {', '.join(names[:LISTED])}{more}"] if names else []


def several(value: Sequence[str]) -> tuple[str, ...]:
    """Return the names of an option, which may be a single name.

    Example:
        >>> several("vocals"), several(["vocals", "drums"])
        (('vocals',), ('vocals', 'drums'))
    """
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(
        isinstance(n, str) for n in names
    ):
        raise ValueError(f"a name or a list of names is wanted, not {value!r}")
    return tuple(names)


def excluding(
    names: Sequence[str], songs: Sequence[str], problems: list[str]
) -> Filters:
    """Make filters that leave out songs; every one of the songs must exist."""
    problems += [
        f"exclude: no song '{name}': {suggest(name, set(songs))}"
        for name in several(names)
        if name not in songs
    ]
    return Filters(exclude=several(names))


class Draw(NamedTuple):
    """Shares and seed of the drawn splits, for a set without splits of its own.

    As options of a reader: ``train``, ``valid``, ``test`` and ``seed``.
    """

    train: int  # share of the songs; or with a -1, which takes the rest, their number
    valid: int
    test: int
    seed: int = 42

    def rules(self, **fields: Any) -> SplitRules:
        """Make splits in these shares; artists are undivided unless ``by`` says so."""
        counts = self._asdict()
        seed = counts.pop("seed")
        return SplitRules(**{"seed": seed, "by": "group", "counts": counts} | fields)


def conclude(
    collection: Collection, problems: Sequence[str], remarks: Sequence[str] = ()
) -> Collection:
    """Return the checked collection; remarks become warnings.

    Raises:
        DataError: all problems.
    """
    where = f"{collection.name} ({collection.root})"
    if problems:
        raise DataError.of(where, problems)
    if not collection.recordings:
        raise DataError(f"{where}: nothing is left to read; see the options")
    for text in filter(None, remarks):
        warnings.warn(f"{where}: {text}", stacklevel=3)
    return check_collection(collection, where)
