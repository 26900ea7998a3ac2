"""One run: open its data, check or train, evaluate and report."""

import contextlib
import dataclasses
import errno
import functools
import math
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from data_pipelines.pipeline import Data, open_data, silent_classes, summary
from sepjax.config import Config, member_configs, member_folders, resolve
from sepjax.config.tree import epochs_in_steps
from sepjax.evaluation.seeds import summarize_band
from sepjax.experiment.check import check_run
from sepjax.experiment.flags import Options, run_folder
from sepjax.experiment.names import name_problems
from sepjax.experiment.score import score
from sepjax.experiment.teacher import load_teacher
from sepjax.models.build import model_of
from sepjax.report.figures.surface import write_surface
from sepjax.storage import atomic_file, write_json
from sepjax.train import loop, make_optimizer
from sepjax.train import mesh as meshes
from sepjax.train.checkpoint import CheckpointError, describe, load, require_same
from sepjax.train.filters import branch_facts, learned_filters
from sepjax.train.loop import NonFiniteError
from sepjax.train.objective import make_objective
from sepjax.train.provenance import provenance
from sepjax.train.workdir import held

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""No space; a quota is used up; a file may not be that large (ulimit)."""


def run(config: Any, options: Options) -> int:
    """Do what ``options.mode`` says; return the exit code.

    An error that a person can mend ends as one clear message, at once: writing threads
    would add their tracebacks, and this process would wait for the other processes of a
    distributed run, which wait for this process.
    """
    try:
        if not isinstance(config, Config):
            raise ValueError("--config names no file with a configuration: --mode=list")
        with contextlib.ExitStack() as stack:
            return 0 if _run(resolve(config, name_problems), options, stack) else 1
    except (ValueError, OSError, CheckpointError, NonFiniteError) as error:
        message = f"error: {error}"
        if isinstance(error, OSError) and error.errno in FULL:
            where = error.filename or options.workdir
            message = (
                f"error: no space left on the disk of {where} ({error.strerror}): "
                "make room and start the same command again to go on from the last "
                "checkpoint"
            )
    except Exception:
        message = traceback.format_exc()
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


def _run(config: Config, options: Options, stack: contextlib.ExitStack) -> bool:
    """Do it, and say whether all succeeded; the stack holds the run folder."""
    mode, workdir = options.mode, None
    if options.distributed:
        place = options.distributed, options.processes, options.process
        meshes.start_distributed(*place)
    if mode != "check":
        folder = functools.partial(run_folder, options.workdir)
        workdir = stack.enter_context(held(folder, config))
    mesh = meshes.make_mesh()
    if mode != "evaluate":
        batch_size, accumulate = config.train.batch_size, config.train.accumulate
        meshes.require_divisible(batch_size, mesh.size, accumulate)
        make_optimizer(config.optim, steps=1)  # one of a user's own can be built
        make_objective(model_of(config), config.loss)  # the model feeds its losses
    learns = config.train.teacher and mode != "evaluate"
    teacher = load_teacher(config) if learns else None
    songs = teacher.songs if teacher and mode != "check" else None
    data = open_data(config, sharding=meshes.batch_sharding(mesh), songs=songs)
    config = counted_in_steps(config, data)
    _announce(data, data.require_unseen() if mode != "evaluate" else [])
    if mode == "check":
        for name, value in check_run(config, data, mesh):
            print(f"{name:26s} {value}", flush=True)
        return True
    if mode != "evaluate":
        record = provenance(data.digest, config.seed)
        record |= {"teacher": teacher.facts} if teacher else {}
        if not train(config, workdir, data, mesh, record, options.force):
            return False
    # The processes of a distributed run score together; the first one writes reports,
    # for which the others wait as they exit.
    return mode == "train" or evaluate(config, workdir, data, options.force)


def _announce(data: Data, seen: list[str]) -> None:
    """Say what the data are, and which scores say nothing, or more than is true."""
    if jax.process_index() == 0:
        for split, facts in summary(data.manifest).items():
            print(f"{split}: " + ", ".join(f"{k} {v:.4g}" for k, v in facts.items()))
        notes = [f"{song}; its scores will say SEEN" for song in seen]
        for note in [*silent_classes(data.manifest), *notes]:
            print(f"note: {note}", file=sys.stderr)


def counted_in_steps(config: Config, data: Data) -> Config:
    """Return a configuration that counts steps where it counted epochs of the data.

    Songs to train on are needed for that alone: others may only be scored.
    """
    if not config.train.epoch_samples:
        return config
    excerpts = config.train.epoch_samples * len(data.songs("train"))
    return epochs_in_steps(config, -(-excerpts // config.train.batch_size))


def train(
    config: Config,
    workdir: Path,
    data: Data,
    mesh: jax.sharding.Mesh,
    record: Mapping[str, Any],
    force: bool = False,
) -> bool:
    """Train, then keep the filters and what branches bring for the report.

    ``record`` says where the run comes from; with ``force`` a run goes on with another
    configuration. Returns whether it was trained to its end, not stopped.
    """
    facts = dict(provenance=record, allow_config_change=force)
    if not loop.train(config, workdir, data, mesh, **facts):
        print(f"stopped; the same command goes on from {workdir}", file=sys.stderr)
        return False
    if jax.process_index() == 0:
        for one, folder in zip(member_configs(config), member_folders(config, workdir)):
            best, own = load(folder), dataclasses.replace(data, config=one)
            with atomic_file(folder / "filters.npz") as file:
                np.savez_compressed(file, **learned_filters(folder, *best))
            able = best[0].statistics and data.manifest.split("train")
            heard = own.first_batch() if able else None
            if facts := branch_facts(*best, heard):
                write_json(folder / "branches.json", facts)
    return True


def evaluate(config: Config, workdir: Path, data: Data, force: bool = False) -> bool:
    """Score every seed's best checkpoint as ``config.eval`` says and write reports."""
    folders, good = member_folders(config, workdir), True
    for one, folder in zip(member_configs(config), folders):
        stored = describe(folder)
        if not force:
            require_same(folder, stored, one, data.digest)
        if one.train.steps and math.isinf(float(stored["best"]["loss"])):
            print(f"{folder} has no finite evaluation: not scored", file=sys.stderr)
            good = False
        else:
            good &= score(folder, one, data)
    if jax.process_index() > 0:
        return good
    band = config.train.seeds > 1
    homes: dict[Path, list[Path]] = {}  # of the seeds of each variation
    for folder in folders:
        homes.setdefault(folder.parent if band else folder, []).append(folder)
    for home, seeds in homes.items() if band else ():
        if scored := [run for run in seeds if (run / "results.json").exists()]:
            print(f"\n{home}\n{summarize_band(home, scored)}")
    if config.train.vary:
        files, _ = write_surface(list(homes), workdir / "surface")
        print(f"surface: {files[0]}")
    return good
