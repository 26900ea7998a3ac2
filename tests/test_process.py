"""What a process gives back to the system."""

import ctypes
from pathlib import Path

import jax
import pytest

from sepjax.inference.process import COMPILED, give_memory_back

PIECES, SIZE = 2000, 64 * 1024  # too small to be mapped pages of their own


def resident() -> float:
    """Memory of this process that is in use, in units of the pieces."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / (PIECES * SIZE)


def test_what_a_long_compilation_has_freed_is_given_back():
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        pytest.skip("memory is given back with glibc alone")
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    give_memory_back()
    give_memory_back()  # once is enough
    pieces = [library.malloc(SIZE) for _ in range(PIECES)]
    for piece in pieces:
        ctypes.memset(piece, 1, SIZE)
    for piece in pieces[:-1]:  # the last one keeps the others from the system
        library.free(piece)
    before = resident()
    jax.monitoring.record_event_duration_secs(COMPILED, 0.1)
    assert resident() > before - 0.1
    jax.monitoring.record_event_duration_secs(COMPILED, 2.0)
    assert resident() < before - 0.9
    library.free(pieces[-1])


def test_jax_still_tells_of_compilations():
    seen = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: seen.append(event)
    )
    jax.jit(lambda x: x + 3)(1.0)
    assert COMPILED in seen
