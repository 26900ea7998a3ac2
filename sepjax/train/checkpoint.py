"""Checkpoints: the latest and the best, each with all that a run needs to go on.

A checkpoint holds the optimiser state and, as JSON, the resolved configuration, the
plateau schedule, the best evaluation so far and the provenance. orbax writes it
atomically: a run killed at any moment finds the previous one whole.
"""

import contextlib
import errno
import functools
import operator
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from sepjax.config import Config, differences, from_dict
from sepjax.models.build import model_of
from sepjax.models.contract import SeparationModel, Variables
from sepjax.train.damage import (
    SUMS,
    TRASH,
    checksums,
    config_of,
    read_layout,
    read_state,
    reading,
    require_losses,
    seal,
    shapes_by_name,
)
from sepjax.train.damage import CheckpointError as CheckpointError
from sepjax.train.damage import params_sha256 as params_sha256
from sepjax.train.damage import read_meta as read_meta
from sepjax.train.optim.plateau import PlateauState
from sepjax.train.schedules import Progress as Progress
from sepjax.train.step import TrainState, init_variables
from sepjax.weights.store import require_shapes

FOLDER = "checkpoints"


class Manager(ocp.CheckpointManager):
    """orbax's manager, which leaves stop signals to the training loop."""

    def reached_preemption(self, step: int) -> bool:
        """Return false: a question from orbax's threads confuses the loop's answers."""
        return False


def open_manager(
    run: Path, *, create: bool = False, keep_latest: int = 1
) -> ocp.CheckpointManager:
    """The checkpoint manager of a run folder; keeps the latest and the best.

    Args:
        run: the run folder.
        create: for training. All processes of a distributed run save together;
            otherwise this one reads alone.
        keep_latest: how many of the latest checkpoints are kept.
    """
    loss, process = operator.itemgetter("loss"), jax.process_index()
    best = preservation_policy.BestN(get_metric_fn=loss, reverse=True, n=1)
    latest = preservation_policy.LatestN(keep_latest)
    alone: dict[str, Any] = dict(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix="read"
    )
    processes = ocp.options.MultiprocessingOptions(**{} if create else alone)
    options = ocp.CheckpointManagerOptions(
        best_fn=loss,
        best_mode="min",
        preservation_policy=preservation_policy.AnyPreservationPolicy([latest, best]),
        create=create,
        cleanup_tmp_directories=create,  # what a kill has left
        multiprocessing_options=processes,
        todelete_subdir=TRASH,
    )
    handlers = {
        "state": ocp.StandardCheckpointHandler(multiprocessing_options=processes),
        "meta": ocp.JsonCheckpointHandler(multiprocessing_options=processes),
    }
    folder = (run / FOLDER).absolute()
    require_losses(folder)
    return Manager(folder, options=options, item_handlers=handlers)


@contextlib.contextmanager
def writing(run: Path, *, keep_latest: int) -> Iterator[ocp.CheckpointManager]:
    """Context with the manager of a run that is trained.

    Raises:
        CheckpointError: at the end, something could not be written; of several errors
            the first, which is the cause, is raised.
    """
    manager = open_manager(run, create=True, keep_latest=keep_latest)
    try:
        yield manager
    except BaseException:
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            manager.close()
        raise
    with _explained(Path(manager.directory)):
        manager.close()


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    progress: Progress,
    loss: float,
    record: dict[str, Any],
) -> None:
    """Write a checkpoint of a state in the background.

    The loss is that of validation at this very step, infinite where none was computed;
    ``record`` has ``config`` and ``provenance``.

    Raises:
        CheckpointError: this or an earlier checkpoint could not be written.
    """
    step = int(state.step)
    if step in manager.all_steps():
        return
    meta = record | {"step": step, "progress": progress.to_json()}
    tree = _saved(state)
    meta[SUMS] = checksums(tree)
    arguments = ocp.args.Composite(
        state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta)
    )
    # JSON has no infinity; the largest float sorts the same.
    metric = min(loss, np.finfo(np.float32).max.item())
    finish(manager)
    with _explained(Path(manager.directory)):
        saved = manager.save(step, args=arguments, metrics={"loss": metric})
    if not saved:
        raise CheckpointError(
            f"checkpoint of step {step} was not written to {manager.directory}: "
            f"present steps are {manager.all_steps()}"
        )


