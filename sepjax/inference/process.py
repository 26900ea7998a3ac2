"""What a process that separates keeps: memory, and compiled programs."""

import contextlib
import ctypes
import os
import sys

ARENAS, MAPPED, TRIM = -8, -4, -1  # M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD of glibc


def keep_memory() -> None:
    """Let the allocator of the C library keep what is freed, for a process of its own.

    Every chunk takes the same large pieces of memory, which glibc gives back to the
    system after each; clearing their pages anew takes a fifth of the time that the
    largest models compute on a CPU. Once jax is imported it is too late: its threads
    have pieces of their own. Other libraries have no such call. Then nothing changes.

    Example:
        >>> keep_memory()

    Reference:
        mallopt(3).
    """
    if "jax" in sys.modules:
        return
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        for option, value in ((ARENAS, 1), (MAPPED, 0), (TRIM, 2**31 - 1)):
            library.mallopt(option, value)


def keep_programs(folder: str | os.PathLike) -> None:
    """Keep compiled programs in a folder, unless JAX has been given another one."""
    import jax

    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
