"""Asking a run to stop: SIGTERM from a scheduler, Ctrl-C from a person."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator

import jax
import numpy as np


@contextlib.contextmanager
def stop_signals(every: int) -> Iterator[Callable[[int], bool]]:
    """Context that turns SIGTERM and Ctrl-C into a question answered after each step.

    A second Ctrl-C interrupts at once. Processes of a distributed run agree every
    ``every`` steps, so that all of them save the same checkpoint.

    Yields:
        ``stop_asked(step)``: whether to save and stop now.
    """
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        name = signal.Signals(number).name
        print(f"\n{name}: saving, then stopping", file=sys.stderr, flush=True)

    def stop_asked(step: int) -> bool:
        if jax.process_count() == 1:
            return bool(received)
        if step % every:
            return False
        from jax.experimental.multihost_utils import process_allgather

        return bool(process_allgather(np.array(len(received))).sum())

    before = {}
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, note)
    except ValueError:  # not the main thread: leave signals to the caller
        pass
    try:
        yield stop_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
