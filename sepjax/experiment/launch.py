"""``--sweep``: which members run, and on what."""

import sys
from pathlib import Path
from typing import Any

from sepjax.configs.sweeps import SWEEPS
from sepjax.experiment.devices import find_devices
from sepjax.experiment.flags import Options, run_folder
from sepjax.experiment.members import missing_sources, select
from sepjax.experiment.sweep import Sweep, summary


def run_sweep(options: Options, config: Any, arguments: list[str]) -> int:
    """Run the members of a sweep; return the exit code.

    ``arguments`` are ``--config.…`` fields of all members and ``--launcher.…`` options;
    a ``config`` of its own, which ``--config`` names, is refused.
    """
    try:
        members = select(SWEEPS, options.sweep, options.shard)
        if options.mode == "list":
            print("\n".join(f"{run:48s} {m.config}" for run, m in members.items()))
            return 0
        if options.mode == "evaluate" or config is not None or options.force:
            raise ValueError("--sweep goes with --mode=run, train, check or list only")
        fields = [a for a in arguments if a.lstrip("-").startswith("config.")]
        ours = [a for a in arguments if a not in fields]
        checking = options.mode == "check"
        workdir = Path(options.workdir) if checking else run_folder(options.workdir)
        where = _launching(workdir, options, ours)
        what = members, workdir, options.mode, fields, options.command
        runs = Sweep(*what, **where)
        for run, source in missing_sources(runs.configs, workdir):
            print(f"note: {run} starts from {source}, which is not there yet")
        outcomes = runs.run()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(summary(outcomes, len(members)))
    return 0 if len(outcomes) == len(members) and all(o.good for o in outcomes) else 1


def _launching(workdir: Path, options: Options, ours: list[str]) -> dict[str, Any]:
    """Devices and launcher of the members of a sweep, from the flags."""
    launcher, here = options.launcher, options.launcher != "slurm"
    if here and options.distributed:
        raise ValueError("--distributed of a sweep needs --launcher=slurm")
    if not here and options.per_run:
        raise ValueError("--devices_per_run: on Slurm it is --launcher.gpus_per_node")
    if launcher == "processes" and ours:
        raise ValueError(f"{ours[0]} needs --launcher=slurm")
    if launcher != "processes" and options.mode == "check":
        raise ValueError("--mode=check of a sweep needs --launcher=processes")
    where = dict(devices=find_devices(), per_run=options.per_run) if here else {}
    if launcher == "processes":
        return where
    try:
        from sepjax.experiment.slurm import Jobs
    except ImportError as error:
        raise ValueError(f"--launcher: {error}: pip install 'sepjax[slurm]'") from error
    pairs = dict(option.split(".", 1)[1].partition("=")[::2] for option in ours)
    cluster = "local" if here else "slurm"
    jobs = Jobs(cluster, workdir / "submitit", pairs, options.distributed)
    return where | dict(start=jobs, flags=jobs.flags)
