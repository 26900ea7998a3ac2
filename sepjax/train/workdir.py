"""A run folder that one trainer works in at a time, and all its processes see."""

import contextlib
import datetime
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather

from sepjax.config import Config, member_folders
from sepjax.storage import LOCK, delete_leftovers, locked

ADVICE = "wait until it ends, stop it, or choose another --workdir"


@contextlib.contextmanager
def held(open_folder: Callable[[], Path], config: Config) -> Iterator[Path]:
    """Context that keeps all other processes from working in a run folder.

    The folder and those of its seeds are locked (:func:`sepjax.storage.locked`), so
    that a run of one seed and one of all exclude each other. In a distributed run
    process 0 locks, and all see what it wrote, or all raise. ``open_folder`` creates
    the run folder and returns it.

    Raises:
        OSError: another process works there; the folder cannot be written to or is not
            that of the other processes.
        ValueError: there is no such folder.
    """
    host, problem, owner = socket.gethostname(), None, ""
    now = datetime.datetime.now().astimezone()
    with contextlib.ExitStack() as stack:
        try:
            folder = open_folder()
            if jax.process_index() == 0:
                owner = f"process {os.getpid()} on {host}, since {now:%F %T.%f %z}"
                for each in dict.fromkeys((folder, *member_folders(config, folder))):
                    stack.enter_context(locked(each, owner, ADVICE))
                delete_leftovers(folder)
        except (OSError, ValueError) as error:
            problem = error
        agree(problem)
        owner = exchange(owner)[0]
        if not sees(folder / LOCK, owner):
            problem = OSError(
                f"--workdir={folder} of process {jax.process_index()} on {host} is not "
                f"that of {owner}: give all processes one folder that all hosts share"
            )
        agree(problem)
        yield folder


def sees(file: Path, text: str) -> bool:
    """Return whether a file soon has this content; opening makes NFS ask its server."""
    for _ in range(50):
        with contextlib.suppress(OSError):
            if file.read_text() == text:
                return True
        time.sleep(0.1)
    return False


def agree(problem: Exception | None) -> None:
    """Raise on all processes if one has a problem; the message has all problems."""
    if problem and jax.process_count() == 1:
        raise problem
    problems = filter(None, exchange(str(problem or "")))
    if text := "\n".join(dict.fromkeys(problems)):
        raise OSError(text)


def exchange(text: str, length: int = 2000) -> list[str]:
    """Return the texts of all processes in order, cut to ``length`` bytes."""
    rows = np.frombuffer(text.encode()[:length].ljust(length), np.uint8)
    table = np.atleast_2d(process_allgather(rows))
    return [row.tobytes().decode(errors="ignore").rstrip() for row in table]
