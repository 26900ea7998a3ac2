"""What training takes of a device's memory, known before anything lies on it."""

import os
from typing import Any

import jax

from sepjax.train.program import Program, state_shapes


def compile_step(
    program: Program, batch: dict, members: int, resident: int
) -> tuple[Any, str]:
    """Compile the training step for such batches; return it and its memory in words.

    The result takes the place of ``program.train_step``, which would compile once more.
    Only shapes of the whole batch are used; ``resident`` are bytes of audio that stay
    on each device. The devices of a CPU share the machine's memory evenly.

    Raises:
        ValueError: a device has less memory than both take.
    """
    shapes = state_shapes(program, members), jax.eval_shape(lambda: batch)
    jitted: Any = program.train_step  # of train.parallel="jit": it can be lowered
    compiled = jitted.lower(*shapes).compile()
    device, sizes = jax.local_devices()[0], compiled.memory_analysis()
    if sizes is None:
        return compiled, "unknown on this platform"
    step = sizes.argument_size_in_bytes - sizes.alias_size_in_bytes
    step += sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    room = (device.memory_stats() or {}).get("bytes_limit", 0)
    if device.platform == "cpu" and hasattr(os, "sysconf"):
        room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        room //= jax.local_device_count()
    text = f"step {step / 2**20:.0f} MiB"
    text += f" + resident audio {resident / 2**20:.0f} MiB" if resident else ""
    text += f" of {room / 2**20:.0f} MiB" if room else ""
    if 0 < room < step + resident:
        feeder = "--config.data.feeder=streaming, " if resident else ""
        raise ValueError(
            f"training does not fit into the memory of a device: {text}. Use {feeder}"
            "a higher train.accumulate or a smaller train.batch_size"
        )
    return compiled, text