def finish(manager: ocp.CheckpointManager) -> None:
    """Wait until every save is on disk, and the replaced checkpoints are deleted.

    Raises:
        CheckpointError: something could not be written.
    """
    with _explained(Path(manager.directory)):
        manager.wait_until_finished()
        if jax.process_index() == 0:
            seal(Path(manager.directory))
            shutil.rmtree(Path(manager.directory) / TRASH, ignore_errors=True)


def check_space(run: Path, state: TrainState, seeds: int = 1) -> None:
    """Refuse to start where the checkpoints (latest, best, next) do not fit.

    ``state`` is that of one of the ``seeds``; with several the latest two are kept.

    Raises:
        CheckpointError: too little disk space; the message says how much is needed.
    """
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    needed = seeds * (3 if seeds == 1 else 4) * size
    free = shutil.disk_usage(run).free
    if free < needed:
        raise CheckpointError(
            f"{run} has {free / 2**20:.0f} MiB free, but this model's checkpoints need "
            f"{needed / 2**20:.0f} MiB: make room or choose another --workdir"
        )


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Context in which failures to write become a :class:`CheckpointError`."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        free = shutil.disk_usage(folder).free
        full = getattr(error, "errno", 0) == errno.ENOSPC or free < 2**20
        full |= os.strerror(errno.ENOSPC) in str(error)  # a quota, which leaves room
        reason = "the disk is full" if full else str(error).splitlines()[0][:300]
        raise CheckpointError(
            f"cannot save a checkpoint in {folder}: {reason} "
            f"({free / 2**20:.0f} MiB free). Earlier checkpoints are unharmed: make "
            "room and start the same command again to go on from the last one."
        ) from error


def restore(
    manager: ocp.CheckpointManager,
    state: TrainState,
    config: Config,
    *,
    step: int | None = None,
    data_sha256: str = "",
    force: bool,
) -> tuple[TrainState, Progress]:
    """Restore a checkpoint with the layout and sharding of ``state``.

    Args:
        manager: of the run.
        state: a fresh state, or its shapes with shardings.
        config: resolved, of the run about to continue.
        step: of the checkpoint; by default the latest.
        data_sha256: of the data it is about to see; empty: not compared.
        force: go on although the configuration or the data differ. Another learning
            rate then takes effect, and the plateau schedule starts anew.

    Raises:
        CheckpointError: the checkpoint was made with another configuration; every
            difference is listed.
    """
    step = manager.latest_step() if step is None else step
    meta = read_meta(manager, step)
    run = Path(manager.directory).parent
    if not force:
        require_same(run, meta, config, data_sha256)
    saved = read_layout(manager, step)
    # An average that was saved is read, though it may be left out again.
    layout = state.replace(average=state.params if saved.get("average") else {})
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _saved(layout))
    if shapes_by_name(saved) != shapes_by_name(target):
        raise CheckpointError(
            f"{run} keeps another state than this configuration needs: its optimizer, "
            "schedule, warm-up, model or train.per_source is another one. Start a new "
            f"run from it with --config.train.pretrained_from={run} and another "
            "--workdir"
        )
    restored = read_state(manager, step, target, meta)
    average = restored.get("average", {}) if state.average else {}
    if state.average and not average:
        average = jax.tree.map(jnp.copy, restored["params"])
    state = state.replace(**restored | {"average": average})
    progress = Progress.from_json(meta["progress"])
    if from_dict(meta["config"]).optim.lr != config.optim.lr:
        state = state.with_learning_rate(config.optim.lr)
        plateau = PlateauState(config.optim.lr)
        progress = Progress.of([p._replace(plateau=plateau) for p in progress.each])
    return state, progress


def require_same(
    run: Path, meta: dict[str, Any], config: Config, data_sha256: str
) -> None:
    """Refuse to go on with a run under another configuration or on other data.

    Raises:
        CheckpointError: every difference is listed.
    """
    changed = differences(from_dict(meta["config"]), config)
    # The rate of such a cosine depends on the number of steps of the run.
    bound = config.optim.schedule == "cosine" and not config.optim.cosine_steps
    free = UNBOUND + (() if bound else ("train.steps:",))
    changed = [line for line in changed if not line.startswith(free)]
    old = meta["provenance"].get("data_sha256", data_sha256)
    if data_sha256 and old != data_sha256:
        changed.append(f"content of the data: {old[:12]} -> {data_sha256[:12]}")
    if changed:
        raise CheckpointError(
            f"{run} was trained with another configuration:\n  "
            + "\n  ".join(changed)
            + "\nUse another --workdir, or --allow_config_change to go on."
        )


