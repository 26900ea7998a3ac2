"""``sepjax prepare``: songs with stems from recordings, and a look at them."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

# Heavy imports wait inside the functions: the options are wanted for every --help.

FORMATS = ("array_record", "tfrecord")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax prepare``."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a collection (.yaml, .jsonl); or the name of a reader, with --root; or a "
        "prepared folder with --survey, --tfds or --check (any songs, and 'demo')",
    )
    parser.add_argument("--root", type=Path, help="the folder that a reader reads")
    parser.add_argument(
        "-s",
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the reader, its value as in YAML; may be repeated",
    )
    parser.add_argument("-o", "--output", type=Path, help="folder of the songs")
    parser.add_argument(
        "-j", "--jobs", type=int, default=1, help="processes (%(default)s)"
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="write what a reader found as a collection, to be looked at and edited",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch the data set into --root first, where it is published",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="the stem doctor: clipping, offset, silence, sums, loudness, doubles",
    )
    parser.add_argument(
        "--sources", default="", metavar="A,B", help="classes to check (all)"
    )
    _choice_and_export(parser)


def _choice_and_export(parser: argparse.ArgumentParser) -> None:
    text = "count songs by tag and class, before and after the choice: survey.html"
    parser.add_argument("--survey", action="store_true", help=text)
    form: dict[str, Any] = {"metavar": "TAG=A,B", "action": "append", "default": []}
    text = "only recordings with one of these values of a tag; may be repeated"
    parser.add_argument("--where", help=text, **form)
    parser.add_argument("--songs", type=int, metavar="N", help="draw so many of them")
    text = "draw them evenly over the combinations of these tags"
    parser.add_argument("--balance", default="", metavar="TAG,TAG", help=text)
    parser.add_argument(
        "--tfds", type=Path, metavar="DIR", help="write a TensorFlow dataset as well"
    )
    parser.add_argument("--tfds-format", choices=FORMATS, default=FORMATS[0])
    parser.add_argument(
        "--clip", type=float, default=10.0, help="seconds of its clips (%(default)g)"
    )


def prepare(arguments: argparse.Namespace) -> int:
    """Prepare, check or export; return 1 if a song failed or the doctor objects."""
    if arguments.jobs < 1:
        raise ValueError("--jobs must be one or more")
    folder, status = _folder(arguments), 0
    if folder is None:
        collection = _choose(_collection(arguments), arguments)
        if arguments.write is not None:
            _write(collection, arguments.write)
        if arguments.survey:
            _survey(collection, arguments.output or Path())
        if arguments.output is None:
            return 0
        status, folder = _prepare(collection, arguments), arguments.output
    elif arguments.survey:
        _survey(folder, folder)
    if arguments.check:
        status |= _check(arguments, folder)
    if arguments.tfds is not None:
        from data_pipelines import tfds_stems

        path = tfds_stems.build(
            folder,
            arguments.tfds,
            file_format=arguments.tfds_format,
            clip_seconds=arguments.clip,
        )
        print(f"TensorFlow dataset: {path}")
    return status


def _folder(arguments: argparse.Namespace) -> Path | None:
    """The folder of songs, if that is what the source is."""
    source = Path(arguments.source)
    has_purpose = arguments.check or arguments.survey or arguments.tfds is not None
    if arguments.root is not None or not (
        source.is_dir() or arguments.source == "demo"
    ):
        return None
    if not has_purpose:
        raise ValueError(
            f"{source} is a folder: name a collection (.yaml, .jsonl), a reader with "
            f"`--root {source}`, or say what to do: --check, --survey, --tfds DIR"
        )
    if arguments.where or arguments.balance or arguments.songs is not None:
        raise ValueError(f"{source} is made: choose (--where) from its collection")
    return source


def _collection(arguments: argparse.Namespace) -> Any:
    """Read the collection, or let a reader make one."""
    from data_pipelines.collections.file import read_collection
    from data_pipelines.readers import READERS, read_dataset
    from sepjax.registry import nearest

    if not (arguments.output or arguments.write or arguments.survey):
        raise ValueError("say where the songs go (-o DIR), or --write FILE, --survey")
    source = Path(arguments.source)
    if source.suffix in (".yaml", ".yml", ".json", ".jsonl", ".ndjson"):
        if arguments.option or arguments.root is not None or arguments.download:
            raise ValueError(
                f"{source} says all that is to be done: --root, --option and "
                "--download are for readers"
            )
        return read_collection(source)
    if arguments.source not in READERS:
        raise ValueError(
            f"{arguments.source}: no such file, and no reader of this name: "
            f"{nearest(arguments.source, READERS)}"
        )
    if arguments.root is None:
        raise ValueError(f"reader {arguments.source} needs its folder: --root DIR")
    options = dict(_option(text) for text in arguments.option)
    if arguments.download:
        from data_pipelines.fetch.musdb import download

        agreed = bool(options.pop("unverified", False))
        download(arguments.source, arguments.root, unverified=agreed, progress=True)
    return read_dataset(arguments.source, str(arguments.root), **options)


def _choose(collection: Any, arguments: argparse.Namespace) -> Any:
    """Put what the options ask for in the place of the collection's own choice."""
    from data_pipelines.prepare.choice import chosen

    where: dict[str, tuple[str, ...]] = {}
    for text in arguments.where:
        tag, equals, values = text.partition("=")
        if not equals:
            raise ValueError(f"--where {text}: write it as TAG=VALUE,VALUE")
        where[tag] = (*where.get(tag, ()), *values.split(","))
    balance = tuple(filter(None, arguments.balance.split(",")))
    asked = {"where": where, "balance": balance, "songs": arguments.songs}
    given = {name: value for name, value in asked.items() if value or value == 0}
    filters = dataclasses.replace(collection.filters, **given)
    collection = dataclasses.replace(collection, filters=filters)
    chosen(collection)  # what cannot be chosen is told before anything is written
    return collection


