"""A training run, top to bottom."""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sepjax.config import Config
from sepjax.train import checkpoint
from sepjax.train.interrupt import stop_signals
from sepjax.train.log import MetricLog
from sepjax.train.mesh import shard_batch
from sepjax.train.objective import loss_terms, reduction
from sepjax.train.program import Program, make_program
from sepjax.train.schedules import Progress
from sepjax.train.seeds import part
from sepjax.train.start import (
    Batches,
    SeedRun,
    ended,
    ended_sources,
    laid_out,
    open_runs,
    remember,
    resume,
    spelled_out,
    stalled,
)
from sepjax.train.step import TrainState, of_sources, where_source

select = jax.jit(where_source)


class NonFiniteError(RuntimeError):
    """A loss is not a number; the message names step, sources and tracks."""


def train(
    config: Config,
    workdir: Path,
    data: Batches,
    mesh: Mesh,
    *,
    provenance: dict[str, Any],
    allow_config_change: bool = False,
    program: Program | None = None,
) -> bool:
    """Train to ``config.train.steps``, from the run's latest checkpoint if it has one.

    With 0 steps the parameters of ``train.pretrained_from`` are kept as they are.

    Args:
        config: resolved. With ``train.seeds`` above one, every seed has a run folder
            of its own in the run folder (:mod:`sepjax.train.seeds`).
        workdir: the run folder.
        data: batches as a function of the step.
        mesh: of all devices.
        provenance: saved with every checkpoint.
        allow_config_change: continue a run whose configuration differs.
        program: of this configuration and mesh, if it was made before.

    Returns:
        Whether the run came to its end; ``False`` if a signal asked it to stop.

    Raises:
        NonFiniteError: the loss is not finite.
        CheckpointError: a checkpoint cannot be written, or does not fit the config.
    """
    program = program or make_program(spelled_out(config, workdir), mesh)
    with contextlib.ExitStack() as stack:
        runs = open_runs(stack, config, workdir, provenance)
        start, state, program = resume(runs, program, data, allow_config_change)
        for run in runs:
            checkpoint.check_space(run.folder, part(state, 0, len(runs)), len(runs))
            remember(run.folder, run.record)
        if runs[0].manager.all_steps() and ended(runs, start):
            return True
        for run in runs:  # the terminal shows the first log
            total, shown = run.config.train.steps, run is runs[0]
            log = MetricLog(run.folder, start=start, total=total, shown=shown)
            run.log = stack.enter_context(log)
        stop_asked = stack.enter_context(stop_signals())
        done = advance(program, runs, start, state, data, stop_asked)
        for run in runs:
            checkpoint.finish(run.manager)
    return done


def advance(
    program: Program,
    runs: list[SeedRun],
    start: int,
    state: TrainState,
    data: Batches,
    stop_asked: Callable[[], bool],
) -> bool:
    """Take the steps after ``start``; return whether the run came to its end."""
    train, recent = runs[0].config.train, []
    last, processes = train.steps, (jax.process_index(), jax.process_count())
    batches = data.train_batches(start, last, *processes)
    # Feeders are generators.
    with contextlib.closing(batches):  # type: ignore[type-var]
        if done := last == 0:
            save(runs, appraise(program, runs, state, data, 0))
        for step, batch in enumerate(batches, start=start + 1):
            state, metrics = program.train_step(state, shard_batch(program.mesh, batch))
            recent.append((step, metrics))
            # One step ahead of the device and no more: it can stop within two steps.
            jax.block_until_ready(recent[-2:-1])
            done, stop = step == last, stop_asked()
            judged = done or step % train.eval_every == 0
            saved = judged or stop or step % train.checkpoint_every == 0
            # What is saved was found finite, and a resumed run averages the same steps.
            if saved or step % train.log_every == 0:
                recent = report(runs, data, state, recent)
            if judged:
                state = appraise(program, runs, state, data, step)
                done = done or stalled(runs, step)
            if saved:
                save(runs, state)
            if done or stop:
                break
    return done


def appraise(
    program: Program, runs: list[SeedRun], state: TrainState, data: Batches, step: int
) -> TrainState:
    """Evaluate, record the best, log and print; the state may get another rate."""
    values = validate(program, runs, state, data, step)
    state = judge(runs, state, step, [own_losses(*pair) for pair in zip(runs, values)])
    tell(runs, step, values)
    return state


def own_losses(run: SeedRun, values: dict[str, float]) -> list[float]:
    """Return the losses for a seed's schedules, infinite where there is none."""
    names = [f"loss/{name}" for name in run.config.data.sources]
    losses = [values[name] for name in (names if run.progress.sources else ["loss"])]
    return [math.inf if run.lost or math.isnan(loss) else loss for loss in losses]


