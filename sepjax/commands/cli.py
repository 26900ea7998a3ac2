"""The ``sepjax`` command: separate recordings, re-score, inspect and report runs.

Exit status: 0 when all went well, 1 when something failed (a message on stderr says
what, where and what to do), 2 for a wrong command line, 130 after Ctrl-C.
"""

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Everything heavy is imported inside the subcommands: --help answers at once.

# What bad files, settings, models and machines raise; anything else is a bug of ours
# and deserves its traceback.
EXPECTED = (OSError, ValueError, ArithmeticError, RuntimeError, MemoryError)


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    arguments = build_parser().parse_args(argv)
    try:
        return arguments.command(arguments)
    except KeyboardInterrupt:
        print("sepjax: interrupted", file=sys.stderr)
        return 130
    except EXPECTED as error:
        complain(error)
        return 1


def complain(error: BaseException) -> None:
    """One message on stderr."""
    print(f"sepjax: error: {str(error) or type(error).__name__}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """All subcommands and their options."""
    parser = argparse.ArgumentParser(
        prog="sepjax", description="A JAX laboratory for music source separation."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Any], int], text: str) -> Any:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=run)
        return sub

    _separate_options(command("separate", separate, "write the stems of recordings"))
    from sepjax.commands import evaluate as evaluate_command

    text = "score a run again, or anyone's folder of estimates"
    evaluate_command.add_options(command("evaluate", evaluate_command.evaluate, text))
    text = "print what a run folder or a folder of imported weights holds, as JSON"
    sub = command("inspect", inspect, text)
    sub.add_argument("run", type=Path, help="run folder, or imported weights")
    from sepjax.commands import import_weights as import_command

    text = "make a model of a checkpoint of PyTorch, without PyTorch"
    import_command.add_options(
        command("import-weights", import_command.import_weights, text)
    )
    from sepjax.commands import oracle as feasibility_command

    text = "what a set of songs promises, before anything is trained"
    feasibility_command.add_options(command("oracle", feasibility_command.oracle, text))
    from sepjax.commands import prepare as prepare_command

    text = "make songs with stems of recordings, or of a data set as it is distributed"
    prepare_command.add_options(command("prepare", prepare_command.prepare, text))
    _report_options(command("report", report, "write report.html of a run again"))
    return parser


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="run folder, or one of runs"
    )
    parser.add_argument(
        "--figure",
        metavar="ID",
        help="draw a figure of the thesis' chapter 5 from runs instead: 5.2, 5.6 … "
        "5.15; or 'comparison' of whatever runs are given, 'scores' of their bars, "
        "'surface' of a run with train.vary",
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="print the scores of the runs beside each other, as Markdown",
    )
    parser.add_argument(
        "--metric",
        default="si_sdr",
        help="of --table: sdr, usdr or another that all were scored by (%(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="the figure's file: .html, .png or .svg, all three without a suffix "
        "(figure_ID in this folder)",
    )
    parser.add_argument(
        "--by-data",
        action="store_true",
        help="panels of their own for runs that were validated on other data",
    )


def _separate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="WAV, FLAC, OGG or MP3"
    )
    parser.add_argument(
        *("-n", "--run"),
        type=Path,
        required=True,
        help="folder with the model: of a run, or of imported weights",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("separated"),
        help="stems go to OUTPUT/<name of the file>/<source>.wav (%(default)s)",
    )
    parser.add_argument(
        "--chunk", type=float, help="seconds separated at once (as the run)"
    )
    parser.add_argument(
        "--overlap", type=float, help="share of a chunk that is cross-faded"
    )
    parser.add_argument("--format", choices=("wav", "flac"), default="wav")
    parser.add_argument(
        "--float32",
        action="store_true",
        help="32-bit float WAV. Otherwise 16 bit; the stems of a track in which one "
        "exceeds full scale become float WAV, or are turned down together in FLAC",
    )


def separate(arguments: argparse.Namespace) -> int:
    """``sepjax separate FILE... -n RUN -o DIR``."""
    if arguments.float32 and arguments.format == "flac":
        raise ValueError("--float32 needs --format wav: FLAC stores integers only")
    _check_writable(arguments.output)
    from sepjax.train.load import load, weight_facts

    model, variables, config = load(arguments.run)
    facts = weight_facts(arguments.run)
    if facts.get("licence_notice"):
        print(f"sepjax: {facts['licence_notice']}", file=sys.stderr)
    given = {"chunk": arguments.chunk, "overlap": arguments.overlap}
    options = {"chunk": config.eval.chunk_seconds, "overlap": config.eval.overlap}
    options |= {"normalize": config.data.normalize, "rescale": config.eval.rescale}
    options |= facts.get("separate", {})
    options |= {name: value for name, value in given.items() if value is not None}
    names, taken = track_names(arguments.files), {}
    failed = 0
    for path in arguments.files:
        try:
            name = names[path]
            first = taken.setdefault(name, path)
            if first != path:
                raise ValueError(
                    f"{path}: its stems would replace those of {first}; separate it "
                    "into another folder with -o"
                )
            folder = arguments.output / name
            note = _separate_file(model, variables, path, folder, arguments, options)
        except EXPECTED as error:
            failed += 1
            text = str(error) or type(error).__name__
            complain(ValueError(text if str(path) in text else f"{path}: {text}"))
        else:
            print(f"{path} -> {folder}{note}")
    if failed:
        total = len(arguments.files)
        print(f"sepjax: {failed} of {total} files failed", file=sys.stderr)
    return 1 if failed else 0


def track_names(files: Sequence[Path]) -> dict[Path, str]:
    """A folder name for each file: its own, with its parent's where several share it.

    Example:
        >>> names = track_names([Path("a/mixture.wav"), Path("b/mixture.wav")])
        >>> sorted(names.values())
        ['a - mixture', 'b - mixture']
    """
    shared = Counter(path.stem for path in set(files))
    return {
        path: path.stem
        if shared[path.stem] == 1
        else f"{path.absolute().parent.name} - {path.stem}"
        for path in files
    }


def _separate_file(
    model: Any,
    variables: Any,
    path: Path,
    folder: Path,
    arguments: argparse.Namespace,
    options: Mapping[str, float],
) -> str:
    """Separate one file; returns what to tell about the result."""
    from data_pipelines.audio.files import probe, read_blocks
    from sepjax.inference.stems import StemFiles
    from sepjax.inference.stream import SeparationStream, channels_together

    file = probe(str(path))
    # Until the last block is separated all stems are 32-bit floats; then one file
    # after the other is made of them.
    last = 4 if arguments.float32 else 2
    channels = max(file.channels, channels_together(model))
    size = (4 * len(model.sources) + last) * file.frames * channels
    free = shutil.disk_usage(arguments.output).free
    if size > free:
        raise OSError(
            f"{path}: its stems take {size / 1e6:.1f} MB until they are finished, but "
            f"only {free / 1e6:.1f} MB are free in {arguments.output}"
        )
    stream = SeparationStream(
        model,
        variables,
        lambda: read_blocks(file),
        sample_rate=file.sample_rate,
        progress=sys.stderr.isatty(),
        **options,
    )
    kind = "float32" if arguments.float32 else arguments.format
    with StemFiles(folder, model.sources, file.sample_rate, kind) as files:
        for block in stream:
            for source, estimate in zip(model.sources, block):
                files.append(source, estimate)
        return files.finish(stream.finish)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".sepjax-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"cannot write to {folder} ({error.strerror}): give another folder with -o"
        ) from error


def inspect(arguments: argparse.Namespace) -> int:
    """``sepjax inspect RUN``."""
    from sepjax.train.load import describe

    print(json.dumps(describe(arguments.run), indent=1, ensure_ascii=False))
    return 0


def report(arguments: argparse.Namespace) -> int:
    """``sepjax report RUN...`` or ``sepjax report --figure ID RUN... [-o FILE]``."""
    if arguments.figure:
        from sepjax.experiment.figures import draw

        files, caption = draw(
            arguments.figure, arguments.runs, arguments.output, arguments.by_data
        )
        print(caption, *files, sep="\n")
        return 0
    if not arguments.runs:
        raise ValueError("name a run folder: sepjax report RUN")
    if arguments.table:
        from sepjax.report.score_table import score_table

        print(score_table(arguments.runs, arguments.metric))
        return 0
    from sepjax.report import write_report

    for run in arguments.runs:
        print(write_report(run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
