"""The command line of a run: what it says, and mistakes in one line."""

import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from absl import flags

from sepjax.config import Config
from sepjax.experiment.named import with_files
from sepjax.experiment.names import configuration_of, require_fields


class Options(NamedTuple):
    """The flags of a run or a sweep beside the configuration."""

    mode: str  # run | check | train | evaluate | list
    workdir: str
    force: bool  # continue a run with another configuration
    distributed: str  # host:port of process 0, or auto
    processes: int
    process: int
    sweep: str
    shard: str
    per_run: int  # devices of every member of the sweep
    launcher: str  # processes | slurm | submitit_local
    command: tuple[str, ...]  # what starts the program of a run


def parse_flags(argv: list[str]) -> list[str]:
    """Parse flags as absl does, but report errors in a line, with the nearest names."""
    try:
        argv = [argv[0], *with_files(argv[1:])]
        config = configuration_of(argv[1:])
        if isinstance(config, Config):
            require_fields(config, argv[1:])
        if all(a.lstrip("-").partition("=")[0] != "sweep" for a in argv[1:]):
            return flags.FLAGS(argv)
        # There is no one config yet that these could override: main passes them on.
        ours = ("config.", "launcher.")
        fields = [a for a in argv[1:] if a.lstrip("-").startswith(ours)]
        left = flags.FLAGS([a for a in argv if a not in fields])
        if left[1:]:
            raise ValueError(f"unknown argument {left[1]!r}; fields need '='")
        return left + fields
    except (flags.Error, OSError, ValueError, KeyError, AttributeError) as error:
        # A failing config file comes with its traceback, which ends with the message.
        line = str(error).strip().splitlines()[-1].strip()
        print(f"error: {line.removeprefix('ValueError: ')}", file=sys.stderr)
        sys.exit(1)


def run_folder(name: str) -> Path:
    """Create ``--workdir``; a ValueError or OSError if it cannot be written to."""
    if not name:
        raise ValueError("--workdir is missing: name a folder for the run")
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"cannot write to --workdir={name}: {error.strerror}") from error
    return folder