def save(runs: list[SeedRun], state: TrainState) -> None:
    """Write a checkpoint of every seed; only one of a new best has a finite loss."""
    for index, run in enumerate(runs):
        own = laid_out(part(state, index, len(runs)), run.layout)
        best, loss = run.progress.best_step, run.progress.best_loss
        loss = loss if int(own.step) == best else math.inf
        checkpoint.save(run.manager, own, run.progress, loss, run.record)


def report(
    runs: list[SeedRun], data: Batches, state: TrainState, recent: list
) -> list[tuple[int, dict]]:
    """Log the mean of the steps since the last report; return an empty list.

    Fetching the metrics of several steps at once lets the device run ahead.

    Raises:
        NonFiniteError: in one of the steps.
    """
    if not recent:
        return []
    steps = [step for step, _ in recent]
    fetched = jax.device_get([metrics for _, metrics in recent])
    rates = np.asarray(state.learning_rate).reshape(len(runs), -1)
    each = [[part(m, index, len(runs)) for m in fetched] for index in range(len(runs))]
    problems = [""] * len(runs)
    for index, (run, own) in enumerate(zip(runs, each)):
        for step, metrics in () if run.lost else zip(steps, own):
            problems[index] = problems[index] or broken(run, data, step, metrics)
    lose(runs, problems)
    losses = []
    for rate, run, own in zip(rates, runs, each):
        mean = jax.tree.map(lambda *values: np.mean(values, axis=0), *own)
        values = {"loss": float(mean["loss"])} | by_source(run.config, mean)
        values |= {name: float(term) for name, term in mean.get("terms", {}).items()}
        values["grad_norm"] = float(mean["grad_norm"])
        values["learning_rate"] = float(max(rate))
        if run.progress.sources:
            values |= per_source(run.config, rate, "learning_rate")
        run.log.write("train", steps[-1], values)
        losses += [] if run.lost else [values["loss"]]
    text = f"loss {np.mean(losses):.2f}  rate {np.max(rates):.2g}"
    runs[0].log.progress(steps[-1], text)
    return []


def broken(run: SeedRun, data: Batches, step: int, metrics: dict) -> str:
    """Say which numbers of a step are not finite; empty if all are."""
    if all(np.all(np.isfinite(value)) for value in jax.tree.leaves(metrics)):
        return ""
    values = by_source(run.config, metrics)
    sources = [name for name, value in values.items() if not math.isfinite(value)]
    return (
        f"{run.folder}, seed {run.config.seed}, step {step}: loss {metrics['loss']}, "
        f"gradient norm {metrics['grad_norm']}; not finite: "
        f"{', '.join(sources) or 'the gradient'}; tracks in the batch: "
        f"{', '.join(data.track_names(step - 1))}. The last checkpoint is sound: lower "
        "optim.lr or optim.clip (with --allow_config_change), or look at these tracks."
    )


def lose(runs: list[SeedRun], problems: list[str]) -> None:
    """Go on without the members whose numbers are not finite.

    Raises:
        NonFiniteError: no member is left.
    """
    new = [(run, text) for run, text in zip(runs, problems) if text and not run.lost]
    for run, _ in new:
        run.lost = True
    if new and all(run.lost for run in runs):
        raise NonFiniteError(new[0][1])
    for _, text in new:
        runs[0].log.say(f"note: {text} The others go on.")


def validate(
    program: Program, runs: list[SeedRun], state: TrainState, data: Batches, step: int
) -> list[dict[str, float]]:
    """Return every seed's loss, and each class's SI-SDR in decibels.

    The loss is the one that is trained, without classes that sound nowhere in the
    validation split; for a loss that compares items with each other, or has other terms
    beside values per source, the mean negative SI-SDR over classes. SI-SDR itself is
    always a mean, whatever ``loss.over_sources`` says.
    """
    config = runs[0].config
    processes = jax.process_index(), jax.process_count()
    sums: dict[str, Any] = {}
    # As many rows at once as training takes: memory is what it accumulates for.
    size = config.train.batch_size // config.train.accumulate
    for batch in data.valid_batches(size, *processes):
        batch = shard_batch(program.mesh, batch)
        share = jax.device_get(program.eval_step(state.scored, batch, state.memory))
        sums = {name: sums.get(name, 0) + value for name, value in share.items()}
    values = [
        averages(run.config, part(sums, index, len(runs)))
        for index, run in enumerate(runs)
    ]
    problems = [
        ""
        if math.isfinite(own["loss"])
        else f"{run.folder}, seed {run.config.seed}, step {step}: validation gives "
        f"{own}. Either no class sounds in the validation split, or the estimates "
        "are not finite."
        for run, own in zip(runs, values)
    ]
    lose(runs, problems)
    return values


