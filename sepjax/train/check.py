"""Everything worth knowing before a long run starts, from one real step."""

import time
from collections.abc import Iterator
from typing import Any

import jax
from jax.sharding import Mesh

from sepjax.config import Config
from sepjax.functional.framing import frames_for
from sepjax.functional.tcn import receptive_field
from sepjax.train.loop import Batches, make_program
from sepjax.train.mesh import shard_batch


def check_run(config: Config, data: Batches, mesh: Mesh) -> Iterator[tuple[str, str]]:
    """Build, compile and run one step; yields (what, value) lines as they are known."""
    model = config.model
    rate, chunk = config.data.sample_rate, config.data.chunk_seconds
    frames = frames_for(round(chunk * rate), model.W)
    seen = receptive_field(model.layers, model.stack, model.kernel)
    yield "chunk", f"{chunk:g} s at {rate} Hz, {frames} frames of {model.W} samples"
    yield "receptive field", f"{seen} frames, {seen * model.W / rate:.2f} s"
    program = make_program(config, mesh)
    key = jax.random.key(config.seed)
    shapes = jax.eval_shape(program.init, key)
    yield "parameters", f"{parameter_count(shapes.params):,}"
    for name, part in shapes.params.items():
        yield f"  {name}", f"{parameter_count(part):,}"
    batch = next(
        iter(data.train_batches(0, 1, jax.process_index(), jax.process_count()))
    )
    batch = shard_batch(mesh, batch)
    began = time.perf_counter()
    compiled = program.train_step.lower(shapes, batch).compile()
    yield "compile time", f"{time.perf_counter() - began:.1f} s"
    yield "memory of a step", memory(compiled, jax.device_count())
    state = program.init(key)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        state, metrics = jax.block_until_ready(compiled(state, batch))
        seconds.append(time.perf_counter() - began)
    yield "loss of the first batch", f"{float(metrics['loss']):.2f} dB after 2 steps"
    hours = min(seconds) * config.train.steps / 3600
    yield "time of a step", f"{min(seconds):.3f} s"
    yield "time of the run", f"{hours:.2f} h for {config.train.steps} steps"


def parameter_count(params: Any) -> int:
    """Numbers in a tree of parameters.

    Example:
        >>> parameter_count({"a": jax.numpy.zeros((2, 3)), "b": jax.numpy.zeros(())})
        7
    """
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def memory(compiled: Any, devices: int) -> str:
    """Peak bytes of a compiled step on each device, by XLA's own account."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return "unknown on this platform"
    arguments = analysis.argument_size_in_bytes - analysis.alias_size_in_bytes
    total = arguments + analysis.output_size_in_bytes + analysis.temp_size_in_bytes
    where = f" on each of {devices} devices" if devices > 1 else ""
    return f"{total / 2**20:.0f} MiB{where}"
