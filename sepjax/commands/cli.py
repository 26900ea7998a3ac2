"""The ``sepjax`` command: separate recordings, re-score, inspect and report runs.

Exit status: 0 when all went well, 1 when something failed (a message on stderr says
what, where and what to do), 2 for a wrong command line, 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_pipelines.workers import EXPECTED, reason
from sepjax.commands import evaluate as evaluate_command
from sepjax.commands import import_weights, inspect, oracle, prepare, report, separate

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
    """All subcommands and their options."""
    parser = argparse.ArgumentParser(
        prog="sepjax", description="A JAX laboratory for music source separation."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, run, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=run)
        module.add_options(sub)
    return parser


def evaluate(arguments: argparse.Namespace) -> int:
    """``sepjax evaluate RUN`` or ``sepjax evaluate --references A --estimates B``."""
    if arguments.references or arguments.estimates:
        return evaluate_command.evaluate(arguments)
    if arguments.run is None:
        raise ValueError(
            "name a run folder, `sepjax evaluate RUN`, or two folders of stems, "
            "`sepjax evaluate --references DIR --estimates DIR`"
        )
    from data_pipelines.pipeline import open_data
    from sepjax.config import from_dict
    from sepjax.train.checkpoint import describe

    config = from_dict(describe(arguments.run)["config"])
    config.eval.split = arguments.split or config.eval.split
    config.data.root = arguments.root or config.data.root
    return 0 if score(Path(arguments.run), config, open_data(config)) else 1


def score(folder: Path, config: Any, data: Any) -> bool:
    """Score a run's best checkpoint on ``config.eval.split``; print, write, report.

    Args:
        folder: the run.
        config: its configuration, whose ``eval`` section may be another.
        data: where the tracks come from, as ``data_pipelines.pipeline.open_data``.

    Returns:
        Whether every track could be scored. In a distributed run all processes call
        this and score their part; the first one prints, writes and knows of failures.
    """
    import jax

    from sepjax.evaluation import run
    from sepjax.report import write_report
    from sepjax.train.checkpoint import describe, load

    model, variables, _ = load(folder)
    stored = describe(folder)
    split = config.eval.split
    part = slice(jax.process_index(), None, jax.process_count())
    seen, unknown = heard(stored["provenance"], data)
    results = run.evaluate(
        model,
        variables,
        config,
        data.tracks(split, part),
        workdir=folder,
        seen=seen,
        seen_unknown=unknown,
        provenance=stored["provenance"]
        | {"data_sha256": data.digest, "checkpoint": stored["best"]},
        total=len(data.manifest.split(split)[part]),
        part=part,
    )
    if results is None:
        return True
    print(run.summary(results))
    print(f"report: {write_report(folder)}")
    return not results["failed"]


def heard(provenance: Mapping[str, Any], data: Any) -> tuple[Mapping[str, str], str]:
    """The tracks that a model was trained on, and why there may be others.

    Args:
        provenance: of the run, as it was written when it was trained.
        data: what it is scored on.
    """
    if provenance.get("data_sha256", data.digest) != data.digest:
        # Names and splits of this set say nothing about what the model has heard.
        return {}, "the model was trained on other data than it is scored on"
    start = provenance.get("pretrained")
    if start and start.get("data_sha256") != data.digest:
        return data.seen, f"it starts from {start['run']}, trained on other data"
    return data.seen, ""


COMMANDS = {
    "separate": (separate, separate.separate, "write the stems of recordings"),
    "evaluate": (
        evaluate_command,
        evaluate,
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
