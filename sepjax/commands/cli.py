"""The ``sepjax`` command: separate recordings; train, score, inspect and report runs.

Exit status: 0 when all went well, 1 when something failed (a message on stderr says
what, where and what to do), 2 for a wrong command line, 130 after Ctrl-C, 128 and its
number after another signal.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from data_pipelines.workers import EXPECTED, ending_signals, reason
from sepjax import __version__
from sepjax.commands import (
    evaluate,
    export,
    import_weights,
    inspect,
    listen,
    models,
    oracle,
    prepare,
    report,
    reproduce,
    separate,
    stream,
    train,
)
from sepjax.commands.terminal import escaped_output
from sepjax.registry import nearest

# Everything heavy is imported inside the subcommands: --help answers at once.


LONGEST = 10_000  # letters of a message, which may hold text of a file


class Parser(argparse.ArgumentParser):
    """A parser that suggests what an unknown argument was meant to be."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]
        """Refuse unknown arguments with the usage of the subcommand they came to."""
        self._given = [str(each).partition("=")[0] for each in args or ()]
        namespace, unknown = super().parse_known_args(args, namespace)
        if options := [word for word in unknown if word.startswith("-")]:
            self._refuse(options[0])
        # Of a list that an option interrupts, argparse takes the first part only.
        for action in self._get_positional_actions() if unknown else ():
            if action.nargs in ("*", "+"):
                more = [self._get_value(action, word) for word in unknown]
                setattr(namespace, action.dest, getattr(namespace, action.dest) + more)
                return namespace, []
        if unknown:
            self._refuse(unknown[0])
        return namespace, []

    def error(self, message: str) -> NoReturn:
        """Tell a misspelled option before what is missing for it."""
        options = self._option_string_actions
        for name in self._given:
            if name[:2] == "--" and not any(one.startswith(name) for one in options):
                self._given = []
                self._refuse(name)
        super().error(message)

    def _refuse(self, name: str) -> NoReturn:
        known = self._option_string_actions
        hint = f": {nearest(name, known)}" if name.startswith("-") else ""
        self.error(f"unknown argument {name!r}{hint}")


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    if not argv:
        parser.print_help()
        return 0
    if argv[0] in PROGRAMS:
        PROGRAMS[argv[0]][0](argv[1:])  # which exits
    names = {**COMMANDS, **PROGRAMS}
    if not argv[0].startswith("-") and argv[0] not in names:
        parser.error(f"unknown command {argv[0]!r}: {nearest(argv[0], names)}")
    arguments = parser.parse_args(argv)
    with escaped_output(), ending_signals():
        try:
            return arguments.command(arguments)
        except KeyboardInterrupt:
            print("sepjax: interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:  # no failure: who reads has enough
            raise
        except EXPECTED as error:
            print(f"sepjax: error: {reason(error)[:LONGEST]}", file=sys.stderr)
            return 1


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all subcommands and their options."""
    parser = Parser(
        prog="sepjax", description="A JAX laboratory for music source separation."
    )
    parser.add_argument("--version", action="version", version=f"sepjax {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (_, text) in PROGRAMS.items():
        commands.add_parser(name, help=text)
    for name, (module, run, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=run)
        module.add_options(sub)
    return parser


COMMANDS = {
    "separate": (separate, separate.separate, "write the stems of recordings"),
    "stream": (
        stream,
        stream.stream,
        "separate what comes, while it comes: raw samples, files, a sound card",
    ),
    "export": (
        export,
        export.export,
        "write a model as files for other runtimes, and as a page for browsers",
    ),
    "models": (models, models.list_models, "list all that separates without training"),
    "evaluate": (
        evaluate,
        evaluate.evaluate,
        "score a run again, or anyone's folder of estimates",
    ),
    "listen": (
        listen,
        listen.listen,
        "write a blind listening test of several separators, or merge its ratings",
    ),
    "inspect": (
        inspect,
        inspect.inspect,
        "print what a run folder or a folder of imported weights holds",
    ),
    "import-weights": (
        import_weights,
        import_weights.import_weights,
        "make a model of a checkpoint of PyTorch or TensorFlow, without either",
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
    "reproduce": (
        reproduce,
        reproduce.reproduce,
        "make a table or figure of the thesis, with the runs that it needs",
    ),
}
"""Subcommand -> the module of its options, what it does, and its help."""
PROGRAMS = {
    "demo": (train.demo, "train a small model on music of the package, in minutes"),
    "train": (train.train, "run an experiment by its name, or a sweep of them"),
}
"""Subcommand -> what parses its own flags, those of a run, and exits; its help."""


if __name__ == "__main__":
    sys.exit(main())
