"""``sepjax reproduce TARGET``: a table or figure of the thesis by one command."""

import argparse
import sys
from pathlib import Path

# Heavy imports wait inside the functions: the options are wanted for every --help.

SCALES = ("smoke", "reduced", "full")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax reproduce``."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="table-4.1 … table-6, figure-4.1 … figure-5.15; 'all' of them; or 'list'",
    )
    parser.add_argument(
        "fields",
        nargs="*",
        metavar="FIELD=VALUE",
        help="of all runs, such as data.dataset=folder data.root=DIR train.seeds=3",
    )
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="smoke",
        help="smoke: does it run? minutes on the demo music; reduced: small models, "
        "three seeds, hours; full: as the thesis, for a cluster (%(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("reproductions"),
        help="results go to OUTPUT/SCALE, the runs to its folder runs (%(default)s)",
    )


def reproduce(arguments: argparse.Namespace) -> int:
    """Make one target or all, one after the other; return 1 if one of them failed."""
    from data_pipelines.workers import EXPECTED
    from sepjax.experiment.reproduce import describe_targets, find_targets, reproduce

    if arguments.target == "list":
        print(describe_targets())
        return 0
    for field in arguments.fields:
        if "=" not in field:
            raise ValueError(f"{field!r}: a field is FIELD=VALUE, as train.seeds=3")
    targets = find_targets(arguments.target)
    output = arguments.output / arguments.scale
    failed = []
    for place, name in enumerate(targets, 1):
        print(f"\n{name} ({place} of {len(targets)})", flush=True)
        try:
            good = reproduce(name, arguments.scale, output, arguments.fields)
        except EXPECTED as error:
            if len(targets) == 1:
                raise
            print(f"sepjax: error: {name}: {error}", file=sys.stderr)
            good = False
        failed += [] if good else [name]
    if failed:
        print(f"not whole: {', '.join(failed)}")
    return 1 if failed else 0
