"""``sepjax reproduce``: a table or figure of the thesis, with all that it needs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.collections.file import write_collection
from data_pipelines.pipeline import open_data
from data_pipelines.readers import read_dataset
from data_pipelines.readers.demo_takes import write_karaoke
from sepjax.commands.train import COMMAND
from sepjax.config import from_dict
from sepjax.configs.thesis import SCALES, TARGETS, Oracle, Table, Target
from sepjax.evaluation.feasibility.measure import Settings
from sepjax.evaluation.run import run_protocol
from sepjax.experiment.devices import find_devices
from sepjax.experiment.figures import TAGS, draw
from sepjax.experiment.members import Member, configuration
from sepjax.experiment.oracle import measure_oracle
from sepjax.experiment.score import score
from sepjax.experiment.sweep import Sweep, summary
from sepjax.registry import aligned, nearest
from sepjax.report.pages.feasibility_table import (
    format_report,
    table_4_1,
    table_4_2,
    table_4_3,
)
from sepjax.report.thesis_table import row_name, write_thesis_table
from sepjax.storage import read_json, write_atomically
from sepjax.train.checkpoint import describe

PRESET = "thesis"
DATA = ("data.root=", "data.dataset=")
ORACLE_TABLES = {
    "table-4.1": table_4_1,
    "table-4.2": table_4_2,
    "table-4.3": table_4_3,
}


class Scaled(NamedTuple):
    """A member of a sweep with the fields of a scale."""

    config: str
    overrides: Mapping[str, Any]


def find_targets(name: str) -> dict[str, Target]:
    """Find a table or figure by its name, as ``table-4.4``; ``all`` finds all.

    Raises:
        ValueError: there is none; the nearest are suggested.
    """
    if name not in TARGETS and name != "all":
        raise ValueError(f"unknown target {name!r}: {nearest(name, [*TARGETS, 'all'])}")
    return TARGETS if name == "all" else {name: TARGETS[name]}


def describe_targets() -> str:
    """Return a line for each target: name, number of runs, title."""
    rows = []
    for name, (members, what, _) in TARGETS.items():
        title = what if isinstance(what, str) else what.title
        rows.append((name, len(members) or "-", title))
    return aligned([("target", "runs", "what it shows"), *rows], left=(0, 2))


def scaled(
    members: Mapping[str, Member], scale: str, fields: Sequence[str] = ()
) -> dict[str, Scaled]:
    """Return the members of a sweep at a scale, whose fields lose to ``fields``.

    A scale has fields for all models, and some for each family of them. A model that
    is applied as it is stays untrained, and one of a demonstration has its own size
    unless the scale is ``smoke``.
    """
    small = {}
    for name, given in members.items():
        config = configuration(given, fields)
        own = name.startswith("demo_") and scale != "smoke"
        common = SCALES[scale].get("", {})
        size = SCALES[scale].get(config.model.name, {})
        more = {f"model.{key}": value for key, value in size.items()}
        more = {"train.seeds": common["train.seeds"]} if own else {**common, **more}
        if not config.train.steps:
            more.pop("train.steps", None)
        small[name] = Scaled(given.config, {**given.overrides, **more})
    return small


def reproduce(name: str, scale: str, output: Path, fields: Sequence[str] = ()) -> bool:
    """Run what a table or figure needs and is not there yet; then draw it.

    Args:
        name: of the target.
        scale: "smoke" (does it run? minutes on the demo music), "reduced" (small
            models, three seeds) or "full" (as the thesis; set ``data.root``).
        output: folder of the results; the runs are in its ``runs``.
        fields: "section.field=value", for all runs.

    Returns:
        Whether all of it succeeded.

    Raises:
        ValueError: there is no such target, or a full one has no data.
        KeyboardInterrupt: a signal has stopped its runs.
    """
    target = find_targets(name)[name]
    if scale == "full":
        _require_data(name, target, fields)
    flags = [f"--config.{field}" for field in fields]
    folder = output / name.replace(".", "_")
    command = " ".join(["sepjax reproduce", name, "--scale", scale, *fields])
    output.mkdir(parents=True, exist_ok=True)
    if isinstance(target.what, Oracle):
        table = ORACLE_TABLES[name]
        return _oracle(target.what, scale, folder, _songs(output, fields), table)
    members = target.members if scale == "full" else target.small or target.members
    if members:
        members = scaled(members, scale, flags)
        if not _train(members, output / "runs", flags):
            return False
    runs = [output / "runs" / member for member in members]
    good = True
    if name.removeprefix("figure-") in TAGS:
        runs = [Path(_songs(output, fields))]
    if not isinstance(target.what, Table):
        files, text = draw(name.removeprefix("figure-"), runs, folder)
    else:
        # Others train what the rows start from.
        runs = [run for run in runs if row_name(run.name, target.what)]
        good = all([_score(run) for run in runs])
        files, text = write_thesis_table(target.what, runs, folder, command)
    print(text, *files, sep="\n")
    return good


def _require_data(name: str, target: Target, fields: Sequence[str]) -> None:
    """Refuse large models of the demo music, unless it is asked for by name."""
    needs = target.members or isinstance(target.what, Oracle)
    needs = needs or name.removeprefix("figure-") in TAGS
    if needs and not any(field.startswith(DATA) for field in fields):
        raise ValueError(
            f"{name} --scale full is without data: add data.dataset=folder "
            "data.root=DIR; or data.dataset=demo for the demo music"
        )


def write_table(
    number: str, runs: Sequence[Path], output: Path | None
) -> tuple[list[Path], str]:
    """Write a table of the thesis from runs that are there (``sepjax report --table``).

    Arguments, result and errors are those of
    :func:`sepjax.report.thesis_table.write_thesis_table`; a ValueError also where there
    is no such table.
    """
    tables = {n.removeprefix("table-"): t.what for n, t in TARGETS.items()}
    tables = {n: what for n, what in tables.items() if isinstance(what, Table)}
    if number not in tables:
        raise ValueError(
            f"--table {number}: {nearest(number, tables)}; or a run folder"
        )
    output = output or Path(f"table_{number}".replace(".", "_"))
    return write_thesis_table(tables[number], runs, output)


def _train(members: Mapping[str, Scaled], workdir: Path, flags: Sequence[str]) -> bool:
    """Train the members that are not trained yet, side by side.

    Raises:
        KeyboardInterrupt: a signal has stopped them.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    place = dict(program=COMMAND, devices=find_devices())
    sweep = Sweep(members, workdir, "train", flags, **place)
    outcomes = sweep.run()
    print(summary(outcomes, len(members)))
    if {"stopped"} & {one.status for one in outcomes} or len(outcomes) < len(members):
        raise KeyboardInterrupt  # no other target is wanted now
    return all(one.good for one in outcomes)


