"""How far long work has come: a bar on a terminal, a line now and then in a log.

The records that a run leaves of its training are read here, for all rooms.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Sized
from pathlib import Path
from typing import Any

EVERY = 30.0  # seconds between lines in a log
DELAY = 2.0  # what takes less says nothing


def bar(
    iterable: Iterable | None = None,
    what: str = "",
    total: float | None = None,
    *,
    show: bool | None = None,
    **options: Any,
) -> Any:
    """Wrap an iterable in tqdm, which fits what stderr is.

    Args:
        iterable: of work; None: the caller counts with ``update``.
        what: text before the numbers.
        total: length, where it is known.
        show: False: nothing; None: only of what takes longer than :data:`DELAY`.
        options: of tqdm, such as ``unit`` and ``unit_scale``.

    Example:
        >>> list(bar([1, 2], "counting", show=False))
        [1, 2]
    """
    from tqdm import tqdm

    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if not sys.stderr.isatty():
        # Without the unit, which has no plural.
        form = "{desc}: {n_fmt} of {total_fmt}, {elapsed} so far, {remaining} left"
        form = form if total else "{desc}: {n_fmt}, {elapsed} so far"
        options |= {"bar_format": form, "mininterval": EVERY, "delay": DELAY}
    elif show is None:
        options |= {"delay": DELAY}
    kind = tqdm if sys.stderr.isatty() else _lines()
    return kind(iterable, what, total=total, disable=show is False, **options)


@functools.cache  # tqdm has a thread for each class
def _lines() -> type:
    from tqdm import tqdm

    class Lines(tqdm):
        @staticmethod
        def status_printer(file: Any) -> Callable[[str], None]:
            said = {""}  # the last line comes twice, and an empty one

            def say(text: str) -> None:
                if text.strip() not in said:
                    print(text, file=file, flush=True)
                    said.add(text.strip())

            return say

    return Lines


def read_log(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read the records of a run's ``metrics.jsonl``, and count the lines that are none.

    A record has a ``kind`` (text), a ``step`` (whole, not negative), and numbers, null
    where they were not finite. Other lines were cut off by a kill, or damaged.

    Raises:
        OSError: the file cannot be read; one that is missing has no records.
        ValueError: it is too large.
    """
    from sepjax.storage import LARGEST, parse_json  # with numpy; --help goes without

    lines = []
    if path.exists():
        if path.stat().st_size > LARGEST:
            raise ValueError(
                f"{path}: it has more than {LARGEST >> 20} MiB: shorten it"
            )
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    records: list[dict[str, Any]] = []
    for line in lines:
        with contextlib.suppress(ValueError):
            record = parse_json(line, dict, "")
            values = [value for key, value in record.items() if key != "kind"]
            fits = isinstance(record.get("kind"), str) and _whole(record.get("step"))
            records += [record] if fits and all(map(_measured, values)) else []
    return records, len(lines) - len(records)


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _measured(value: Any) -> bool:
    """Whether it is null or a number that leaves room for arithmetic."""
    return value is None or (type(value) in (int, float) and abs(value) < 1e39)
