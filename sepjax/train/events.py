"""The log of a run as TensorBoard reads it."""

import math
import time
from pathlib import Path
from typing import Any

FLUSH = 30.0  # seconds between flushes, apart from evaluations


def open_events(folder: Path, start: int) -> "Events | None":
    """Open a new file of events, if tensorboardX is installed.

    Args:
        folder: of all such files of a run.
        start: the step that a resumed run goes on from.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        return None
    return Events(folder, start)


class Events:
    """Writes scalars in the thread that calls.

    tensorboardX's own writer has a thread that ends when the disk is full, and then
    all who write wait for it for ever.
    """

    def __init__(self, folder: Path, start: int):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2, summary_pb2

        folder.mkdir(parents=True, exist_ok=True)
        # Names end with the second: those of a clock set back might be taken.
        suffix = f".{len(list(folder.iterdir()))}"
        self._writer = EventsWriter(str(folder / "events"), filename_suffix=suffix)
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._flushed = time.monotonic()
        if start:  # hides what earlier files have from the next step on
            begun = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._add(start + 1, session_log=begun)

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Add the finite ones of these values, named ``kind/name``."""
        entries = [
            self._summary.Value(tag=f"{kind}/{name}".replace(" ", "_"), simple_value=v)
            for name, v in values.items()
            if math.isfinite(v)
        ]
        self._add(step, summary=self._summary(value=entries))
        if kind == "valid" or time.monotonic() - self._flushed > FLUSH:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        event = self._event(step=step, wall_time=time.time(), **content)
        self._writer.write_event(event)
