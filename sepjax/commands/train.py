"""``sepjax train`` and ``sepjax demo``: the program of runs, from anywhere."""

import sys
from typing import NoReturn

# Members of a sweep; what lies in the working directory is not theirs to import.
COMMAND = (sys.executable, "-P", "-m", "sepjax", "train")
DEMO = ("--config=demo", "--workdir=runs/demo", "--keep_memory")
DEMO_HELP = f"""Train a small model on music of the package; score it and report.

    sepjax demo
    sepjax demo --workdir=runs/short --config.train.steps=100

It is sepjax train {" ".join(DEMO)};
flags of sepjax train may follow and win. The page of the run is WORKDIR/report.html."""


def train(arguments: list[str]) -> NoReturn:
    """``sepjax train --config=NAME --workdir=DIR``: one experiment, or a sweep."""
    from sepjax.experiment.program import start

    start(COMMAND, arguments, "sepjax train")


def demo(arguments: list[str]) -> NoReturn:
    """``sepjax demo``: train, score and report on the music of the package."""
    if {"--help", "-h"} & set(arguments):
        print(DEMO_HELP)
        sys.exit(0)
    train([*DEMO, *arguments])
