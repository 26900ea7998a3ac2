"""The checkout: configurations and the program of a run, which no wheel holds yet."""

import sys
from pathlib import Path

import sepjax

PROGRAM = "run_experiment.py"


def checkout() -> Path:
    """Find the folder of ``configs`` and the program; ``configs`` can be imported then.

    It lies beside an editable install, or is where the command was given.

    Raises:
        ValueError: neither is a checkout.
    """
    for root in (Path(sepjax.__file__).parent.parent, Path.cwd()):
        if (root / PROGRAM).exists() and (root / "configs").is_dir():
            if str(root) not in sys.path:
                sys.path.append(str(root))
            return root
    raise ValueError(
        f"{PROGRAM} and configs/, which know the thesis' rows, tables and figures, are "
        "not here: run this in the checkout of sepjax, or install it from there"
    )