# A run may be prolonged, logged otherwise, scored otherwise and fed otherwise.
UNBOUND = (
    *("train.log_every:", "eval.", "live.eval:"),
    *("train.parallel:", "train.accumulate:"),
    *("data.feeder:", "data.root:", "data.allow_overlap:"),
)


def load(
    run: str | os.PathLike, *, which: str = "best"
) -> tuple[SeparationModel, Variables, Config]:
    """Load a trained run's model, variables and configuration.

    ``which`` is ``"best"`` by validation loss, or ``"latest"``.

    Raises:
        CheckpointError: the folder holds no checkpoint.
    """
    with _existing(Path(run)) as manager:
        step = _pick(manager, which)
        meta = read_meta(manager, step)
        config = config_of(Path(run), meta)
        with reading(manager, step):
            model = model_of(config)
        best = which == "best" and meta["progress"]["best_step"] > 0
        return model, _variables(manager, step, meta, model, best), config


def describe(run: str | os.PathLike) -> dict[str, Any]:
    """Return the facts that ``sepjax inspect`` prints about a run, ready for JSON."""
    with _existing(Path(run)) as manager:
        step = manager.latest_step()
        meta = read_meta(manager, step)
        progress = meta["progress"]
        best = {"step": progress["best_step"], "loss": progress["best_loss"]}
        if each := progress.get("sources"):
            steps = [one["best_step"] for one in each]
            best["sources"] = dict(zip(meta["config"]["data"]["sources"], steps))
        return {
            "step": step,
            "best": best,
            "params_sha256": params_sha256(_variables(manager, step, meta)["params"]),
            "config": meta["config"],
            "provenance": meta["provenance"],
        }


def _existing(run: Path) -> ocp.CheckpointManager:
    if not (run / FOLDER).is_dir():
        what = "is no run folder" if run.exists() else "does not exist"
        what = "holds no checkpoints" if run.is_dir() else what
        raise CheckpointError(f"{run} {what}: name the --workdir of a training run")
    manager = open_manager(run)
    if manager.latest_step() is None:
        manager.close()
        raise CheckpointError(
            f"{run / FOLDER} is empty: no checkpoint was finished yet"
        )
    return manager


def _pick(manager: ocp.CheckpointManager, which: str) -> int:
    if which not in ("best", "latest"):
        raise ValueError(f"which={which!r}: best or latest")
    latest = manager.latest_step()
    progress = read_meta(manager, latest)["progress"]
    best = progress["best_step"]
    # 0: nothing was evaluated yet. What was best of each source is in all checkpoints.
    if which == "latest" or not best or progress.get("sources"):
        return latest
    if best not in manager.all_steps():
        warnings.warn(
            f"{manager.directory} lacks its best checkpoint, of step {best}: "
            f"the latest, of step {latest}, is used",
            stacklevel=2,
        )
        return latest
    return best


def _variables(
    manager: ocp.CheckpointManager,
    step: int,
    meta: dict[str, Any],
    model: SeparationModel | None = None,
    best: bool = False,
) -> dict[str, Any]:
    """Parameters, averaged or ``best`` of each source, and the model's collections."""
    # A target of host arrays: the devices that saved it need not be there any more.
    target = jax.tree.map(
        lambda leaf: np.empty(leaf.shape, leaf.dtype), read_layout(manager, step)
    )
    state = read_state(manager, step, target, meta)
    with reading(manager, step):
        kept = {"params": state.get("average") or state["params"]}
        kept = state["best"] if best and "best" in state else kept | state["memory"]
        if model is None:
            return kept
        variables = {name: kept[name] for name in ("params", *model.collections)}
        draw = functools.partial(init_variables, model, time=model.sample_rate)
        drawn = jax.eval_shape(draw, jax.random.key(0))
        require_shapes({name: drawn[name] for name in variables}, variables)
    return variables


def _saved(state: TrainState) -> dict[str, Any]:
    """The parts of a state that are kept; average and best only where they are."""
    names = ("step", "params", "opt_state", "memory")
    more = {"average": state.average, "best": state.best}
    tree = {name: getattr(state, name) for name in names}
    return tree | {name: part for name, part in more.items() if part}
