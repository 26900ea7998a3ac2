"""Everything worth knowing before a long run starts, from one real step."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from sepjax.config import Config, layer_strides
from sepjax.functional.framing import frames_for
from sepjax.functional.tcn import receptive_field
from sepjax.models.parameters import count_parameters
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.freeze import frozen_leaves
from sepjax.train.mesh import shard_batch
from sepjax.train.program import make_program
from sepjax.train.seeds import join
from sepjax.train.start import Batches, spelled_out


def check_run(config: Config, data: Batches, mesh: Mesh) -> Iterator[tuple[str, str]]:
    """Build, compile and run one step; yields (what, value) lines as they are known."""
    model = config.model
    rate, chunk = config.data.sample_rate, config.data.chunk_seconds
    if model.name == "tasnet":
        hop = math.prod(layer_strides(model))
        frames = frames_for(round(chunk * rate), hop)
        yield "chunk", f"{chunk:g} s at {rate} Hz, {frames} frames of {hop} samples"
        if not model.ideal_mask:
            seen = receptive_field(model.layers, model.stack, model.kernel)
            yield "receptive field", f"{seen} frames, {seen * hop / rate:.2f} s"
    if config.train.pretrained_from:
        yield "starts from", f"{config.train.pretrained_from}, looked for as it starts"
        try:
            config = spelled_out(config, Path())
        except CheckpointError:
            yield "train.fit", "as given: which sources are new is known as it starts"
    program = make_program(config, mesh)
    key = jax.random.key(config.seed)
    shapes = jax.eval_shape(program.init, key)
    yield "parameters", f"{count_parameters(shapes.params):,}"
    frozen = frozen_leaves(shapes.params, program.freeze)
    for name, tree in shapes.params.items():
        stays = " (frozen)" if all(jax.tree.leaves(frozen[name])) else ""
        yield f"  {name}", f"{count_parameters(tree):,}{stays}"
    seeds = config.train.seeds
    if seeds > 1:
        yield "seeds", f"{seeds}, side by side in one program"
    batch = next(
        iter(data.train_batches(0, 1, jax.process_index(), jax.process_count()))
    )
    batch = shard_batch(mesh, batch)
    began = time.perf_counter()
    state = join([program.init(key) for key in jax.random.split(key, seeds)], mesh)
    compiled = program.train_step.lower(state, batch).compile()
    yield "compile time", f"{time.perf_counter() - began:.1f} s"
    yield "memory of a step", memory(compiled, jax.device_count())
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        state, metrics = jax.block_until_ready(compiled(state, batch))
        seconds.append(time.perf_counter() - began)
    yield "loss of the first batch", f"{metrics['loss'].mean():.2f} dB after 2 steps"
    hours = min(seconds) * config.train.steps / 3600
    yield "time of a step", f"{min(seconds):.3f} s"
    yield "time of the run", f"{hours:.2f} h for {config.train.steps} steps"


def memory(compiled: Any, devices: int) -> str:
    """Peak bytes of a compiled step on each device, by XLA's own account."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return "unknown on this platform"
    arguments = analysis.argument_size_in_bytes - analysis.alias_size_in_bytes
    total = arguments + analysis.output_size_in_bytes + analysis.temp_size_in_bytes
    where = f" on each of {devices} devices" if devices > 1 else ""
    return f"{total / 2**20:.0f} MiB{where}"
