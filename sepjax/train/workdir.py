"""A run folder that one trainer works in at a time, and all its processes see."""

import contextlib
import datetime
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather

from sepjax.config import Config, seed_folders

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
PATIENCE = 5.0  # seconds until a file must be seen; NFS asks its server at each opening
LENGTH = 2000  # bytes of a message that processes exchange


class WorkdirError(OSError):
    """A run folder cannot be worked in; the message says why, and what to do."""


@contextlib.contextmanager
def held(open_folder: Callable[[], Path], config: Config) -> Iterator[Path]:
    """Context in which nobody else works in a run folder.

    The folder and those of its seeds are locked (``flock`` on ``.lock``, which says who
    holds it), so that a run of one seed and one of all exclude each other. The system
    lets go of the lock when the process ends, however it ends. Linux shares such locks
    over NFS since 2.6.12. Where there are none (Windows, some file systems) two
    trainers do not notice each other; where only the file system lacks them, a note on
    stderr says so.

    In a distributed run process 0 locks, and every process makes sure that it sees what
    process 0 wrote. If one has a complaint, all raise it.

    Args:
        open_folder: creates the run folder and returns it.
        config: resolved.

    Raises:
        WorkdirError: another process works there, or the folder is not shared.
        OSError: it cannot be written to.
        ValueError: there is no such folder.
    """
    host, owner = socket.gethostname(), ""
    now = datetime.datetime.now().astimezone()
    with contextlib.ExitStack() as stack:
        try:
            folder, problem = open_folder(), None
            if jax.process_index() == 0:
                owner = f"process {os.getpid()} on {host}, since {now:%F %T.%f %z}"
                for each in dict.fromkeys((folder, *seed_folders(config, folder))):
                    stack.enter_context(locked(each, owner))
        except (OSError, ValueError) as error:
            problem = error
        agree(problem)
        if jax.process_count() > 1:
            owner = exchange(owner)[0]
            agree(None if sees(folder / LOCK, owner) else unshared(folder, host, owner))
        yield folder


@contextlib.contextmanager
def locked(folder: Path, owner: str) -> Iterator[None]:
    """Context in which a folder is locked by ``owner``, or a :class:`WorkdirError`."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a+") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise WorkdirError(
                f"{folder} is in use by {file.read() or 'another process'}: wait until "
                "it ends, stop it, or choose another --workdir"
            ) from error
        except OSError as error:
            text = f"note: {folder} cannot be locked ({error.strerror}): start no other"
            print(f"{text} run in it", file=sys.stderr)
        file.truncate(0)
        file.write(owner)
        file.flush()
        os.fsync(file.fileno())  # other hosts shall see it
        yield


def sees(file: Path, text: str) -> bool:
    """Whether a file has this content within :data:`PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if file.read_text() == text:
                return True
        time.sleep(0.1)
    return False


def unshared(folder: Path, host: str, owner: str) -> WorkdirError:
    """What to tell of a folder in which this host does not see the lock of another."""
    return WorkdirError(
        f"--workdir={folder} of process {jax.process_index()} on {host} is not the "
        f"folder of {owner}: give all processes one folder that all hosts share"
    )


def agree(problem: Exception | None) -> None:
    """Raise on all processes if one has a problem; the message has those of all."""
    if problem and jax.process_count() == 1:
        raise problem
    problems = filter(None, exchange(str(problem or "")))
    if text := "\n".join(dict.fromkeys(problems)):
        raise WorkdirError(text)


def exchange(text: str) -> list[str]:
    """The texts of all processes, in order."""
    if jax.process_count() == 1:
        return [text]
    own = np.frombuffer(text.encode()[:LENGTH].ljust(LENGTH, b"\0"), np.uint8)
    return [
        row.tobytes().rstrip(b"\0").decode(errors="ignore")
        for row in np.asarray(process_allgather(own))
    ]
