"""How a run begins, or goes on from where it stopped."""

import contextlib
import dataclasses
import operator
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import CheckpointManager

from sepjax.config import Config, member_configs, member_folders, to_dict
from sepjax.models.build import model_of
from sepjax.storage import write_json
from sepjax.train import checkpoint
from sepjax.train.log import MetricLog, announced, read_log, timed
from sepjax.train.memory import compile_step
from sepjax.train.optim.freeze import frozen_leaves, leaf_names
from sepjax.train.optim.plateau import PlateauState
from sepjax.train.pretrained import find_run, fitted_parts, start_from
from sepjax.train.program import Program, optimizer_of, preparation
from sepjax.train.schedules import Progress
from sepjax.train.seeds import join
from sepjax.train.statistics import gather, wants_statistics
from sepjax.train.step import TrainState

COMPILING = "compiling (first step)"


class Batches(Protocol):
    """Where batches come from; ``data_pipelines.pipeline.Data`` is one."""

    @property
    def resident_bytes(self) -> int:
        """Bytes that the first of ``train_batches`` puts on each device for good."""

    def first_batch(self) -> dict:
        """Return the whole batch of step 0; nothing stays on the devices."""

    def train_batches(
        self, start_step: int, stop_step: int, process_index: int, process_count: int
    ) -> Iterator[dict]:
        """Batches of steps ``start_step … stop_step - 1``, this process's rows."""

    def valid_batches(
        self, batch_size: int, process_index: int, process_count: int
    ) -> Iterator[dict]:
        """The validation chunks, with ``weight`` 0 for rows that fill up."""

    def track_names(self, step: int) -> list[str]:
        """The tracks in the batch of step ``step``, for messages."""


@dataclasses.dataclass
class SeedRun:
    """A seed during training: the content of its folder, and its schedule."""

    config: Config
    folder: Path
    record: dict[str, Any]  # configuration and provenance, saved with checkpoints
    manager: CheckpointManager
    progress: Progress
    log: MetricLog = dataclasses.field(init=False)  # opened when training begins
    layout: Any = None  # of the optimiser's state in a run of this member alone
    lost: bool = False  # its numbers are no longer finite


def open_runs(
    stack: contextlib.ExitStack, config: Config, workdir: Path, provenance: dict
) -> list[SeedRun]:
    """Open the run of every member, with its checkpoints."""
    runs, members = [], member_configs(config)
    # Members are saved one after another: a kill leaves them a checkpoint apart.
    keep = min(len(members), 2)
    for one, folder in zip(members, member_folders(config, workdir)):
        folder.mkdir(parents=True, exist_ok=True)
        manager = stack.enter_context(checkpoint.writing(folder, keep_latest=keep))
        own = provenance | {"seed": one.seed}
        record = {"config": to_dict(one), "provenance": own}
        count = len(one.data.sources) if one.per_source else 1
        progress = Progress.of([Progress(PlateauState(one.optim.lr))] * count)
        run = SeedRun(one, folder, record, manager, progress)
        runs.append(run)
    return runs


def resume(
    runs: list[SeedRun], program: Program, data: Batches, force: bool
) -> tuple[int, TrainState, Program]:
    """Return the step to continue from and its state: the latest that all seeds saved.

    If audio will lie on the devices, the returned program has its step compiled:
    whether both fit is known before any audio is uploaded.

    Raises:
        CheckpointError: a checkpoint does not fit the configuration, or the seeds have
            none in common.
        ValueError: a step and resident audio do not fit into a device's memory.
    """
    step = common_step(runs, force)
    tell_start(runs, step)
    states = [begin(run.config, program) for run in runs]
    for index, run in enumerate(runs):
        alone = optimizer_of(run.config, program.freeze, model_of(run.config)).init
        run.layout = jax.tree.structure(jax.eval_shape(alone, states[index].params))
        if step == 0:
            continue
        together = jax.tree.structure(states[index].opt_state)
        restored, run.progress = checkpoint.restore(
            run.manager,
            laid_out(states[index], run.layout),
            run.config,
            step=step,
            data_sha256=run.record["provenance"].get("data_sha256", ""),
            force=force,
        )
        states[index] = laid_out(restored, together)
        if restored.best:
            states[index] = states[index].with_ended(ended_sources(run, step))
        before = checkpoint.read_meta(run.manager, step)["provenance"]
        require_same_teacher(run, before, force)
        run.record["provenance"] |= {n: before[n] for n in {"pretrained"} & {*before}}
    ahead = runs[0].config.train.parallel == "jit"  # pmap compiles as it is called
    resident = data.resident_bytes
    if ahead and resident and not ended(runs, step):
        with timed(COMPILING):
            first = data.first_batch()
            compiled, _ = compile_step(program, first, len(runs), resident)
        program = program._replace(train_step=compiled)
    if step == 0:
        states = prepare(runs, states, data, program)
    tell_lost(runs)
    program = program._replace(
        train_step=announced(program.train_step, COMPILING),
        eval_step=announced(program.eval_step, "compiling (first validation)"),
    )
    return step, join(states, program.mesh), program


