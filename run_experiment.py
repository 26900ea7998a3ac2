"""Run an experiment: check, train, evaluate and report.

    python run_experiment.py --config=configs/demo.py --workdir=runs/demo
    python run_experiment.py --config=configs/base.py:explore --mode=check \
        --config.model.L=25
    python run_experiment.py --sweep=figure_5.10 --workdir=runs/sweep --shard=2/4

Any field of the configuration is a flag. A run that was interrupted goes on from its
last checkpoint when the same command is given again.
"""

import contextlib
import errno
import functools
import math
import os
import sys
import tempfile
import traceback
from pathlib import Path

# LAPACK's threads wait for one another longer than they compute; read on loading NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from absl import app, flags, logging
from ml_collections import config_flags

from sepjax.config import Config, from_dict, member_configs, member_folders, resolve

CONFIG = config_flags.DEFINE_config_file("config", help_string="file.py[:name]")
WORKDIR = flags.DEFINE_string("workdir", "", "the run folder")
MODE = flags.DEFINE_enum(
    "mode",
    "run",
    ["run", "check", "train", "evaluate", "list"],
    "run: train, evaluate and report; check: validate and time one step",
)
SWEEP = flags.DEFINE_string("sweep", "", "many runs: a name of configs/sweeps.py")
SHARD = flags.DEFINE_string("shard", "1/1", "k/n: each n-th member of the sweep")
PER_RUN = flags.DEFINE_integer(
    "devices_per_run", 0, "devices of every member of the sweep; 0: even parts"
)
LAUNCHER = flags.DEFINE_enum(
    "launcher",
    "processes",
    ["processes", "slurm", "submitit_local"],
    "what runs the members of the sweep; --launcher.partition=x is an option of it",
)
FORCE = flags.DEFINE_bool(
    "allow_config_change", False, "continue a run with another configuration"
)
DISTRIBUTED = flags.DEFINE_string(
    "distributed", "", "host:port of process 0, or auto on a cluster"
)
PROCESSES = flags.DEFINE_integer("processes", 1, "processes of a distributed run")
PROCESS = flags.DEFINE_integer("process", 0, "index of this process")


def main(argv: list[str]) -> None:
    """Dispatch on ``--mode``; what a person can mend ends as one clear message."""
    logging.set_verbosity(logging.WARNING)  # orbax and jax report every file they touch
    # What orbax logs as an error in its threads it raises as well.
    logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)
    if SWEEP.value:
        sys.exit(sweep(SWEEP.value, argv[1:]))
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]!r}")
    if MODE.value == "list":
        return list_configs()
    if CONFIG.value is None:
        raise app.UsageError("--config is missing: try --config=configs/demo.py")
    # jax and orbax are imported here, after flags were parsed: --help stays quick.
    from sepjax.train.checkpoint import CheckpointError
    from sepjax.train.loop import NonFiniteError

    try:
        if not isinstance(CONFIG.value, Config):
            raise ValueError("--config names no file with a configuration: --mode=list")
        with contextlib.ExitStack() as stack:
            done = run(resolve(CONFIG.value), MODE.value, stack)
    except (ValueError, OSError, CheckpointError, NonFiniteError) as error:
        leave(f"error: {explain(error)}")
    except Exception:
        leave(traceback.format_exc())
    sys.exit(0 if done else 1)


def explain(error: Exception) -> str:
    """What to do about an error, where its own message does not say."""
    if getattr(error, "errno", 0) != errno.ENOSPC:
        return str(error)
    where = getattr(error, "filename", "") or WORKDIR.value
    return (
        f"no space left on the disk of {where}: make room and start the same command "
        "again to go on from the last checkpoint"
    )


def leave(message: str) -> None:
    """End at once with a message.

    Threads that were writing would add their tracebacks, and the other processes of a
    distributed run would be waited for, which wait for this one.
    """
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


def run(config: Config, mode: str, stack: contextlib.ExitStack) -> bool:
    """Do what ``mode`` says; returns whether all of it succeeded.

    The run folder belongs to this process until the stack is closed.
    """
    import jax

    from data_pipelines.pipeline import open_data, summary
    from sepjax.train import make_optimizer
    from sepjax.train import mesh as meshes
    from sepjax.train.provenance import provenance
    from sepjax.train.workdir import held

    if DISTRIBUTED.value:
        meshes.start_distributed(DISTRIBUTED.value, PROCESSES.value, PROCESS.value)
    workdir = None
    if mode != "check":
        folder = functools.partial(run_folder, WORKDIR.value)
        workdir = stack.enter_context(held(folder, config))
    mesh = meshes.make_mesh()
    if mode != "evaluate":
        batch_size, accumulate = config.train.batch_size, config.train.accumulate
        meshes.require_divisible(batch_size, mesh.size, accumulate)
        make_optimizer(config.optim, steps=1)  # its name is known
    data = open_data(config, sharding=meshes.batch_sharding(mesh))
    chief = jax.process_index() == 0
    for split, facts in summary(data.manifest).items() if chief else ():
        print(f"{split}: " + ", ".join(f"{k} {v:.4g}" for k, v in facts.items()))
    for seen in data.require_unseen() if mode != "evaluate" else ():
        if chief:
            print(f"note: {seen}; its scores will say SEEN", file=sys.stderr)
    if mode == "check":
        return check(config, data, mesh)
    record = provenance(data.digest, config.seed)
    if mode != "evaluate" and not train(config, workdir, data, mesh, record):
        return False
    # The processes of a distributed run score together; the first one writes reports,
    # for which the others wait as they exit.
    return mode == "train" or evaluate(config, workdir, data)


