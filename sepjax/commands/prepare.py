"""``sepjax prepare``: songs with stems from recordings, and a look at them."""

import argparse
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
        "prepared folder with --tfds or --check, which takes any songs and 'demo'",
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
        collection = _collection(arguments)
        if arguments.write is not None:
            _write(collection, arguments.write)
        if arguments.output is None:
            return 0
        status, folder = _prepare(collection, arguments), arguments.output
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
    has_purpose = arguments.check or arguments.tfds is not None
    if arguments.root is not None or not (
        source.is_dir() or arguments.source == "demo"
    ):
        return None
    if not has_purpose:
        raise ValueError(
            f"{source} is a folder: name a collection (.yaml, .jsonl), a reader with "
            f"`--root {source}`, or say what to do with it (--check, --tfds DIR)"
        )
    return source


def _collection(arguments: argparse.Namespace) -> Any:
    """Read the collection, or let a reader make one."""
    from data_pipelines.collections.file import read_collection
    from data_pipelines.readers import READERS, read_dataset
    from sepjax.registry import nearest

    if arguments.output is None and arguments.write is None:
        raise ValueError("say where the songs go (-o DIR), or --write FILE")
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


def _option(text: str) -> tuple[str, Any]:
    from data_pipelines.collections.trees import parse_yaml

    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--option {text}: write it as NAME=VALUE")
    return name, parse_yaml(value, f"--option {text}")


def _write(collection: Any, file: Path) -> None:
    from data_pipelines.collections.file import write_collection

    path = write_collection(collection, file)
    print(f"{len(collection.recordings)} recordings: {path}")


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
