"""Many jobs at once: threads or processes, a bar with the expected time, failures.

What bad files, settings, models and machines raise is the outcome of one job and stops
no other; anything else is a bug of ours and stops everything.
"""

import contextlib
import functools
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, NamedTuple

from sepjax.progress import bar

EXPECTED = (OSError, ValueError, ArithmeticError, RuntimeError, MemoryError)
Errors = type[Exception] | tuple[type[Exception], ...]


class Outcome(NamedTuple):
    """The result of a job, or the error that it raised."""

    index: int  # of the job
    result: Any
    error: Exception | None


def run_jobs(
    function: Callable[..., Any],
    jobs: Sequence[tuple],
    what: str,
    *,
    workers: int = 0,
    unit: str = "song",
    expected: Errors = EXPECTED,
    progress: bool | None = None,
    start: Callable[[], None] | None = None,
    again: bool = False,
    stop: Callable[[], object] = bool,
) -> Iterator[Outcome]:
    """Yield the outcome of every job as soon as it is done.

    Args:
        function: what each job calls.
        jobs: its arguments. One worker takes them in their order.
        what: beside the bar.
        workers: jobs at a time; 0: one per processor, at most eight, since each may
            hold a whole song.
        unit: of the bar.
        expected: errors that are outcomes; others are raised here.
        progress: show it on stderr (:func:`sepjax.progress.bar`).
        start: make the workers processes, which call this first; threads by default.
            They are spawned, not forked: threads of a library would be left behind.
        again: when a process dies, mostly for want of memory, it takes the jobs of all
            processes along: give each of them a process for itself. If that dies, too,
            the outcome is a RuntimeError.
        stop: called at the end, and when an interrupt is about to wait for the threads
            that still work, so that these can leave off.

    Raises:
        concurrent.futures.process.BrokenProcessPool: a process died, without ``again``.

    Example:
        >>> for index, result, error in run_jobs(int, [("7",), ("x",)], "reading"):
        ...     print(index, result, error and reason(error))
        0 7 None
        1 None invalid literal for int() with base 10: 'x'
    """
    workers, numbered = min(workers or processors(), len(jobs)), list(enumerate(jobs))
    if workers <= 1:
        outcomes = (
            _attempt(index, functools.partial(function, *job), expected)
            for index, job in numbered
        )
    elif start is None:
        pool = futures.ThreadPoolExecutor(workers)
        outcomes = _pooled(pool, function, numbered, expected, stop)
    else:
        outcomes = _in_processes(function, numbered, workers, expected, start, again)
    yield from bar(outcomes, what, len(jobs), unit=unit, show=progress)


def in_order(
    function: Callable[..., Any], jobs: Sequence[tuple], what: str, workers: int = 0
) -> list[Any]:
    """Return the result of every job, or the :class:`DataError` that the job raised."""
    from data_pipelines.manifest import DataError  # with numpy; --help goes without

    outcomes = run_jobs(function, jobs, what, workers=workers, expected=DataError)
    ordered = sorted(outcomes, key=lambda outcome: outcome.index)
    return [error or result for _, result, error in ordered]


def reason(error: BaseException) -> str:
    """Return the message of an error, or its type if there is no message.

    Example:
        >>> reason(ValueError("no such file")), reason(MemoryError())
        ('no such file', 'MemoryError')
    """
    return str(error) or type(error).__name__


def processors(most: int = 8) -> int:
    """Return the number of processors that this process may use, at most ``most``."""
    try:
        return min(len(os.sched_getaffinity(0)), most)
    except AttributeError:  # only Linux can tell what we may use
        return min(os.cpu_count() or 1, most)


@contextlib.contextmanager
def ending_signals() -> Iterator[None]:
    """Context in which signals that end the process do so as an exception does.

    So what cleans up behind itself does. The exit status is 128 and the number.
    """

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {}
    # Windows has few of them; nohup ignores SIGHUP, and so do we then.
    for name in ("TERM", "HUP", "QUIT", "USR1", "USR2", "ALRM", "XCPU"):
        number = getattr(signal, f"SIG{name}", None)
        if number and signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(ValueError):  # not the main thread
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """For ``start``: ignore Ctrl-C, and end when the command ends."""

    def follow() -> None:
        # Otherwise a worker would go on writing after the command was killed.
        parent_process().join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=follow, daemon=True).start()


def _in_processes(
    function: Callable[..., Any],
    jobs: Iterable[tuple[int, tuple]],
    workers: int,
    expected: Errors,
    start: Callable[[], None],
    again: bool,
) -> Iterator[Outcome]:
    left, context = dict(jobs), get_context("spawn")
    try:
        pool = futures.ProcessPoolExecutor(workers, context, start)
        for outcome in _pooled(pool, function, jobs, expected):
            yield outcome
            del left[outcome.index]
    except BrokenProcessPool:
        if not again:
            raise
    for index, job in left.items():
        pool = futures.ProcessPoolExecutor(1, context, start)
        try:
            yield from _pooled(pool, function, [(index, job)], expected)
        except BrokenProcessPool:
            text = "its process died, probably for want of memory"
            yield Outcome(index, None, RuntimeError(text))


def _pooled(
    pool: futures.Executor,
    function: Callable[..., Any],
    jobs: Iterable[tuple[int, tuple]],
    expected: Errors,
    stop: Callable[[], object] = bool,
) -> Iterator[Outcome]:
    try:
        running = {pool.submit(function, *job): index for index, job in jobs}
        for future in futures.as_completed(running):
            yield _attempt(running[future], future.result, expected)
    finally:
        stop()
        pool.shutdown(cancel_futures=True)


def _attempt(index: int, call: Callable[[], Any], expected: Errors) -> Outcome:
    try:
        return Outcome(index, call(), None)
    except BrokenProcessPool:  # a RuntimeError, but of no job
        raise
    except expected as error:
        return Outcome(index, None, error)
