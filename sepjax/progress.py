"""How far long work has come: a bar on a terminal, a line now and then in a log."""

import sys
from collections.abc import Callable, Iterable, Sized
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

    class Lines(tqdm):
        @staticmethod
        def status_printer(file: Any) -> Callable[[str], None]:
            said = {""}  # the last line comes twice, and an empty one

            def say(text: str) -> None:
                if text.strip() not in said:
                    print(text, file=file, flush=True)
                    said.add(text.strip())

            return say

    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if not sys.stderr.isatty():
        form = (
            "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed} so far, {remaining} left"
        )
        form = form if total else "{desc}: {n_fmt} {unit}, {elapsed} so far"
        options |= {"bar_format": form, "mininterval": EVERY, "delay": DELAY}
    elif show is None:
        options |= {"delay": DELAY}
    kind = tqdm if sys.stderr.isatty() else Lines
    return kind(iterable, what, total=total, disable=show is False, **options)