def require_same_teacher(run: SeedRun, before: dict[str, Any], force: bool) -> None:
    """Refuse to go on with stems of another teacher under the same name.

    Raises:
        CheckpointError: the teacher's parameters are others than when the run began.
    """
    pairs = [each.get("teacher", {}) for each in (before, run.record["provenance"])]
    old, new = (each.get("sha256", "none") for each in pairs)
    if old != new and not force:
        raise checkpoint.CheckpointError(
            f"{run.folder} learned from another teacher: {old[:12]} -> {new[:12]}. Use "
            "another --workdir, or --allow_config_change to go on"
        )


def tell_start(runs: list[SeedRun], step: int) -> None:
    """Say which step a run goes on from, and what it makes again."""
    records = read_log(runs[0].folder / "metrics.jsonl")
    logged, total = records[-1]["step"] if records else 0, runs[0].config.train.steps
    if jax.process_index() > 0 or not (step or logged):
        return
    again = f"; steps {step + 1} to {logged} are made again" if logged > step else ""
    none = "" if step else "no checkpoint is there: "
    print(f"{none}resuming from step {step} of {total}{again}", flush=True)


def tell_lost(runs: list[SeedRun]) -> None:
    """Say whose best checkpoint is not there any more."""
    for run in runs:
        best = 0 if run.progress.sources else run.progress.best_step
        if best and best not in run.manager.all_steps() and jax.process_index() == 0:
            print(
                f"note: {run.folder} lacks its best checkpoint, of step {best}: until "
                "an evaluation is better, the latest is used in its place",
                file=sys.stderr,
                flush=True,
            )


def ended(runs: list[SeedRun], step: int) -> bool:
    """Return whether there is nothing left to train."""
    return step >= runs[0].config.train.steps or stalled(runs, step)


def stalled(runs: list[SeedRun], step: int) -> bool:
    """Return whether ``early_stop`` evaluations in sequence gave no seed a new best."""
    return all(all(ended_sources(run, step)) for run in runs)


def ended_sources(run: SeedRun, step: int) -> list[bool]:
    """Return whether early stopping has ended each schedule of a seed by a step."""
    last = step // run.config.train.eval_every * run.config.train.eval_every
    waited = [last - one.best_step for one in run.progress.each]
    return [0 < patience(run) <= steps for steps in waited]


def patience(run: SeedRun) -> int:
    """Return how many steps without a new best end a seed; 0: no number does."""
    return run.config.train.early_stop * run.config.train.eval_every


def common_step(runs: list[SeedRun], force: bool) -> int:
    """Find the latest step with a checkpoint of every seed; remove later checkpoints.

    A kill between the seeds of one save leaves some a checkpoint ahead, or with the
    first checkpoint of all. Any other difference of seeds is refused.
    """
    saved = [set(run.manager.all_steps()) for run in runs]
    train = runs[0].config.train
    first = min(train.eval_every, train.checkpoint_every, train.steps)
    step = max(set.intersection(*saved), default=0)
    for run, steps in zip(runs, saved):
        if steps and not force:
            meta = checkpoint.read_meta(run.manager, max(steps))
            digest = run.record["provenance"].get("data_sha256", "")
            checkpoint.require_same(run.folder, meta, run.config, digest)
    ahead = [max(steps, default=0) for steps in saved]
    # The seeds that a kill left behind stand at the common step; before any was common,
    # the others have but their first.
    if step not in ahead or (step == 0 and max(ahead) > first):
        each = ", ".join(f"{r.folder.name} {s}" for r, s in zip(runs, ahead))
        raise checkpoint.CheckpointError(
            f"these seeds have no checkpoint in common to go on from (latest: {each}): "
            "train the missing ones alone (--config.seed=… --config.train.seeds=1, in "
            "their folders), or use another --workdir"
        )
    for run, steps in zip(runs, saved):
        for later in sorted(other for other in steps if other > step):
            run.manager.delete(later)
    return step