def _option(text: str) -> tuple[str, Any]:
    from sepjax.foreign.yaml_text import parse_yaml

    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--option {text}: write it as NAME=VALUE")
    return name, parse_yaml(value, f"--option {text}")


def _write(collection: Any, file: Path) -> None:
    from data_pipelines.collections.file import write_collection

    path = write_collection(collection, file)
    print(f"{len(collection.recordings)} recordings: {path}")


def _survey(source: Any, folder: Path) -> None:
    from data_pipelines.prepare.choice import survey
    from sepjax.registry import aligned
    from sepjax.report.figures.survey import write_survey

    counts = survey(source)
    for name, rows in counts.items():
        print(aligned([(name, "songs", "chosen"), *rows]), end="\n\n")
    files, _ = write_survey(counts, folder / "survey.html", "Choice of songs")
    print("survey:", files[0])


def _prepare(collection: Any, arguments: argparse.Namespace) -> int:
    from data_pipelines.prepare import prepare as make
    from sepjax.report.pages.prepared import format_prepared, write_page

    result = make(
        collection,
        arguments.output,
        jobs=arguments.jobs,
        progress=True,
    )
    print(format_prepared(result.header, result.songs))
    page = write_page(result.header, result.songs, arguments.output / "prepared.html")
    print(
        f"\n{result.done} recordings read now, {result.kept} kept as they were, "
        f"{result.removed} songs removed; summary: {page}"
    )
    return 1 if result.failed else 0


def _check(arguments: argparse.Namespace, folder: Path) -> int:
    from data_pipelines.songs.prepared import PREPARED
    from sepjax.commands import doctor as doctor_command

    dataset = "prepared" if (folder / PREPARED).exists() else "folder"
    if str(folder) == "demo" and not folder.is_dir():
        dataset = "demo"
    sources = [name for name in arguments.sources.split(",") if name]
    output = arguments.output or (None if dataset == "demo" else folder)
    return doctor_command.run(str(folder), dataset, sources, output, arguments.jobs)
