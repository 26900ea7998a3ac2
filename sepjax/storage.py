"""Files that sepjax writes: whole or not at all, as strict JSON, known by their hash.

JSON and YAML from outside are read here, too: strict, and bounded by what is there.
Everything that is written under a final name goes through :func:`atomic_file` or
:func:`atomic_folder`: a reader sees the old content or the new, never half of it.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

try:
    import fcntl
except ImportError:  # Windows, where two writers do not notice each other
    fcntl = None  # type: ignore[assignment]

LOCK, SCRATCH = ".lock", "for space to work in"
LARGEST, DEEPEST = 1 << 28, 64
"""Bytes of a JSON file that is read, and brackets within brackets in it."""
Tree = TypeVar("Tree", dict, list)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A new file beside ``path`` that takes its place at the end, if nothing failed.

    A missing folder is made. The content is flushed before the file has its name.

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
        try:
            if folder.exists():
                move(folder, old)
            move(part, folder)
        except BaseException:  # a signal, too, must not leave the name to nothing
            if old.exists() and not folder.exists():
                move(old, folder)
            raise
    finally:
        for rest in (part, old):
            shutil.rmtree(rest, ignore_errors=True)


@contextlib.contextmanager
def locked(
    folder: str | Path, owner: str, advice: str, *, wait: bool = False
) -> Iterator[Path]:
    """Create a folder and keep other processes out of it.

    ``flock`` on the file ``.lock``, which says who holds it. The system lets go when
    the process ends, however it ends, and shares such locks over NFS (Linux since
    2.6.12).

    Args:
        folder: whose parents are made as well.
        owner: text for those who come later.
        advice: end of the message for them.
        wait: tell of another process that holds it, and wait until it lets go.

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
            text = f"{folder} is in use by {file.read() or 'another process'}: {advice}"
            if not wait:
                raise BlockingIOError(text) from error
            print(f"sepjax: {text}", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
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
    owner = f"process {os.getpid()} on {socket.gethostname()}, {SCRATCH}"
    if os.path.lexists(folder) and not _is_scratch(folder):
        raise FileExistsError(f"{folder} is no scratch folder of sepjax: move it away")
    advice = f"it makes {target}: wait until it ends, or write to another folder"
    with locked(folder, owner, advice):
        try:
            for rest in folder.iterdir():
                if rest.name != LOCK:
                    shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _is_scratch(folder: Path) -> bool:
    """Whether a folder is our own: its lock says so, or nothing else is in it."""
    lock = folder / LOCK
    if folder.is_symlink() or not folder.is_dir() or lock.is_symlink():
        return False
    text = lock.read_text(errors="replace") if lock.is_file() else ""
    return text.endswith(SCRATCH) or not set(folder.iterdir()) - {lock}


def move_all(files: Mapping[Path, Path], old: Iterable[Path] = ()) -> None:
    """Give finished files their final names, all of them or none.

    Args:
        files: of one scratch folder -> their names; folders are created where needed.
        old: files that make way for the new ones, and are back if one of these fails.

    Raises:
        OSError: a file cannot have its name, for instance as a folder has it.
    """
    scratch = next(iter(files)).parent
    moves = [(path, scratch / f"old {number}") for number, path in enumerate(old)]
    moves += files.items()
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            done.append((target, source))
            move(source, target)
    except BaseException:  # a signal, too
        for target, source in reversed(done):
            if not os.path.lexists(source):  # the last one may not have been moved
                move(target, source)
        raise


def _part(path: Path) -> Path:
    """The name until the end; every thread of every process has one of its own."""
    # Not mkstemp, whose files are their owner's alone.
    writer = f"{os.getpid()}-{threading.get_native_id()}"
    return path.with_name(f".{path.name[:100]}.{writer}.part")


def delete_leftovers(folder: Path) -> None:
    """Delete what killed processes of this machine have left half written in a folder.

    These are files and folders named by :func:`_part`, so with the process's number.
    """
    for path in [*folder.rglob(".*.part")] if os.name == "posix" else []:
        name = re.fullmatch(r"\..+\.(\d+)-\d+\.part", path.name)
        if name and not _is_alive(int(name[1])):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True  # somebody else's
    except (ProcessLookupError, OverflowError):
        return False
    return True


def move(source: str | Path, target: str | Path) -> Path:
    """Give a finished file or folder its final name; return the final path.

    An existing file of that name is replaced at once. Both names are on one disk.

    Raises:
        OSError: a folder has the name, or ``target`` cannot be written.
    """
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    moved = Path(source).replace(target)
    flush(moved.parent)  # a power cut does not bring the old name back
    return moved


def flush(path: str | Path) -> None:
    """Have the content of a file, or the names in a folder, on the disk (fsync)."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        opened = os.open(path, os.O_RDONLY)  # Windows opens no folders
        stack.callback(os.close, opened)
        os.fsync(opened)


def write_atomically(path: str | Path, content: str | bytes) -> Path:
    """Write bytes or text (UTF-8, ? for what is none in names); return the path."""
    text = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with atomic_file(path) as file:
        file.write(text)
    return Path(path)


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


def read_json(path: str | Path, kind: type[Tree], *, nan: bool = False) -> Tree:
    """Read a JSON file from outside: strict, in UTF-8, of bounded size and depth.

    Args:
        path: of the file.
        kind: what it holds, ``dict`` or ``list``.
        nan: accept the bare NaN of other programs.

    Raises:
        OSError: it is missing, or cannot be read.
        ValueError: as :func:`parse_json`; the message names the file.

    Example:
        >>> import tempfile
        >>> path = write_json(Path(tempfile.mkdtemp()) / "facts.json", {"seed": 7})
        >>> read_json(path, dict)
        {'seed': 7}
        >>> read_json(path, list)
        Traceback (most recent call last):
        ValueError: .../facts.json: a list is wanted, not {'seed': 7}: restore ...
    """
    with open(path, "rb") as file:
        return parse_json(file.read(LARGEST + 1), kind, str(path), nan=nan)


def parse_json(
    text: str | bytes, kind: type[Tree], place: str, *, nan: bool = False
) -> Tree:
    """Parse JSON from outside, such as a line of a file; see `read_json`.

    Raises:
        ValueError: it is damaged, of another kind, too large or too deep, or has a
            number that is not finite; ``place`` begins the message.

    Example:
        >>> parse_json("[1, 2]", list, "notes.jsonl, line 3")
        [1, 2]
    """
    try:
        if len(text) > LARGEST:
            raise ValueError(f"it has more than {LARGEST >> 20} MiB")
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
        hook = float if nan else _refuse
        tree = json.loads(
            text,
            parse_constant=hook,
            parse_float=_finite_float,
            parse_int=_short_int,
        )
        _require_shallow(tree)
        if "\\ud" in text.lower():  # half of a surrogate pair cannot be written again
            to_json(tree).encode()
        if not isinstance(tree, kind):
            name = "a list" if kind is list else "an object"
            raise ValueError(f"{name} is wanted, not {repr(tree)[:80]}")
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(
            f"{place}: {reason}: restore it from a copy, or make it anew"
        ) from error
    return tree


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of strict JSON")


def _finite_float(text: str) -> float:
    if not math.isfinite(number := float(text)):
        _refuse(text)
    return number


def _short_int(text: str) -> int:
    if len(text) > 400:
        raise ValueError("a number has more than 400 digits")
    return int(text)


def _require_shallow(tree: Any, left: int = DEEPEST) -> None:
    if not left:
        raise RecursionError
    if isinstance(tree, dict | list):
        for value in tree.values() if isinstance(tree, dict) else tree:
            _require_shallow(value, left - 1)


def text_sha256(text: str) -> str:
    """Digest of a text (UTF-8), in hexadecimal.

    Example:
        >>> text_sha256("")[:8]
        'e3b0c442'
    """
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def sha256(path: str | Path) -> str:
    """Digest of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
