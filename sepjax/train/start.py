"""How a run begins, or goes on from where it stopped."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import jax
from jax.sharding import Mesh
from orbax.checkpoint import CheckpointManager

from sepjax.config import Config, to_dict
from sepjax.models import build_model
from sepjax.train import checkpoint
from sepjax.train.checkpoint import Progress
from sepjax.train.metrics import MetricLog
from sepjax.train.plateau import PlateauState
from sepjax.train.pretrained import find_run, start_from
from sepjax.train.program import Program
from sepjax.train.seeds import join, seed_configs, seed_folders
from sepjax.train.statistics import gather, wants_statistics
from sepjax.train.step import TrainState


class Batches(Protocol):
    """Where batches come from; ``data_pipelines.pipeline.Data`` is one."""

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
    """One seed on its way: what lies in its folder, and its schedule."""

    config: Config
    folder: Path
    record: dict[str, Any]  # configuration and provenance, saved with checkpoints
    manager: CheckpointManager
    progress: Progress
    log: MetricLog | None = None


def open_runs(
    stack: contextlib.ExitStack, config: Config, workdir: Path, provenance: dict
) -> list[SeedRun]:
    """The run of every seed, its checkpoints opened."""
    runs = []
    for one, folder in zip(seed_configs(config), seed_folders(config, workdir)):
        folder.mkdir(parents=True, exist_ok=True)
        # Seeds are saved one after another: a kill leaves them a checkpoint apart.
        keep = min(config.train.seeds, 2)
        manager = checkpoint.open_manager(folder, create=True, keep_latest=keep)
        progress = Progress(PlateauState(config.optim.lr))
        own = provenance | {"seed": one.seed}
        record = {"config": to_dict(one), "provenance": own}
        stack.enter_context(manager)
        runs.append(SeedRun(one, folder, record, manager, progress))
    return runs


def resume(
    runs: list[SeedRun], program: Program, data: Batches, mesh: Mesh, force: bool
) -> tuple[int, TrainState]:
    """The step to go on from and its state: the latest that all seeds have saved.

    Raises:
        CheckpointError: a checkpoint does not fit the configuration.
    """
    found = [run.manager.latest_step() for run in runs]
    states = [begin(run, program) for run in runs]
    if None in found:
        states = [prepare(run, s, runs, data, mesh) for run, s in zip(runs, states)]
        return 0, join(states, mesh)
    for index, run in enumerate(runs):
        digest = run.record["provenance"].get("data_sha256", "")
        states[index], run.progress = checkpoint.restore(
            run.manager,
            states[index],
            run.config,
            step=min(found),
            data_sha256=digest,
            force=force,
        )
        pretrained = checkpoint.read_meta(run.manager, min(found))["provenance"]
        if "pretrained" in pretrained:
            run.record["provenance"]["pretrained"] = pretrained["pretrained"]
    return min(found), join(states, mesh)


def begin(run: SeedRun, program: Program) -> TrainState:
    """The state of one seed before training."""
    return program.init(jax.random.key(run.config.seed))


def prepare(
    run: SeedRun, state: TrainState, runs: list[SeedRun], data: Batches, mesh: Mesh
) -> TrainState:
    """Parameters from another run and statistics of the data, where they are wanted."""
    config, count = run.config, len(runs)
    if config.train.pretrained_from:
        workdir = run.folder if count == 1 else run.folder.parent
        source = find_run(config.train.pretrained_from, workdir, config.seed)
        state, facts = start_from(state, source, config)
        run.record["provenance"]["pretrained"] = facts
        return state
    if not wants_statistics(state.params):
        return state
    steps = -(-config.train.statistics_excerpts // config.train.batch_size)
    batches = data.train_batches(0, steps, jax.process_index(), jax.process_count())
    params = gather(
        build_model(config.model),
        state.params,
        batches,
        mesh,
        excerpts=config.train.statistics_excerpts,
        index=runs.index(run),
        seeds=count,
    )
    return state.replace(params=params)


def remember(workdir: Path, record: dict[str, Any]) -> None:
    """Write ``config.json``: the configuration and where the run comes from."""
    if jax.process_index() == 0:
        tree = record["config"] | {"provenance": record["provenance"]}
        partial = workdir / "config.partial"
        partial.write_text(json.dumps(tree, indent=2) + "\n")
        partial.replace(workdir / "config.json")
