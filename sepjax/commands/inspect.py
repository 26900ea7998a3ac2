"""``sepjax inspect RUN``: what a run folder or imported weights hold."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax inspect``."""
    parser.add_argument("run", type=Path, help="run folder, or imported weights")
    parser.add_argument(
        "--json", action="store_true", help="every fact, for other programs"
    )
    parser.add_argument(
        "--branches", action="store_true", help="compare the branches of an encoder"
    )


def inspect(arguments: argparse.Namespace) -> int:
    """Print what can be known without data: a summary, or all of it as JSON."""
    from sepjax.train.load import describe

    facts = describe(arguments.run)
    if arguments.branches:
        facts["branches"] = branches(arguments.run)
    if arguments.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return 0
    from sepjax.registry import aligned

    print(arguments.run, aligned(summary(facts), left=(0, 1)), sep="\n")
    scores = arguments.run / "results.json"
    if scores.exists():
        from sepjax.evaluation.tables import comparison
        from sepjax.report.run_folder import read_run

        results = read_run(arguments.run).results
        print(f"\nSI-SDR in dB\n{comparison(results, 'si_sdr')}")
    if arguments.branches:
        from sepjax.report.pages.filters import branch_cells

        print("\n" + aligned(branch_cells(facts["branches"])))
    return 0


def branches(run: Path) -> list[dict[str, Any]]:
    """Compare the branches, on excerpts of the training data where it can be opened.

    Raises:
        ValueError: the model has no encoder of several branches.
    """
    from data_pipelines.pipeline import open_data
    from sepjax.train.filters import branch_facts
    from sepjax.train.load import load

    best = load(run)
    if not (facts := branch_facts(*best)):
        raise ValueError(f"{run}: its model has no encoder that joins branches")
    try:
        return branch_facts(*best, open_data(best[-1]).first_batch())
    except (OSError, ValueError) as error:
        print(f"note: weights alone, without data: {error}", file=sys.stderr)
        return facts


def summary(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know first, as pairs of a word and a text."""
    from sepjax.config.tree import upgrade

    tree = upgrade(facts.get("config") or {"model": facts["model"]})
    data = tree.get("data", {}) | {k: facts[k] for k in FACTS if k in facts}
    name, sources = tree["model"]["name"], ", ".join(data["sources"])
    yield "model", f"{name}, {data['sample_rate']} Hz: {sources}"
    if weights := facts.get("weights"):
        yield "parameters", f"{facts['parameters']:,}"
        yield "from", f"{weights['family']}, {weights.get('source', 'unknown')}"
        yield "licence", str(weights.get("licence", "unknown"))
    else:
        best, origin = facts["best"], facts["provenance"]
        yield "trained", f"{facts['step']} of {tree['train']['steps']} steps"
        yield "best", f"step {best['step']}, loss {float(best['loss']):.4g}"
        yield "data", f"{data['dataset']} {origin.get('data_sha256', '')[:12]}"
        yield "parameters", f"SHA-256 {facts['params_sha256'][:12]}"
        yield "from", ", ".join(f"{k} {origin[k]}" for k in ORIGIN if k in origin)
    yield from _streams(tree | {"data": data})
    yield from _changed(tree)


def _streams(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Latency, state and speed of a model that separates streams."""
    from sepjax.config import from_dict
    from sepjax.experiment.pace import stream_lines

    with contextlib.suppress(ValueError):  # what is wrong has been told
        yield from stream_lines(from_dict(tree))


def _changed(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings that are not the family's own, with their values."""
    from sepjax.config import Config, differences, from_dict

    try:
        config = from_dict(tree)
    except ValueError as error:  # modules of one's own are not there
        yield "note", str(error)
        return
    for line in differences(Config(model=type(config.model)()), config):
        # Classes and rate stand above.
        if not line.startswith(("data.sources:", "data.sample_rate:", "model.name:")):
            name, _, change = line.partition(": ")
            yield name, change.partition(" -> ")[2]


FACTS = ("sources", "sample_rate")
ORIGIN = ("seed", "commit", "device")
