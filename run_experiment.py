"""Run an experiment: check, train, evaluate and report.

    python run_experiment.py --config=configs/demo.py --workdir=runs/demo
    python run_experiment.py --config=configs/base.py:explore --mode=check \
        --config.model.L=25
    python run_experiment.py --sweep=figure_5.10 --workdir=runs/sweep --shard=2/4

``sepjax train`` has the same flags and takes names for files. Any field of the
configuration is a flag. A run that was interrupted goes on from its last checkpoint
when the same command is given again.
"""

import sys
from pathlib import Path

from sepjax.experiment.program import start

if __name__ == "__main__":
    program = str(Path(__file__).resolve())
    start((sys.executable, program), sys.argv[1:], "run_experiment.py")
