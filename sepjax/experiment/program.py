"""The program of runs and sweeps: its flags, and what they ask for.

``sepjax train`` and ``run_experiment.py`` are its doors.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

# LAPACK's threads wait for one another longer than they compute; read on loading NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from absl import app, flags, logging
from ml_collections import config_flags

from data_pipelines.workers import ending_signals
from sepjax.commands.terminal import escaped_output
from sepjax.experiment.flags import Options, parse_flags

USAGE = """Run an experiment: check, train, evaluate and report.

    {door} --config=demo --workdir=runs/demo
    {door} --config=base:explore --mode=check --config.model.L=25
    {door} --config=mine.py:large --workdir=runs/large --config.train.seeds=3
    {door} --sweep=figure_5.10 --workdir=runs/sweep --shard=2/4
    {door} --mode=list

Any field of the configuration is a flag. A run that was interrupted goes on from its
last checkpoint when the same command is given again.
"""
# glibc 2.35 or newer: keep freed memory, in huge pages.
MEMORY = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}

CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="NAME[:VARIANT] of --mode=list, or your own FILE.py[:VARIANT]"
)
WORKDIR = flags.DEFINE_string("workdir", "", "the run folder")
MODE = flags.DEFINE_enum(
    "mode",
    "run",
    ["run", "check", "train", "evaluate", "list"],
    "run: train, evaluate and report; check: validate and time one step",
)
SWEEP = flags.DEFINE_string("sweep", "", "many runs: a name that --mode=list prints")
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
KEEP = flags.DEFINE_bool(
    "keep_memory",
    False,
    "let glibc keep freed memory, in huge pages: faster steps on CPUs (Linux)",
)


def start(command: Sequence[str], arguments: Sequence[str], door: str) -> NoReturn:
    """Parse the flags, do what they say and exit.

    Args:
        command: what starts this program in a process of its own, as members of a
            sweep do.
        arguments: the flags.
        door: the command that people typed, for messages and help.
    """
    if {"--help", "-help", "-h", "--helpshort"} & set(arguments):
        print(USAGE.format(door=door))
        print(
            flags.FLAGS.module_help(__name__).replace(f"{__name__}:", "flags:").strip()
        )
        sys.exit(0)
    # Flags of fields are looked for there, before others are parsed.
    sys.argv = [door, *arguments]
    app.run(lambda argv: main(command, argv[1:]), flags_parser=parse_flags)


def main(command: Sequence[str], rest: list[str]) -> int:
    """Do what the parsed flags say; return the exit status."""
    if KEEP.value:
        keep_memory()
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
        command=tuple(command),
    )
    with escaped_output():
        return dispatch(options, rest)


def dispatch(options: Options, rest: list[str]) -> int:
    """Do what the options say; return the exit status."""
    # What is heavy is imported here, after flags were parsed: --help stays quick.
    if options.sweep:
        from sepjax.experiment.launch import run_sweep

        return run_sweep(options, CONFIG.value, rest)
    if rest:
        hint = "a configuration is --config=NAME"
        print(f"error: unknown argument {rest[0]!r}: {hint}", file=sys.stderr)
        return 2
    if options.mode == "list":
        from sepjax.configs.listing import lines

        print("\n".join(lines()))
        return 0
    if CONFIG.value is None:
        print("error: --config is missing: try --config=demo", file=sys.stderr)
        return 2
    from sepjax.experiment.run import run
    from sepjax.inference.process import give_memory_back

    give_memory_back()
    with ending_signals():  # a sweep leaves them to its members
        return run(CONFIG.value, options)


def keep_memory() -> None:
    """Start this process again with :data:`MEMORY`, unless it has that or is no Linux.

    glibc reads these variables as a process begins. Values of the user's own stay.
    """
    if sys.platform == "linux" and not MEMORY.keys() <= os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, MEMORY | os.environ)
