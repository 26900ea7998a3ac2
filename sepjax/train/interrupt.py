"""Asking a run to stop: SIGTERM from a scheduler, Ctrl-C from a person.

In a distributed run jax's preemption service passes SIGTERM on to the other processes
(it looks for one once a second) and names the next step that none has begun, without a
collective: asking after a step costs microseconds.
"""

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator

import jax
from jax.experimental.multihost_utils import reached_preemption_sync_point


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Context that turns SIGTERM and Ctrl-C into a question answered after each step.

    A second Ctrl-C interrupts at once.

    Yields:
        ``stop_asked()``: whether to save and stop now. In a distributed run all
        processes must ask after every step; all get the same answer.
    """
    received: list[int] = []
    together = jax.process_count() > 1

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        name = signal.Signals(number).name
        print(f"\n{name}: saving, then stopping", file=sys.stderr, flush=True)
        if together:  # jax hears of it
            os.kill(os.getpid(), signal.SIGTERM)

    # Calls are counted, not steps: a signal that comes before the first call is agreed
    # upon as the first one, which a run that goes on from step 1000 would never reach.
    calls = itertools.count(1)

    def stop_asked() -> bool:
        if not together:
            return bool(received)
        stop = reached_preemption_sync_point(next(calls))
        if stop:
            print("\nasked to stop: saving", file=sys.stderr, flush=True)
        return stop

    before = {}
    with contextlib.suppress(ValueError):  # off the main thread the caller has signals
        # Of a distributed run jax itself hears SIGTERM, since the run's processes met.
        for number in (signal.SIGINT,) if together else (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, note)
    try:
        yield stop_asked
    finally:
        if together and before:
            before[signal.SIGTERM] = signal.SIG_DFL  # jax would go on to swallow it
        for number, handler in before.items():
            signal.signal(number, handler)
