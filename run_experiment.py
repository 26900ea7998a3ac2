"""Run an experiment: check, train, evaluate and report.

    python run_experiment.py --config=configs/demo.py --workdir=runs/demo
    python run_experiment.py --config=configs/base.py:explore --mode=check \
        --config.model.L=25
    python run_experiment.py --sweep=figure_5.10 --workdir=runs/sweep --shard=2/4

Any field of the configuration is a flag. A run that was interrupted goes on from its
last checkpoint when the same command is given again.
"""

import os
import sys
from pathlib import Path

# LAPACK's threads wait for one another longer than they compute; read on loading NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from absl import app, flags, logging
from ml_collections import config_flags

from data_pipelines.workers import ending_signals
from sepjax.commands.terminal import escaped_output
from sepjax.experiment.flags import Options, parse_flags

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
    """Dispatch on ``--sweep`` and ``--mode``."""
    logging.set_verbosity(logging.WARNING)  # orbax and jax report every file they touch
    options = Options(
        mode=MODE.value,
        workdir=WORKDIR.value,
        force=FORCE.value,
        distributed=DISTRIBUTED.value,
        processes=PROCESSES.value,
        process=PROCESS.value,
        sweep=SWEEP.value,
        shard=SHARD.value,
        per_run=PER_RUN.value,
        launcher=LAUNCHER.value,
        program=Path(__file__).resolve(),
    )
    with escaped_output():
        sys.exit(dispatch(options, argv[1:]))


def dispatch(options: Options, rest: list[str]) -> int:
    """Do what the options say; return the exit status."""
    # What is heavy is imported here, after flags were parsed: --help stays quick.
    if options.sweep:
        from sepjax.experiment.launch import run_sweep

        return run_sweep(options, CONFIG.value, rest)
    if rest:
        raise app.UsageError(f"unknown argument {rest[0]!r}")
    if options.mode == "list":
        from configs.listing import lines

        print("\n".join(lines()))
        return 0
    if CONFIG.value is None:
        raise app.UsageError("--config is missing: try --config=configs/demo.py")
    from sepjax.experiment.run import run

    with ending_signals():  # a sweep leaves them to its members
        return run(CONFIG.value, options)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
