"""``sepjax train --mode=list``: every named configuration, to fit the terminal."""

import importlib
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

WIDE = 120  # columns from which the cells of a row stand beside its name
LEGEND = (
    "figures of chapter 5: ~ likely, ? one of several candidates; reproducible as the "
    "thesis says; + in its prose only"
)


def lines(width: int = 0) -> Iterator[str]:
    """All configurations: a line each, and the thesis' rows as a table by section.

    Lines are as wide as the terminal by default.
    """
    width = width or shutil.get_terminal_size((100, 24)).columns
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        module = importlib.import_module(f"sepjax.configs.{path.stem}")
        for name, (text, _) in getattr(module, "RECIPES", {}).items():
            text = f"{path.stem}:NAME@{name}  {text}"
            yield from textwrap.wrap(text, width, subsequent_indent="  ")
        if hasattr(module, "table"):
            yield from _table(path.stem, module.table(), width)
            continue
        for name, text in getattr(module, "NAMES", {}).items():
            text = f"{f'{path.stem}:{name}':35s}  {text}"
            yield from textwrap.wrap(text, width, subsequent_indent=" " * 37)
        for name, members in getattr(module, "SWEEPS", {}).items():
            text = f"--sweep={name:22s} {len(members):2d} runs  {module.TITLES[name]}"
            yield from textwrap.wrap(text, width, subsequent_indent=" " * 41)


def _table(file: str, sections: list, width: int) -> Iterator[str]:
    columns = max(len(name) for _, rows in sections for name, *_ in rows) + 2
    figures = max(len(row[2]) for _, rows in sections for row in rows) + 2
    room = width - 2 - columns - figures - len("reproducible")
    wide = width >= WIDE
    yield ""
    yield from textwrap.wrap(f"{file}:NAME  ({LEGEND})", width, subsequent_indent="  ")
    for title, rows in sections:
        yield ""
        yield from textwrap.wrap(title, width, subsequent_indent="      ")
        cells = f"{'cells':{room}s}" if wide else ""
        yield f"  {'name':{columns}s}{cells}{'figures':{figures}s}reproducible"
        for name, cells, seen, again, note in rows:
            ends = f"{seen:{figures}s}{again}"
            note = f"({note})" if note else ""
            if wide:
                first, *rest = textwrap.wrap(cells, room - 2) or [""]
                rest += textwrap.wrap(note, room - 2)
                yield f"  {name:{columns}s}{first:{room}s}{ends}"
                yield from (" " * (columns + 2) + line for line in rest)
            else:
                yield f"  {name:{columns}s}{ends}".rstrip()
                for text in (cells, note):
                    lines = textwrap.wrap(text, width - 4)
                    yield from textwrap.indent("\n".join(lines), "    ").splitlines()
