"""Tables that somebody wrote, CSV: every problem is told with its line.

The first line names the columns. Cells are separated by commas, semicolons or tabs,
whichever the first line has most of; empty lines and those that begin with # are
skipped.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.manifest import DataError
from data_pipelines.readers.labels import CLASSES, TO_CLASSES, instruments, kind_of
from sepjax.registry import nearest


class Row(NamedTuple):
    """A line of a table: column to cell, both without spaces around them."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


Groups = dict[str, list[Row]]  # by the value of a column


def read_table(path: Path, columns: Sequence[str], problems: list[str]) -> list[Row]:
    r"""Read the rows of a table in UTF-8 whose ``columns`` all have a value.

    Every other row is one more problem.

    Raises:
        DataError: there is no such file, it cannot be read, or a column is missing.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.csv")
        >>> _ = path.write_text("song,label\n\nA,bass\nB,\n")
        >>> problems = []
        >>> [row["song"] for row in read_table(path, ["song", "label"], problems)]
        ['A']
        >>> problems
        ["a.csv line 4: no value in column 'label'"]
    """
    try:
        # Spreadsheets begin a file with a mark of their own.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: save it as CSV in UTF-8") from error
    except OSError as error:
        head = ",".join(columns)
        text = f"{path}: {error.strerror or error}"
        raise DataError(f"{text}; write a table whose first line is {head}") from error
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
    lines = _lines(reader, path)
    names = [name.strip().lower() for name in next(lines, [])]
    if lacking := [name for name in columns if name not in names]:
        hints = [f"no column '{name}'; {suggest(name, names)}" for name in lacking]
        raise DataError.of(f"{path}: its first line names {', '.join(names)}", hints)
    rows = []
    for cells in lines:
        filled = list(filter(str.strip, cells))
        if not filled or (len(filled) == 1 and filled[0].startswith("#")):
            continue  # an empty line, or a remark
        row = Row(reader.line_num, dict(zip(names, map(str.strip, cells))))
        empty = [f"no value in column '{name}'" for name in columns if not row[name]]
        if len(cells) > len(names):
            empty.append(f"{len(cells)} cells under {len(names)} columns")
        problems += [f"{path.name} line {row.line}: {problem}" for problem in empty]
        if not empty:
            rows.append(row)
    return rows


def _lines(reader: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: {error}") from error


def suggest(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known names, or all of a few; "" where no name is near.

    Example:
        >>> suggest("vocal", map(str, range(20))), suggest("vocal", ["vocals"])
        ('', "did you mean 'vocals'? Known: vocals")
    """
    known = sorted(known)
    hint = nearest(name, known)
    return hint if len(known) < 12 else hint.rpartition("Known: ")[0].strip()


def grouped(rows: Iterable[Row], column: str) -> Groups:
    """Group rows by the value of a column, in order of appearance."""
    groups: Groups = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups


def tags_of(
    rows: Sequence[Row], where: str, skipped: Sequence[str], problems: list[str]
) -> dict[str, str]:
    """Return the values of all columns but the skipped in rows that belong together."""
    columns = [column for column in rows[0].cells if column not in skipped]
    values = {column: shared(rows, column, where, problems) for column in columns}
    return {column: value for column, value in values.items() if value}


def shared(rows: Sequence[Row], column: str, where: str, problems: list[str]) -> str:
    """Return the one value of a column in rows that belong together, or "".

    Two values are a problem of ``where``, what the rows belong to.
    """
    values = {row[column]: row.line for row in reversed(rows) if row[column]}
    if len(values) > 1:
        listed = " and ".join(f"'{v}' (line {n})" for v, n in sorted(values.items()))
        problems.append(f"{where}: {column} is {listed}")
    return next(iter(values), "")


def grouped_files(
    rows: Iterable[Row], column: str, root: Path, table: str, problems: list[str]
) -> Groups:
    """Group rows; each file that is missing, or twice in a group, is a problem."""
    groups = grouped(rows, column)
    for members in groups.values():
        seen: dict[str, int] = {}
        for row in members:
            name, where = row["file"], f"{table} line {row.line}"
            if not os.path.isfile(root / name):  # False for whatever is no path, too
                problems.append(f"{where}: {name}: no such file in {root}")
            elif name in seen:
                problems.append(f"{where}: {name}: in line {seen[name]} already")
            seen[name] = row.line
    return groups


def label_map(
    rows: Sequence[Row],
    classes: str,
    labels: Mapping[str, str] | None,
    default: str,
    table: str,
    problems: list[str],
) -> dict[str, str]:
    """Map every label of a table that is not the name of its class to its class.

    Args:
        rows: with a column ``label``.
        classes: a set of classes, one of ``labels.CLASSES``.
        labels: what the user says: label to class, or to an instrument. Others are
            found by :func:`data_pipelines.readers.labels.kind_of`.
        default: the class of what is unknown; empty: that is a problem.
        table: its name, for messages.
        problems: labels that nothing knows are added.

    Example:
        >>> rows = [Row(2, {"label": "Alto Sax"}), Row(3, {"label": "kazoo"})]
        >>> label_map(rows, "six", {"kazoo": "flute"}, "", "a.csv", [])
        {'Alto Sax': 'wind', 'kazoo': 'wind'}
    """
    names, class_of = CLASSES[classes], {}
    if default and default not in names:
        problems.append(f"default_class={default!r}: {suggest(default, names)}")
    for label, members in grouped(rows, "label").items():
        meant = (labels or {}).get(label, label)
        chosen = TO_CLASSES[classes].get(kind_of(meant), default)
        chosen = meant if meant in names else chosen
        if chosen not in names:
            more = f" and {len(members) - 1} more" if len(members) > 1 else ""
            problems.append(
                f"{table} line {members[0].line}{more}: '{meant}' is no instrument"
                f" that is known; {suggest(meant, {*instruments(), *names})} Or say"
                f" its class with labels ({', '.join(names)})"
            )
        elif chosen != label:
            class_of[label] = chosen
    return class_of


def seconds(text: str) -> float | None:
    """Convert ``83.5``, ``1:23.5`` or ``0:01:23.5`` to seconds; None for other texts.

    Example:
        >>> seconds("83,5"), seconds("1:23.5"), seconds("1:00:00"), seconds("x")
        (83.5, 83.5, 3600.0, None)
    """
    total = 0.0
    try:
        for part in text.replace(",", ".").split(":"):
            total = 60 * total + float(part)
    except ValueError:
        return None
    return total if 0 <= total < float("inf") else None
