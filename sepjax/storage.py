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
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


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
    return Path(source).replace(target)


def write_atomically(path: str | Path, content: str | bytes) -> Path:
    """Write text (UTF-8) or bytes; return the path."""
    with atomic_file(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
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


def text_sha256(text: str) -> str:
    """Digest of a text (UTF-8), in hexadecimal.

    Example:
        >>> text_sha256("")[:8]
        'e3b0c442'
    """
    return hashlib.sha256(text.encode()).hexdigest()


def sha256(path: str | Path) -> str:
    """Digest of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