def train(config: Config, workdir: Path, data, mesh, record: dict) -> bool:
    """Train, then keep the filters before and after for the report."""
    import jax
    import numpy as np

    from sepjax.train import loop
    from sepjax.train.filters import learned_filters

    done = loop.train(
        config,
        workdir,
        data,
        mesh,
        provenance=record,
        allow_config_change=FORCE.value,
    )
    if not done:
        print(f"stopped; the same command goes on from {workdir}", file=sys.stderr)
        return False
    if jax.process_index() == 0:
        for folder in member_folders(config, workdir):
            np.savez_compressed(folder / "filters.npz", **learned_filters(folder))
    return True


def evaluate(config: Config, workdir: Path, data) -> bool:
    """Score every seed's best checkpoint as ``config.eval`` says and write reports."""
    import jax

    from sepjax.evaluation.seeds import summarize_band
    from sepjax.experiment.score import score
    from sepjax.report.figures.surface import write_surface
    from sepjax.train.checkpoint import describe, require_same

    folders, good = member_folders(config, workdir), True
    for one, folder in zip(member_configs(config), folders):
        stored = describe(folder)
        if not FORCE.value:
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


def check(config: Config, data, mesh) -> bool:
    """Print what a run would be: sizes, memory, the time of one real step."""
    from sepjax.experiment.check import check_run

    for name, value in check_run(config, data, mesh):
        print(f"{name:26s} {value}", flush=True)
    return True


def run_folder(name: str) -> Path:
    """Create ``--workdir`` and make sure that it can be written to."""
    if not name:
        raise ValueError("--workdir is missing: name a folder for the run")
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"cannot write to --workdir={name}: {error.strerror}") from error
    return folder


def list_configs() -> None:
    """Print every named configuration."""
    from configs.listing import lines

    print("\n".join(lines()))


def sweep(name: str, arguments: list[str]) -> int:
    """Run the members of ``--sweep``; returns the exit code."""
    from configs.sweeps import SWEEPS
    from sepjax.experiment.members import missing_sources, select
    from sepjax.experiment.sweep import Sweep, summary

    try:
        members = select(SWEEPS, name, SHARD.value)
        if MODE.value == "list":
            print("\n".join(f"{run:48s} {m.config}" for run, m in members.items()))
            return 0
        if MODE.value == "evaluate" or CONFIG.value is not None or FORCE.value:
            raise ValueError("--sweep goes with --mode=run, train, check or list only")
        checking = MODE.value == "check"
        workdir = Path(WORKDIR.value) if checking else run_folder(WORKDIR.value)
        fields = [a for a in arguments if a.lstrip("-").startswith("config.")]
        options = [a for a in arguments if a not in fields]
        runs = Sweep(
            members,
            workdir,
            MODE.value,
            fields,
            Path(__file__).resolve(),
            **launching(workdir, options),
        )
        for run, source in missing_sources(runs.configs, workdir):
            print(f"note: {run} starts from {source}, which is in another shard")
        outcomes = runs.run()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(summary(outcomes, len(members)))
    return 0 if len(outcomes) == len(members) and all(o.good for o in outcomes) else 1


def launching(workdir: Path, options: list[str]) -> dict:
    """Where and how the members of a sweep run, from the flags."""
    from sepjax.experiment.devices import find_devices

    launcher, here = LAUNCHER.value, LAUNCHER.value != "slurm"
    if here and DISTRIBUTED.value:
        raise ValueError("--distributed of a sweep needs --launcher=slurm")
    if not here and PER_RUN.value:
        raise ValueError("--devices_per_run: on Slurm it is --launcher.gpus_per_node")
    if launcher == "processes" and options:
        raise ValueError(f"{options[0]} needs --launcher=slurm")
    if launcher != "processes" and MODE.value == "check":
        raise ValueError("--mode=check of a sweep needs --launcher=processes")
    where = dict(devices=find_devices(), per_run=PER_RUN.value) if here else {}
    if launcher == "processes":
        return where
    try:
        from sepjax.experiment.slurm import Jobs
    except ImportError as error:
        raise ValueError(f"--launcher: {error}: pip install 'sepjax[slurm]'") from error
    pairs = dict(option.split(".", 1)[1].partition("=")[::2] for option in options)
    cluster = "local" if here else "slurm"
    jobs = Jobs(cluster, workdir / "submitit", pairs, DISTRIBUTED.value)
    return where | dict(start=jobs, flags=jobs.flags)


def parse_flags(argv: list[str]) -> list[str]:
    """Absl's parser, but what is wrong is said in one line, with the nearest names."""
    try:
        for argument in argv[1:]:
            name, _, value = argument.lstrip("-").partition("=")
            section, *path = name.split(".")
            if section == "config" and path:
                tree = functools.reduce(
                    lambda tree, part: {part: tree}, path[::-1], value
                )
                from_dict(tree)  # raises where a field is not known
        if any(a.lstrip("-").partition("=")[0] == "sweep" for a in argv[1:]):
            # There is no one config yet that these could override: main passes them on.
            ours = ("config.", "launcher.")
            fields = [a for a in argv[1:] if a.lstrip("-").startswith(ours)]
            left = flags.FLAGS([a for a in argv if a not in fields])
            if left[1:]:
                raise ValueError(f"unknown argument {left[1]!r}; fields need '='")
            return left + fields
        return flags.FLAGS(argv)
    except (flags.Error, OSError, ValueError, KeyError, AttributeError) as error:
        # A failing config file comes with its traceback, which ends with the message.
        line = str(error).strip().splitlines()[-1].strip()
        print(f"error: {line.removeprefix('ValueError: ')}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
