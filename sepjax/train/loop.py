"""A training run, top to bottom."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh
from orbax.checkpoint import CheckpointManager

from sepjax.config import Config, from_dict, to_dict
from sepjax.functional.augment import prepare_excerpts
from sepjax.losses import separation_loss
from sepjax.models import build_model
from sepjax.train import checkpoint
from sepjax.train.checkpoint import Progress
from sepjax.train.mesh import batch_sharding, replicated, shard_batch
from sepjax.train.metrics import MetricLog
from sepjax.train.optim import make_optimizer
from sepjax.train.plateau import PlateauState, plateau_step
from sepjax.train.signals import stop_signals
from sepjax.train.step import TrainState, init_state, make_eval_step, make_train_step


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


class NonFiniteError(RuntimeError):
    """A loss is not a number; the message names step, sources and tracks."""


class Program(NamedTuple):
    """The compiled parts of a run; ``init(key)`` makes the state they act on."""

    init: Callable[[jax.Array], TrainState]
    train_step: Callable[[TrainState, dict], tuple[TrainState, dict]]
    eval_step: Callable[[Any, dict], tuple[jax.Array, jax.Array]]


def make_program(config: Config, mesh: Mesh) -> Program:
    """Jit everything a run needs: batches split over the mesh, the state on all of it.

    Nothing is compiled before the first call of each part.
    """
    model, optimizer = build_model(config.model), make_optimizer(config.optim)
    step = make_train_step(model, separation_loss, optimizer)
    time = round(config.data.chunk_seconds * config.data.sample_rate)
    fraction = config.data.shuffle_fraction

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        return step(state, prepare_excerpts(batch, shuffle_fraction=fraction))

    every, split = replicated(mesh), batch_sharding(mesh)
    return Program(
        jax.jit(
            lambda key: init_state(model, optimizer, key, time),
            out_shardings=every,
            # It runs once: optimized, it would compile longer than the step.
            compiler_options={"xla_backend_optimization_level": 0},
        ),
        jax.jit(
            train_step,
            in_shardings=(every, split),
            out_shardings=(every, every),
            donate_argnums=0,
        ),
        jax.jit(
            make_eval_step(model), in_shardings=(every, split), out_shardings=every
        ),
    )


def train(
    config: Config,
    workdir: Path,
    data: Batches,
    mesh: Mesh,
    *,
    provenance: dict[str, Any],
    allow_config_change: bool = False,
) -> bool:
    """Train to ``config.train.steps``, from the run's latest checkpoint if it has one.

    Args:
        config: resolved.
        workdir: the run folder.
        data: batches as a function of the step.
        mesh: of all devices.
        provenance: saved with every checkpoint.
        allow_config_change: continue a run whose configuration differs.

    Returns:
        Whether the run came to its end; ``False`` if a signal asked it to stop.

    Raises:
        NonFiniteError: the loss is not finite.
        CheckpointError: a checkpoint cannot be written, or does not fit the config.
    """
    program = make_program(config, mesh)
    record = {"config": to_dict(config), "provenance": provenance}
    last, processes = config.train.steps, (jax.process_index(), jax.process_count())
    with contextlib.ExitStack() as stack:
        manager = stack.enter_context(checkpoint.open_manager(workdir, create=True))
        state, progress = resume(manager, program, record, allow_config_change)
        checkpoint.check_space(workdir, state)
        remember(workdir, record)
        start = int(state.step)
        if start >= last or stalled(config, progress, start):
            return True
        log = stack.enter_context(MetricLog(workdir, start=start, total=last))
        stop_asked = stack.enter_context(stop_signals(every=config.train.log_every))
        batches = data.train_batches(start, last, *processes)
        stack.enter_context(contextlib.closing(batches))

        recent = []
        for step, batch in enumerate(batches, start=start + 1):
            state, metrics = program.train_step(state, shard_batch(mesh, batch))
            recent.append((step, metrics))
            done, loss, stop = step == last, math.inf, stop_asked(step)
            judged = done or step % config.train.eval_every == 0
            saved = judged or stop or step % config.train.checkpoint_every == 0
            # What is saved was found finite, and a resumed run averages the same steps.
            if saved or step % config.train.log_every == 0:
                recent = report(log, config, data, state, recent)
            if judged:
                loss, values = validate(program.eval_step, state, data, mesh, config)
                state, progress = judge(config, state, progress, step, loss)
                log.write("valid", step, values)
                log.say(verdict(step, values, progress))
                done = done or stalled(config, progress, step)
            if saved:
                checkpoint.save(manager, state, progress, loss, record)
            if done or stop:
                break
        checkpoint.finish(manager)
    return done


def resume(
    manager: CheckpointManager, program: Program, record: dict[str, Any], force: bool
) -> tuple[TrainState, Progress]:
    """The latest checkpoint of a run, or its beginning."""
    config = from_dict(record["config"])
    state = program.init(jax.random.key(config.seed))
    if manager.latest_step() is None:
        return state, Progress(PlateauState(config.optim.lr))
    data_sha256 = record["provenance"].get("data_sha256", "")
    return checkpoint.restore(
        manager, state, config, data_sha256=data_sha256, force=force
    )


def remember(workdir: Path, record: dict[str, Any]) -> None:
    """Write ``config.json``: the configuration and where the run comes from."""
    if jax.process_index() == 0:
        tree = record["config"] | {"provenance": record["provenance"]}
        partial = workdir / "config.partial"
        partial.write_text(json.dumps(tree, indent=2) + "\n")
        partial.replace(workdir / "config.json")


def stalled(config: Config, progress: Progress, step: int) -> bool:
    """Whether ``early_stop`` evaluations in sequence brought no new best."""
    patience = config.train.early_stop * config.train.eval_every
    return 0 < patience <= step - progress.best_step


def report(
    log: MetricLog,
    config: Config,
    data: Batches,
    state: TrainState,
    recent: list[tuple[int, dict]],
) -> list:
    """Log the mean of the steps since the last report; returns an empty list.

    Fetching the metrics of several steps at once lets the device run ahead.

    Raises:
        NonFiniteError: in one of the steps.
    """
    if not recent:
        return []
    steps = [step for step, _ in recent]
    fetched = jax.device_get([metrics for _, metrics in recent])
    for step, metrics in zip(steps, fetched):
        require_finite(config, data, step, metrics)
    mean = jax.tree.map(lambda *values: np.mean(values, axis=0), *fetched)
    rate = float(state.learning_rate)
    values = {"loss": float(mean["loss"])}
    values |= per_source(config, mean["si_sdr"])
    values |= {"grad_norm": float(mean["grad_norm"]), "learning_rate": rate}
    log.write("train", steps[-1], values)
    log.progress(steps[-1], f"loss {values['loss']:.2f} dB  rate {rate:.2g}")
    return []


def require_finite(config: Config, data: Batches, step: int, metrics: dict) -> None:
    """Stop a run whose numbers have left the reals, and say where it happened."""
    if all(np.all(np.isfinite(value)) for value in metrics.values()):
        return
    names = per_source(config, metrics["si_sdr"])
    broken = [name for name, value in names.items() if not math.isfinite(value)]
    raise NonFiniteError(
        f"step {step}: loss {metrics['loss']}, gradient norm {metrics['grad_norm']}; "
        f"not finite: {', '.join(broken) or 'the gradient'}; tracks in the batch: "
        f"{', '.join(data.track_names(step - 1))}. The last checkpoint is sound: lower "
        "optim.lr or optim.clip (with --allow_config_change), or look at these tracks."
    )


def validate(
    eval_step: Callable, state: TrainState, data: Batches, mesh: Mesh, config: Config
) -> tuple[float, dict[str, float]]:
    """Mean negative SI-SDR over classes, and each class's SI-SDR, in decibels.

    A class that sounds nowhere in the validation split is left out of the mean.
    """
    total = count = np.zeros(len(config.data.sources))
    processes = jax.process_index(), jax.process_count()
    for batch in data.valid_batches(config.train.batch_size, *processes):
        sums, counts = eval_step(state.params, shard_batch(mesh, batch))
        total, count = total + np.asarray(sums), count + np.asarray(counts)
    each = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    values = per_source(config, each)
    loss = -float(np.nanmean(each)) if count.any() else math.nan
    if not math.isfinite(loss):
        raise NonFiniteError(
            f"step {int(state.step)}: validation gives {values}. Either no class "
            "sounds in the validation split, or the estimates are not finite."
        )
    return loss, {"loss": loss} | values


def judge(
    config: Config, state: TrainState, progress: Progress, step: int, loss: float
) -> tuple[TrainState, Progress]:
    """Remember the best evaluation and lower the learning rate on a plateau.

    The schedule ignores an evaluation out of turn, at the end of a run: prolonged, the
    run trains on as if it had been longer from the start. Such an evaluation may still
    be the best.
    """
    optim, plateau = config.optim, progress.plateau
    if step % config.train.eval_every == 0:
        plateau = plateau_step(
            plateau,
            loss,
            factor=optim.lr_decay_gamma,
            patience=optim.lr_decay_patience,
            cooldown=optim.lr_decay_cooldown,
            threshold=optim.plateau_threshold,
        )
    if plateau.learning_rate != progress.plateau.learning_rate:
        state = state.with_learning_rate(plateau.learning_rate)
    if loss < progress.best_loss:
        return state, Progress(plateau, step, loss)
    return state, progress._replace(plateau=plateau)


def verdict(step: int, values: dict[str, float], progress: Progress) -> str:
    """One line about an evaluation."""
    each = "  ".join(
        f"{name.removeprefix('si_sdr/')} {value:.2f}"
        for name, value in values.items()
        if name != "loss"
    )
    best = " (best)" if progress.best_step == step else ""
    return f"step {step}: validation SI-SDR {-values['loss']:.2f} dB{best}  {each}"


def per_source(config: Config, values: np.ndarray) -> dict[str, float]:
    """Values named after the classes."""
    return {
        f"si_sdr/{name}": float(value)
        for name, value in zip(config.data.sources, values, strict=True)
    }
