"""The ``sepjax`` command: separate recordings, re-score, inspect and report runs.

Exit status: 0 when all went well, 1 when something failed (a message on stderr says
what, where and what to do), 2 for a wrong command line, 130 after Ctrl-C.
"""

import argparse
import sys

from data_pipelines.workers import EXPECTED, reason
from sepjax.commands import (
    evaluate,
    import_weights,
    inspect,
    oracle,
    prepare,
    report,
    separate,
)

# Everything heavy is imported inside the subcommands: --help answers at once.


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    arguments = build_parser().parse_args(argv)
    try:
        return arguments.command(arguments)
    except KeyboardInterrupt:
        print("sepjax: interrupted", file=sys.stderr)
        return 130
    except EXPECTED as error:
        print(f"sepjax: error: {reason(error)}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all subcommands and their options."""
    parser = argparse.ArgumentParser(
        prog="sepjax", description="A JAX laboratory for music source separation."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, run, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=run)
        module.add_options(sub)
    return parser


COMMANDS = {
    "separate": (separate, separate.separate, "write the stems of recordings"),
    "evaluate": (
        evaluate,
        evaluate.evaluate,
        "score a run again, or anyone's folder of estimates",
    ),
    "inspect": (
        inspect,
        inspect.inspect,
        "print what a run folder or a folder of imported weights holds, as JSON",
    ),
    "import-weights": (
        import_weights,
        import_weights.import_weights,
        "make a model of a checkpoint of PyTorch, without PyTorch",
    ),
    "oracle": (
        oracle,
        oracle.oracle,
        "what a set of songs promises, before anything is trained",
    ),
    "prepare": (
        prepare,
        prepare.prepare,
        "make songs with stems of recordings, or of a data set as it is distributed",
    ),
    "report": (report, report.report, "write report.html of a run again"),
}
"""Subcommand -> the module of its options, what it does, and its help."""


if __name__ == "__main__":
    sys.exit(main())
