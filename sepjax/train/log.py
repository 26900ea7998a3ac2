"""The log of a run: JSON lines, TensorBoard events and a progress line."""

import math
import sys
import time
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from sepjax import progress, storage


def read_log(path: Path) -> list[dict]:
    """Read all records of a ``metrics.jsonl``; lines that are none are left out."""
    return progress.read_log(path)[0]


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
        self._silent = jax.process_index() > 0
        self._shown = shown and not self._silent
        self._events = None
        if not self._silent:
            # Drop what was logged after the checkpoint.
            kept = [r for r in read_log(self.path) if r["step"] <= start]
            self._before = (kept[-1].get("seconds") or 0.0) if kept else 0.0
            storage.write_atomically(self.path, "".join(map(_line, kept)))
            self._file = self.path.open("a")
            self._events = _event_writer(folder, start)
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
        for name, value in values.items():
            if self._events is not None and math.isfinite(value):
                self._events.add_scalar(f"{kind}/{name}", value, step)

    def progress(self, step: int, text: str) -> None:
        """Move the progress line; without a terminal, print a line instead."""
        if not self._shown:
            return
        if self._bar.disable:
            rate = (step - self._start) / (time.monotonic() - self._began)
            left = (self._total - step) / rate
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
        if not self._silent:
            self._file.close()
        self._bar.close()
        if self._events is not None:
            self._events.close()


def _line(record: dict) -> str:
    return storage.to_json(record, indent=None) + "\n"


def _event_writer(folder: Path, start: int) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:  # tensorboardX is optional
        return None
    purge = start + 1 if start else None
    return SummaryWriter(str(folder / "events"), purge_step=purge)
