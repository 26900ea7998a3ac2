"""``sepjax inspect RUN``: what a run folder or imported weights hold, as JSON."""

import argparse
import json
from pathlib import Path

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax inspect``."""
    parser.add_argument("run", type=Path, help="run folder, or imported weights")


def inspect(arguments: argparse.Namespace) -> int:
    """Print every fact that can be known without data."""
    from sepjax.train.load import describe

    print(json.dumps(describe(arguments.run), indent=1, ensure_ascii=False))
    return 0
