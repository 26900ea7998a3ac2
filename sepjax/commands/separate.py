"""``sepjax separate FILE... -n RUN -o DIR``: the stems of recordings."""

import argparse
import contextlib
import functools
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from data_pipelines.workers import EXPECTED, reason, run_jobs
from sepjax.commands.estimates import (
    add_estimate_options,
    estimate_options,
    hearing_options,
)
from sepjax.commands.files import add_file_options, output_of, recordings
from sepjax.commands.models import ListModels

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax separate``."""
    parser.add_argument(
        "-n",
        "--name",
        "--run",
        dest="run",
        action="append",
        default=[],
        help="folder with the model, of a run or of imported weights; or a name of "
        "`sepjax models`: umxhq, hpss, repet, ... (a released model, which is fetched "
        "when it is used first); may come again: stems are the mean then, as they are "
        "of a run's seeds",
    )
    parser.add_argument("--list-models", action=ListModels, help="as `sepjax models`")
    text = "a field of such a system, say model.window=0.1; may come again"
    parser.add_argument("--set", action="append", default=[], help=text)
    parser.add_argument(
        "--chunk",
        "--segment",
        type=float,
        help="seconds separated at once (as the run)",
    )
    parser.add_argument(
        "--overlap", type=float, help="share of a chunk that is cross-faded"
    )
    add_file_options(parser)
    add_estimate_options(parser)


def separate(arguments: argparse.Namespace) -> int:
    """Separate every file; return 1 if a file failed."""
    output = output_of(arguments)
    _check_writable(arguments.output)
    _prepare_process(arguments.device)
    files = recordings(arguments.files, say)
    if len(files) > 1 and "{track}" not in arguments.filename:
        raise ValueError(
            f"--filename {arguments.filename}: the stems of {len(files)} recordings "
            "would have the same names: add {track}"
        )
    from sepjax.inference.files import check_sums
    from sepjax.inference.separator import load_ensemble

    more = dict(changes=arguments.set, say=say) | estimate_options(arguments)
    ensemble = load_ensemble(arguments.run, hearing_options(arguments), **more)
    check_sums(ensemble, output)
    options = dict(recipe=ensemble.digest, output=output, say=say)
    options["overwrite"] = arguments.overwrite
    failed = _separate_all(files, ensemble, arguments, options)
    if failed:
        print(f"sepjax: {failed} of {len(files)} files failed", file=sys.stderr)
    return 1 if failed else 0


def _prepare_process(device: str | None) -> None:
    from sepjax.download import cache_folder
    from sepjax.inference.process import keep_memory, keep_programs

    keep_memory()
    if device:
        from sepjax.commands.device import choose_device

        choose_device(device)
    keep_programs(cache_folder("programs"))


def _separate_all(
    files: list[Path],
    ensemble: Any,
    arguments: argparse.Namespace,
    options: dict[str, Any],
) -> int:
    """Separate some files at a time; return how many failed."""
    from data_pipelines.audio.decode import open_part
    from data_pipelines.audio.files import spooled
    from sepjax.inference.files import separate_file
    from sepjax.inference.places import free_places

    failed, interrupted = 0, threading.Event()

    def tell(path: Path, error: BaseException) -> None:
        nonlocal failed
        failed += 1
        text = reason(error)
        text = text if f"{path}:" in text else f"{path}: {text}"
        print(f"sepjax: error: {_one_line(text, path)}", file=sys.stderr)

    with contextlib.ExitStack() as stack:
        audio = {}
        for path in files:
            try:
                audio[path] = open_part(stack.enter_context(spooled(path)))
            except EXPECTED as error:
                tell(path, error)
        names = arguments.output, [*audio], ensemble.names, arguments.filename
        places = free_places(*names)
        jobs = [(ensemble, audio[path], place, path) for path, place in places]
        one = arguments.jobs == 1
        more = {"progress": one, "stopped": interrupted.is_set}
        function = functools.partial(separate_file, **options, **more)
        how: dict[str, Any] = dict(workers=arguments.jobs, unit="file")
        how |= {"progress": False if one else None, "stop": interrupted.set}
        for outcome in run_jobs(function, jobs, "separating", **how):
            *_, place, path = jobs[outcome.index]
            if outcome.error:
                tell(path, outcome.error)
            else:
                line = f"{path} -> {place} ({outcome.result})"
                print(_one_line(line, path, place), flush=True)
    return failed


def _one_line(text: str, *paths: Any) -> str:
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
