"""What is printed, without what names in files could make a terminal do."""

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

from absl import logging

# Controls but tab, newline and the return that begins a bar; marks that turn text.
CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
    "|(?<=.)\r(?!$)"
)


class Escaped:
    r"""A text stream that writes control characters as ``\x1b`` and the like.

    So are characters that the stream's encoding lacks, as in names of files that are
    not UTF-8.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the text; return its length."""
        safe = CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)
        encoding = self.stream.encoding or "utf-8"
        self.stream.write(safe.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _not_orbax(record: Any) -> bool:
    return "orbax" not in record.pathname


@contextlib.contextmanager
def escaped_output() -> Iterator[None]:
    """Context in which stdout and stderr are :class:`Escaped`, and warnings notes.

    Where nobody reads on, as in ``sepjax ... | head``, the process ends with 141.
    """

    def note(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if issubclass(category, UserWarning):
            print(f"sepjax: note: {message}", file=sys.stderr)
        else:
            print(
                warnings.formatwarning(message, category, *place[:2]), file=sys.stderr
            )

    # What orbax logs as an error in its threads it raises as well.
    logging.get_absl_logger().addFilter(_not_orbax)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(Escaped(sys.stdout)),  # type: ignore[type-var]
        contextlib.redirect_stderr(Escaped(sys.stderr)),  # type: ignore[type-var]
    ):
        warnings.showwarning = note
        try:
            yield
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None
