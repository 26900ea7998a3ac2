"""Everything worth knowing before a long run starts, from one real step."""

import time
from collections.abc import Iterator
from pathlib import Path

import jax
import optax
from jax.sharding import Mesh

from sepjax.config import Config, member_configs, with_values
from sepjax.experiment.pace import stream_lines
from sepjax.models.build import model_of
from sepjax.models.parameters import count_parameters
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.memory import compile_step
from sepjax.train.mesh import shard_batch
from sepjax.train.optim.freeze import frozen_leaves
from sepjax.train.optim.low_rank import low_rank
from sepjax.train.program import Program, make_program
from sepjax.train.seeds import join
from sepjax.train.start import Batches, begin, spelled_out


def check_run(config: Config, data: Batches, mesh: Mesh) -> Iterator[tuple[str, str]]:
    """Build, compile and run one step; yield (what, value) lines as they are known.

    Raises:
        ValueError: a step and resident audio do not fit into a device's memory.
    """
    if config.train.pretrained_from:
        yield "starts from", f"{config.train.pretrained_from}, looked for as it starts"
        try:
            config = spelled_out(config, Path())
        except CheckpointError:
            yield "train.fit", "as given: which sources are new is known as it starts"
    # Both forms are one program; that of jit can be compiled ahead.
    config = with_values(config, {"train.parallel": "jit"})
    program, members = make_program(config, mesh), member_configs(config)
    yield from describe(config, program)
    began = time.perf_counter()
    batch, resident = data.first_batch(), data.resident_bytes
    compiled, memory = compile_step(program, batch, len(members), resident)
    yield "compile time", f"{time.perf_counter() - began:.1f} s"
    yield "memory per device", memory
    processes = jax.process_index(), jax.process_count()
    batch = shard_batch(mesh, next(iter(data.train_batches(0, 1, *processes))))
    state = join([begin(one, program) for one in members], mesh)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        state, metrics = jax.block_until_ready(compiled(state, batch))
        seconds.append(time.perf_counter() - began)
    text = f"{metrics['loss'].mean():.4g}"
    if "si_sdr" in metrics:  # what the loss is made of, so that its unit is known
        text += f", SI-SDR {metrics['si_sdr'].mean():.2f} dB"
    yield "loss of the first batch", f"{text} after 2 steps"
    hours = min(seconds) * config.train.steps / 3600
    yield "time of a step", f"{min(seconds):.3f} s"
    yield "time of the run", f"{hours:.2f} h for {config.train.steps} steps"
    yield from stream_lines(config)


def describe(config: Config, program: Program) -> Iterator[tuple[str, str]]:
    """Describe what is known before compilation: frames, parameters, frozen parts."""
    model, data = model_of(config), config.data
    rate, chunk = data.sample_rate, data.chunk_seconds
    yield "chunk", f"{chunk:g} s at {rate} Hz"
    yield from model.describe(round(chunk * rate)).items()
    shapes = jax.eval_shape(program.init, jax.random.key(config.seed)).params
    yield "parameters", f"{count_parameters(shapes, model.constants):,}"
    if rank := config.train.lora:
        adapt = low_rank(optax.identity(), rank, freeze=program.freeze)
        factors = jax.eval_shape(adapt.init, shapes).factors
        yield "trained", f"{count_parameters(factors):,} of factors of rank {rank}"
    frozen = frozen_leaves(shapes, program.freeze)
    for name, tree in shapes.items():
        stays = " (frozen)" if all(jax.tree.leaves(frozen[name])) else ""
        # By its name: a part may be an array, and what is no parameter has a name.
        yield f"  {name}", f"{count_parameters({name: tree}, model.constants):,}{stays}"
    if (members := len(member_configs(config))) > 1:
        yield "members", f"{members}, side by side in one program"
