"""The log of a run: JSON lines, TensorBoard events and a progress line."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from sepjax import progress
from sepjax.storage import to_json, write_atomically
from sepjax.train.events import open_events


def read_log(path: Path) -> list[dict]:
    """Read all records of a ``metrics.jsonl``; lines that are none are left out."""
    return progress.read_log(path)[0]


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Context of something long: says what it is, and afterwards its seconds."""
    speaks, began = jax.process_index() == 0, time.monotonic()
    if speaks:
        print(f"{what} ...", flush=True)
    yield
    if speaks:
        print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)


def announced(function: Callable, what: str) -> Callable:
    """Return a jitted function whose first call says that it compiles.

    What was compiled ahead is returned as it is.
    """
    if not hasattr(function, "lower"):
        return function
    later = map(contextlib.nullcontext, repeat(None))
    contexts: Iterator[Any] = chain([timed(what)], later)

    def call(*arguments: Any) -> Any:
        with next(contexts):
            return function(*arguments)

    return call


class MetricLog:
    """Writes every record of a run to ``metrics.jsonl`` and to TensorBoard.

    A resumed run first drops the records after the checkpoint that it starts from, so
    that the log reads as if the run had never stopped. Only the first process of a
    distributed run writes, and of several logs only one is ``shown`` as it grows.
    """

    def __init__(self, folder: Path, *, start: int, total: int, shown: bool = True):
        self.path = folder / "metrics.jsonl"
        self._start, self._total = start, total
        self._began, self._before = time.monotonic(), 0.0
        self._pace = start, self._began  # where measuring the pace begins
        self._silent = jax.process_index() > 0
        self._shown = shown and not self._silent
        self._events = None
        if not self._silent:
            # Drop what was logged after the checkpoint.
            records, damaged = progress.read_log(self.path)
            if damaged:
                note = f"note: left out {damaged} damaged lines of {self.path}"
                print(note, file=sys.stderr, flush=True)
            kept = [r for r in records if r["step"] <= start]
            self._before = (kept[-1].get("seconds") or 0.0) if kept else 0.0
            write_atomically(self.path, "".join(map(_line, kept)))
            self._file = self.path.open("a")
            self._events = open_events(folder / "events", start)
        self._bar = tqdm(
            total=total,
            initial=start,
            unit="step",
            desc="training",
            mininterval=1.0,
            dynamic_ncols=True,
            disable=not self._shown or not sys.stderr.isatty(),
        )

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Record values of one step; ``kind`` is ``train`` or ``valid``."""
        if self._silent:
            return
        seconds = self._before + time.monotonic() - self._began
        record = {"kind": kind, "step": step} | values | {"seconds": round(seconds, 3)}
        self._file.write(_line(record))
        self._file.flush()
        if self._events is not None:
            self._events.write(kind, step, values)

    def progress(self, step: int, text: str) -> None:
        """Move the progress line; without a terminal, print a line instead."""
        if not self._shown:
            return
        if self._bar.disable:
            (first, began), now = self._pace, time.monotonic()
            rate = (step - first) / (now - began)
            left = (self._total - step) / rate
            if first == self._start:  # what was compiled until here is so only once
                self._pace = step, now
            pace = f"{rate:.2f} steps/s  {left:.0f} s left"
            print(f"step {step}/{self._total}  {text}  {pace}", flush=True)
        else:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)

    def say(self, text: str) -> None:
        """Print a line without breaking the progress line."""
        if self._shown:
            self._bar.write(text, file=sys.stdout)

    def __enter__(self) -> "MetricLog":
        return self

    def __exit__(self, *error: object) -> None:
        """Flush and close everything."""
        self._bar.close()
        if self._events is not None:
            self._events.close()
        if not self._silent:
            self._file.close()


def _line(record: dict) -> str:
    return to_json(record, indent=None) + "\n"
