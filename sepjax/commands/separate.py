"""``sepjax separate FILE... -n RUN -o DIR``: the stems of recordings."""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_pipelines.workers import EXPECTED, reason
from sepjax.commands.models import ListModels

DEPTHS = {"auto": 0, "16": 16, "24": 24, "float": 32}

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax separate``."""
    text = "WAV, FLAC, OGG or MP3; - for standard input"
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=text)
    parser.add_argument(
        "-n",
        "--run",
        type=Path,
        help="folder with the model, of a run or of imported weights; or a name of "
        "`sepjax models`: umxhq, hpss, repet, ... (a released model, which is fetched "
        "when it is used first)",
    )
    parser.add_argument("--list-models", action=ListModels, help="as `sepjax models`")
    text = "a field of such a system, say model.window=0.1; may come again"
    parser.add_argument("--set", action="append", default=[], help=text)
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
        "--depth",
        choices=DEPTHS,
        default="auto",
        help="bits of a sample; auto: as the file. Stems beyond full scale become "
        "float WAV, or are turned down together in FLAC (%(default)s)",
    )
    parser.add_argument(
        "--float32",
        action="store_const",
        dest="depth",
        const="float",
        help="the same as --depth float",
    )


def separate(arguments: argparse.Namespace) -> int:
    """Separate every file; return 1 if a file failed."""
    if arguments.depth == "float" and arguments.format == "flac":
        raise ValueError("--depth float needs --format wav: FLAC stores integers only")
    _check_writable(arguments.output)
    from data_pipelines.audio.files import probe, spooled
    from sepjax.inference.chunks import DEFAULT, check_chunking
    from sepjax.inference.files import free_folders, separate_file
    from sepjax.models.releases import default_separator

    asked = {"chunk": arguments.chunk, "overlap": arguments.overlap}
    asked = {name: value for name, value in asked.items() if value is not None}
    check_chunking(*DEFAULT._replace(**asked)[:2])
    run = arguments.run or Path(default_separator())
    say(f"loading {run}")
    options = dict(kind=arguments.format, depth=DEPTHS[arguments.depth], say=say)
    *model, options["chunking"] = _load(run, asked, arguments.set)
    failed = 0

    def attempt(path: Path, function: Callable[..., Any], *args: Any, **more: Any):
        nonlocal failed
        try:
            return function(*args, **more)
        except EXPECTED as error:
            failed += 1
            text = reason(error)
            text = text if f"{path}:" in text else f"{path}: {text}"
            print(f"sepjax: error: {_one_line(text, path)}", file=sys.stderr)

    files = list({os.path.abspath(path): path for path in arguments.files}.values())
    with contextlib.ExitStack() as stack:

        def opened(path: Path) -> Any:
            return probe(str(stack.enter_context(spooled(path))))

        good = {path: attempt(path, opened, path) for path in files}
        good = {path: file for path, file in good.items() if file}
        for path, folder in free_folders(arguments.output, [*good], model[0].sources):
            place = good[path], folder
            if note := attempt(path, separate_file, *model, *place, path, **options):
                line = f"{path} -> {folder} ({note})"
                print(_one_line(line, path, folder), flush=True)
    if failed:
        print(f"sepjax: {failed} of {len(files)} files failed", file=sys.stderr)
    return 1 if failed else 0


def _load(
    run: Path, asked: dict[str, float], changes: list[str]
) -> tuple[Any, Any, Any]:
    """The model, its variables, and how it separates."""
    from sepjax.inference.chunks import Chunking
    from sepjax.train.load import load, weight_facts

    model, variables, config = load(run, changes=changes)
    facts = weight_facts(run)
    if facts.get("licence_notice"):
        say(facts["licence_notice"])
    chunking = Chunking(
        config.eval.chunk_seconds,
        config.eval.overlap,
        config.data.normalize,
        config.eval.rescale,
    )
    return model, variables, chunking._replace(**facts.get("separate", {}) | asked)


def _one_line(text: str, *paths: Path) -> str:
    """A text in which ends of lines within names are escaped."""
    for name in map(str, paths):
        shown = name.replace("\r", "\\r").replace("\n", "\\n")
        text = text.replace(name, shown)
    return text


def say(text: str) -> None:
    """Tell on stderr what is being done: compiling and long files take their time."""
    line = text.replace("\r", "\\r").replace("\n", "\\n")
    print(f"sepjax: {line}", file=sys.stderr, flush=True)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"cannot write to {folder} ({error.strerror}): give another folder with -o"
        ) from error
