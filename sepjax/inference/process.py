"""What a process that separates keeps: compiled programs."""

import os

import jax


def keep_programs(folder: str | os.PathLike) -> None:
    """Keep compiled programs in a folder, unless JAX has been given another one."""
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