def averages(config: Config, sums: dict[str, np.ndarray]) -> dict[str, float]:
    """Average an evaluation's loss and its values per class, from sums over items."""
    count, total = sums["count"], 0.0
    loss = config.loss
    values: dict[str, float] = {}
    own: Any = 0.0  # the loss of each source
    for weight, term in loss_terms(loss, config.model.objective):
        spoken = term.reduces or term.label == "si_sdr"
        label, sign = ("si_sdr", -1) if spoken else (term.label, 1)
        items = sums["items"] if not spoken and term.counts_silence else count
        known = np.broadcast_to(items > 0, count.shape)
        each = np.where(known, sums[label] / np.maximum(items, 1), np.nan)
        own = own + weight * sign * each
        added = not spoken and (config.per_source or reduction(term, loss) == "sum")
        reduce = np.nansum if added else np.nanmean
        total += weight * sign * float(reduce(each)) if known.any() else math.nan
        values |= per_source(config, each if spoken else term.sign * each, label)
    if "si_sdr" not in {name.partition("/")[0] for name in values}:
        each = np.where(count > 0, sums["si_sdr"] / np.maximum(count, 1), np.nan)
        values = per_source(config, each) | values
    if config.per_source:
        values |= per_source(config, own, "loss")
    return {"loss": total} | values


def judge(
    runs: list[SeedRun], state: TrainState, step: int, losses: list[list[float]]
) -> TrainState:
    """Remember the best evaluations and lower learning rates on a plateau.

    ``losses`` are those of all sources of a seed, or of each (``each`` of
    :class:`sepjax.train.checkpoint.Progress`). What has ended stays as it is.
    """
    for run, own in zip(runs, losses):
        ended = ended_sources(run, step - 1)
        each = [
            progress if over else progress.after(run.config, step, loss)
            for progress, loss, over in zip(run.progress.each, own, ended)
        ]
        run.progress = Progress.of(each)
    each = [one for run in runs for one in run.progress.each]
    if runs[0].config.optim.schedule == "plateau":
        state = state.with_learning_rate([one.plateau.learning_rate for one in each])
    if not state.best:
        return state
    # Of a source that no evaluation can judge, the latest is kept.
    new = [one.best_step == step or math.isinf(one.best_loss) for one in each]
    mask = np.reshape(new, state.going.shape)
    state = state.replace(best=select(mask, of_sources(state), state.best))
    return state.with_ended([ended_sources(run, step) for run in runs])


def tell(runs: list[SeedRun], step: int, values: list[dict[str, float]]) -> None:
    """Log an evaluation and print one line; for several seeds, their mean."""
    for run, own in zip(runs, values):
        run.log.write("valid", step, own)
    values = [own for run, own in zip(runs, values) if not run.lost]
    mean = {name: np.mean([own[name] for own in values]) for name in values[0]}
    classes = [name for name in mean if name.startswith("si_sdr/")]
    means = [np.nanmean([own[name] for name in classes]) for own in values]
    kept = [run for run in runs if not run.lost]
    best = " (best)" if all(run.progress.best_step == step for run in kept) else ""
    best = "" if kept[0].progress.sources else best  # or one for each source
    pairs = zip(runs[0].config.data.sources, zip(*(r.progress.sources for r in kept)))
    new = {n for n, own in pairs if all(one.best_step == step for one in own)}
    names = ((c, c.removeprefix("si_sdr/")) for c in classes)
    each = [f"{n} {mean[c]:.2f}{' (best)' if n in new else ''}" for c, n in names]
    band = f" ± {np.std(means, ddof=1):.2f} over {len(means)} runs" if means[1:] else ""
    other = any("/" in name for name in mean if name not in classes)
    judged = f"loss {mean['loss']:.4g}, " if other else ""
    verdict = f"{judged}SI-SDR {np.mean(means):.2f} dB{band}{best}"
    runs[0].log.say(f"step {step}: validation {verdict}  {'  '.join(each)}")


def by_source(config: Config, metrics: dict) -> dict[str, float]:
    """Return the values of a step that belong to classes, named after them."""
    values: dict[str, float] = {}
    for name, each in metrics.items():
        values |= per_source(config, each, name) if np.ndim(each) == 1 else {}
    return values


def per_source(
    config: Config, values: np.ndarray, metric: str = "si_sdr"
) -> dict[str, float]:
    """Name values after the classes."""
    return {
        f"{metric}/{name}": float(value)
        for name, value in zip(config.data.sources, values, strict=True)
    }