def _score(run: Path) -> bool:
    """Score a run, or each of its seeds, by the thesis' definitions, once."""
    good = True
    for folder in sorted(run.glob("seed_*")) or [run]:
        results = folder / "results.json"
        stored = read_json(results, dict) if results.exists() else {}
        if stored.get("definition", {}).get("preset") == PRESET:
            continue
        config = from_dict(describe(folder)["config"])
        good &= score(folder, config, open_data(config), run_protocol(config, PRESET))
    return good


def _oracle(
    oracle: Oracle,
    scale: str,
    folder: Path,
    data: str,
    table: Callable[[Any], str],
) -> bool:
    """Measure ideal masks on songs and write them in the layout of a table."""
    options = oracle.options.get("", {}) | oracle.options.get(scale, {})
    sources = options.pop("sources", ())
    files = (
        folder.with_name(f"{folder.name}.json"),
        folder.with_name(f"{folder.name}.html"),
    )
    results = measure_oracle(Settings(data, **options), sources, files)
    text = table(results)
    write_atomically(folder.with_name(f"{folder.name}.md"), f"{text}\n".encode())
    print(format_report(results), text, *files, sep="\n\n")
    return not results["failed"]


def _songs(output: Path, fields: Sequence[str]) -> str:
    """The songs of ``data.root``, or the demo takes as a collection of recordings.

    These have genres and years; in every fifth song an instrument is missing.
    """
    given = dict(field.partition("=")[::2] for field in fields)
    if root := given.get("data.root"):
        return root
    takes, file = output / "takes", output / "takes.yaml"
    if not file.exists():
        write_karaoke(takes)
        write_collection(read_dataset("karaoke", str(takes), train=12, valid=4), file)
    return str(file)
