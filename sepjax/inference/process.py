"""What a process keeps, compiled programs, and what it gives back."""

import ctypes
import functools
import os

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"


def keep_programs(folder: str | os.PathLike) -> None:
    """Keep compiled programs in a folder, unless JAX has been given another one."""
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@functools.cache
def give_memory_back() -> None:
    """Give the system what compiling has freed, before the program runs.

    The C library would keep it beside a large network's first step, a gigabyte in the
    training of Demucs. Without glibc nothing changes.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return

    def after(event: str, duration_secs: float, **_: str | int) -> None:
        if event == COMPILED and duration_secs > 1:  # short ones leave little
            trim(0)

    jax.monitoring.register_event_duration_secs_listener(after)