def spelled_out(config: Config, workdir: Path) -> Config:
    """Return a configuration that names all of ``train.fit`` (:func:`fitted_parts`)."""
    folder = member_folders(config, workdir)[0]
    fit = fitted_parts(member_configs(config)[0], folder)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, fit=fit))


def begin(config: Config, program: Program) -> TrainState:
    """Create a member's state before training, with its values of varied fields."""
    state = program.init(jax.random.key(config.seed))
    values = [operator.attrgetter(path)(config) for path in program.varied]
    numbers = jax.device_put([np.float32(v) for v in values], state.step.sharding)
    if "optim.lr" in program.varied and config.optim.schedule == "plateau":
        state = state.with_learning_rate(config.optim.lr)
    return state.replace(settings=dict(zip(program.varied, numbers)))


def prepare(
    runs: list[SeedRun], states: list[TrainState], data: Batches, program: Program
) -> list[TrainState]:
    """Begin with parameters of another run or statistics of the data, if required."""
    config, model = runs[0].config, model_of(runs[0].config)
    drawn = leaf_names(states[0].params)
    if config.train.pretrained_from:
        started = [start_pretrained(run, s, program) for run, s in zip(runs, states)]
        states, drawn = [state for state, _ in started], started[0][1]
    if wanted := wants_statistics(model, drawn):
        excerpts = config.train.statistics_excerpts
        steps = -(-excerpts // config.train.batch_size)
        params = gather(
            model,
            [state.params for state in states],
            data.train_batches(0, steps, jax.process_index(), jax.process_count()),
            program.mesh,
            excerpts=excerpts,
            seeds=len({run.config.seed for run in runs}),
            prepare=preparation(config),
        )
        if config.train.pretrained_from:  # what it has keeps its statistics
            new = frozen_leaves(params[0], drawn)
            pairs = zip(params, (state.params for state in states))
            params = [
                jax.tree.map(lambda n, a, b: a if n else b, new, *pair)
                for pair in pairs
            ]
        states = [state.replace(params=own) for state, own in zip(states, params)]
    if not (wanted or config.train.pretrained_from):
        return states
    return [begin_from(state, program) for state in states]


def begin_from(state: TrainState, program: Program) -> TrainState:
    """Return a state with average and optimiser started from its parameters."""
    rate = state.opt_state.hyperparams["learning_rate"]
    average = jax.tree.map(jnp.copy, state.params) if state.average else {}
    fresh = program.init_optimizer(state.params)
    state = state.replace(average=average, opt_state=fresh)
    return state.with_learning_rate(rate)


def laid_out(state: TrainState, layout: Any) -> TrainState:
    """Put the optimiser's state into another structure of the same leaves.

    Members that are trained together share links, such as decay, that some of them
    would not have alone.
    """
    leaves = jax.tree.leaves(state.opt_state)
    return state.replace(opt_state=jax.tree.unflatten(layout, leaves))


def start_pretrained(run: SeedRun, state: TrainState, program: Program) -> tuple:
    """Set the parameters of ``train.pretrained_from``; return those it lacks, too."""
    source = find_run(run.config.train.pretrained_from, run.folder, run.config.seed)
    state, facts = start_from(state, source, run.config, program.freeze)
    drawn, count = facts.pop("drawn"), len(jax.tree.leaves(state.params))
    parts = dict.fromkeys(name.split("/")[0] for name in drawn)
    taken = f"{count - len(drawn)} of {count} arrays are those of {source}"
    if jax.process_index() == 0:
        print(f"{taken}; drawn anew: {', '.join(parts) or 'none'}", flush=True)
    run.record["provenance"]["pretrained"] = facts
    return state, drawn


def remember(workdir: Path, record: dict[str, Any]) -> None:
    """Write ``config.json``: the configuration and where the run comes from."""
    if jax.process_index() == 0:
        tree = record["config"] | {"provenance": record["provenance"]}
        write_json(workdir / "config.json", tree, indent=2)
