"""Damage to files, drawn from a seed, and commands that must take it well."""

import contextlib
import io
import json
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sepjax.commands import cli

SECONDS = 60  # what takes longer hangs
MEMORY = 6 << 30  # bytes beyond what the process has already
HUGE = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
STRANGE: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 1.5, 1e308, float("inf"), float("nan"), 10**30),
    *("", "x", "../../../x", "/abs/x", "a\0b", "\x1b[31m", "x" * 5000, "\ud800"),
    *([], {}, [None], {"x": None}, [[[[]]]], [1, "a"], {"": []}),
)


class Outcome(NamedTuple):
    """What a command did."""

    code: int
    text: str
    seconds: float


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Context in which time and memory end: a hang is an AssertionError."""

    def hang(number: int, frame: Any) -> None:
        raise AssertionError(f"still running after {SECONDS} s")

    status = Path("/proc/self/status").read_text()
    used = int(status.split("VmSize:")[1].split()[0]) * 1024
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def command(*line: object) -> Outcome:
    """Run a command of sepjax, or a function, in this process.

    Exceptions are not caught, but for the errors that a reader of files may raise.
    """
    stream, began = io.StringIO(), time.monotonic()
    with (
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
        bounded(),
    ):
        if callable(line[0]):
            code = _called(*line)
        else:
            code = cli.main([str(each) for each in line])
    return Outcome(code, stream.getvalue(), time.monotonic() - began)


def _called(function: Callable, *arguments: Any) -> int:
    try:
        print(function(*arguments))
    except (OSError, ValueError) as error:
        print(f"sepjax: error: {error}")
        return 1
    return 0


def damage(path: Path, draw: random.Random) -> str:
    """Change a file; return how."""
    kinds: list[Callable] = [flip, cut, repeat, overwrite, insert, empty]
    if path.suffix in (".json", ".jsonl", ".yaml") or path.name == "metadata":
        kinds += [retype] * len(kinds)
    kind = draw.choice(kinds)
    data = path.read_bytes()
    path.write_bytes(kind(data, draw))
    return f"{kind.__name__} {path.name}"


def flip(data: bytes, draw: random.Random) -> bytes:
    """One to eight bits are another way round."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 8)) if data else 0):
        changed[_place(data, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(data: bytes, draw: random.Random) -> bytes:
    """The end, or a piece, is missing."""
    start = _place(data, draw)
    return data[:start] + data[draw.choice((len(data), start + 7)) :]


def repeat(data: bytes, draw: random.Random) -> bytes:
    """A piece comes twice."""
    start = _place(data, draw)
    return data[: start + draw.randrange(200)] + data[start:]


def overwrite(data: bytes, draw: random.Random) -> bytes:
    """Four bytes are a number that somebody may believe."""
    start = _place(data, draw)
    order = draw.choice(("little", "big"))
    return data[:start] + draw.choice(HUGE).to_bytes(4, order) + data[start + 4 :]


def insert(data: bytes, draw: random.Random) -> bytes:
    """Bytes of no meaning stand between others."""
    start = _place(data, draw)
    return data[:start] + draw.randbytes(draw.choice((1, 16, 300))) + data[start:]


def empty(data: bytes, draw: random.Random) -> bytes:
    """Nothing is left, or zeros."""
    return bytes(draw.choice((0, len(data))))


def retype(data: bytes, draw: random.Random) -> bytes:
    """A value of JSON, or a key, is something else."""
    lines = data.decode().splitlines()
    single = len(lines) > 1 and lines[0].startswith("{") and lines[0].endswith("}")
    number = draw.randrange(len(lines)) if single else 0
    tree = json.loads(lines[number] if single else data)
    places = list(_places(tree))
    holder, key = draw.choice(places) if places else ([tree], 0)
    if isinstance(holder, dict) and draw.random() < 0.2:
        value = holder.pop(key)
        if draw.random() < 0.5:
            holder[key + "x"] = value
    else:
        holder[key] = draw.choice(STRANGE)
    text = json.dumps(tree, ensure_ascii=draw.random() < 0.9)
    if single:
        lines[number] = text
        text = "\n".join(lines) + "\n"
    return text.encode("utf-8", "surrogatepass")


def _place(data: bytes, draw: random.Random) -> int:
    """Headers, at the beginning, are where half of the damage is."""
    most = len(data) if draw.random() < 0.5 else min(len(data), 200)
    return draw.randrange(max(most, 1)) if data else 0


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


if sys.platform == "win32":
    raise ImportError("signals and limits of memory are those of Linux")
