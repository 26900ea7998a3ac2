"""Files that sepjax writes: whole or not at all, as strict JSON, known by their hash.

Everything that is written under a final name goes through :func:`atomic_file` or
:func:`atomic_folder`: a reader sees the old content or the new, never half of it.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

try:
    import fcntl
except ImportError:  # Windows, where two writers do not notice each other
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A new file beside ``path`` that takes its place at the end, if nothing failed.

    A missing folder is made. The content is on the disk (fsync) before the file
    has its name.

    Raises:
        OSError: the folder cannot be written, or the disk is full.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scores.txt"
        >>> with atomic_file(path) as file:
        ...     count = file.write(b"4.2")
        >>> path.read_text()
        '4.2'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        move(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """A new folder that takes the place of ``folder`` at the end, if nothing failed.

    An older folder steps aside as a whole: for a moment nothing has the name, never a
    half of either. It comes back if the new one cannot have its name.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "audio"
        >>> with atomic_folder(folder) as part:
        ...     count = (part / "index.json").write_text("[]")
        >>> [path.name for path in folder.iterdir()]
        ['index.json']
    """
    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    part, old = _part(folder), _part(folder.with_name(f"old.{folder.name}"))
    for rest in (part, old):
        shutil.rmtree(rest, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        if folder.exists():
            move(folder, old)
        try:
            move(part, folder)
        except OSError:
            if old.exists():
                move(old, folder)
            raise
    finally:
        for rest in (part, old):
            shutil.rmtree(rest, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: str | Path, owner: str, advice: str) -> Iterator[Path]:
    """Create a folder and keep other processes out of it.

    ``flock`` on the file ``.lock``, which says who holds it. The system lets go when
    the process ends, however it ends, and shares such locks over NFS (Linux since
    2.6.12).

    Args:
        folder: whose parents are made as well.
        owner: text for those who come later.
        advice: end of the message for them.

    Raises:
        BlockingIOError: another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a+") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise BlockingIOError(
                f"{folder} is in use by {file.read() or 'another process'}: {advice}"
            ) from error
        except OSError as error:  # a file system without locks
            text = f"note: {folder} cannot be locked ({error.strerror})"
            print(f"{text}: start no other run there", file=sys.stderr)
        file.truncate(0)
        print(owner, end="", file=file, flush=True)
        os.fsync(file.fileno())  # other hosts shall see it
        yield folder


@contextlib.contextmanager
def scratch_folder(target: str | Path) -> Iterator[Path]:
    """A hidden folder beside ``target`` for the time in which the target is made.

    It has a short name of its own, is locked, and is deleted at the end. What a killed
    process has left there is deleted at the beginning; no other folder ever is.

    Raises:
        OSError: the disk cannot be written, or another process makes the same target
            (BlockingIOError).
    """
    target = Path(target).absolute()
    folder = target.with_name(f".sepjax-{text_sha256(ascii(target.name))[:16]}")
    if folder.is_dir() and not (folder / LOCK).exists() and any(folder.iterdir()):
        raise OSError(f"{folder} is no scratch folder of sepjax: move it away")
    advice = f"it makes {target}: wait until it ends, or write to another folder"
    with locked(folder, f"process {os.getpid()} on {socket.gethostname()}", advice):
        try:
            for rest in folder.iterdir():
                if rest.name != LOCK:
                    shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def move_all(
    files: Sequence[Path], folder: str | Path, old: Iterable[Path] = ()
) -> None:
    """Move files of one scratch folder into ``folder``, all of them or none.

    Args:
        files: names are kept.
        folder: created where needed.
        old: files that make way for the new ones, and are back if one of these fails.

    Raises:
        OSError: a file cannot have its name, for instance as a folder has it.
    """
    moves = [(path, files[0].with_name(f"old {n}")) for n, path in enumerate(old)]
    moves += [(file, Path(folder) / file.name) for file in files]
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            done.append((move(source, target), source))
    except OSError:
        for target, source in reversed(done):
            move(target, source)
        raise


def _part(path: Path) -> Path:
    """The name until the end; every thread of every process has one of its own."""
    # Not mkstemp, whose files are their owner's alone.
    writer = f"{os.getpid()}-{threading.get_native_id()}"
    return path.with_name(f".{path.name[:100]}.{writer}.part")


def move(source: str | Path, target: str | Path) -> Path:
    """Give a finished file or folder its final name; return the final path.

    An existing file of that name is replaced at once. Both names are on one disk.

    Raises:
        OSError: a folder has the name, or ``target`` cannot be written.
    """
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    moved = Path(source).replace(target)
    with contextlib.suppress(OSError):  # Windows opens no folders
        folder = os.open(moved.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # a power cut does not bring the old name back
        finally:
            os.close(folder)
    return moved


def write_atomically(path: str | Path, content: str | bytes) -> Path:
    r"""Write text (UTF-8) or bytes; return the path.

    What is no text in names of files that are not UTF-8 is spelled ``\udce9``, which
    JSON reads back.
    """
    data = content if isinstance(content, bytes) else encoded(content)
    with atomic_file(path) as file:
        file.write(data)
    return Path(path)


def encoded(text: str) -> bytes:
    r"""Return a text in UTF-8, with lone surrogates spelled out.

    Example:
        >>> encoded("caf\udce9")
        b'caf\\udce9'
    """
    return text.encode("utf-8", "backslashreplace")


def finite(tree: Any, digits: int | None = None) -> Any:
    """Return the tree with NaN and infinities as None, which strict JSON can spell.

    NumPy's numbers and arrays become Python's, tuples lists.

    Args:
        tree: mappings and sequences of any depth.
        digits: after the point, to which floats are rounded; all of them by default.

    Example:
        >>> finite({"si_sdr": [1.5, float("nan"), np.float32(2)]})
        {'si_sdr': [1.5, None, 2.0]}
        >>> finite((0.12345, 3), digits=3)
        [0.123, 3]
    """
    if isinstance(tree, Mapping):
        return {key: finite(value, digits) for key, value in tree.items()}
    if isinstance(tree, np.ndarray | np.generic):
        return finite(tree.tolist(), digits)
    if isinstance(tree, list | tuple):
        return [finite(value, digits) for value in tree]
    if isinstance(tree, float):
        if not math.isfinite(tree):
            return None
        return tree if digits is None else round(tree, digits)
    return tree


def to_json(tree: Any, indent: int | None = 1) -> str:
    """Strict JSON of :func:`finite` values, without a newline at the end."""
    return json.dumps(finite(tree), indent=indent, allow_nan=False, ensure_ascii=False)


def write_json(path: str | Path, tree: Any, indent: int | None = 1) -> Path:
    """Write strict JSON atomically; return the path."""
    return write_atomically(path, to_json(tree, indent) + "\n")


def text_sha256(text: str) -> str:
    """Digest of a text (UTF-8), in hexadecimal.

    Example:
        >>> text_sha256("")[:8]
        'e3b0c442'
    """
    return hashlib.sha256(encoded(text)).hexdigest()


def sha256(path: str | Path) -> str:
    """Digest of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
