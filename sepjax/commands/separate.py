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
from sepjax.commands.estimates import add_estimate_options, estimate_options
from sepjax.commands.files import add_file_options, output_of, recordings
from sepjax.commands.models import ListModels

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax separate``."""
    add = parser.add_argument
    text = "folder of a run or of imported weights, or a name of `sepjax models`, "
    text += "which also says what goes without; a released model is fetched at its "
    text += "first use. May come again: stems are the mean of all, as of a run's seeds"
    add("-n", "--name", "--run", dest="run", action="append", default=[], help=text)
    text = "print what `sepjax models` prints, and end"
    add("--list-models", action=ListModels, nargs=0, help=text)
    text = "a field of a system that learns nothing, say model.window=0.1, or of "
    text += "imported weights, say eval.overlap=0.5; may come again"
    add("--set", action="append", default=[], metavar="FIELD=VALUE", help=text)
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

    how = dict(changes=arguments.set, say=say) | estimate_options(arguments)
    ensemble = load_ensemble(arguments.run, **how)
    check_sums(ensemble, output)
    failed = _separate_all(files, ensemble, arguments, output)
    if failed:
        print(f"sepjax: {failed} of {len(files)} files failed", file=sys.stderr)
    return 1 if failed else 0


def _prepare_process(device: str | None) -> None:
    from sepjax.download import cache_folder
    from sepjax.inference.process import give_memory_back, keep_programs

    if device:
        import jax

        from sepjax.inference.separator import find_device

        if device.startswith("cpu"):  # nothing is reserved elsewhere then
            jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_default_device", find_device(device))
    keep_programs(cache_folder("programs"))
    give_memory_back()


def _separate_all(
    files: list[Path], ensemble: Any, arguments: argparse.Namespace, output: Any
) -> int:
    """Separate some files at a time; return how many failed."""
    from data_pipelines.audio.decode import open_part
    from data_pipelines.audio.files import spooled
    from sepjax.inference.files import separate_file
    from sepjax.inference.places import free_places

    failed, interrupted, one = 0, threading.Event(), arguments.jobs == 1
    sources: dict[Path, str] = {}  # copies of what comes from pipes

    def tell(path: Path, error: BaseException) -> None:
        nonlocal failed
        failed += 1
        text = reason(error).replace(sources.get(path, str(path)), str(path))
        text = text if f"{path}:" in text else f"{path}: {text}"
        say(f"error: {text}")

    def go_on(share: float) -> None:
        if interrupted.is_set():
            raise InterruptedError("interrupted")

    with contextlib.ExitStack() as stack:
        audio = {}
        for path in files:
            try:
                sources[path] = str(stack.enter_context(spooled(path)))
                audio[path] = open_part(sources[path])
            except EXPECTED as error:
                tell(path, error)
        names = arguments.output, [*audio], ensemble.names, arguments.filename
        places = free_places(*names)
        jobs = [(ensemble, audio[path], place, path) for path, place in places]
        how = dict(output=output, overwrite=arguments.overwrite, say=say)
        function = functools.partial(separate_file, **how, progress=one or go_on)
        at_once: dict[str, Any] = dict(workers=arguments.jobs, stop=interrupted.set)
        at_once |= {"unit": "file", "progress": False if one else None}
        for outcome in run_jobs(function, jobs, "separating", **at_once):
            *_, place, path = jobs[outcome.index]
            if outcome.error:
                tell(path, outcome.error)
            else:
                line = f"{path} -> {place} ({outcome.result})"
                print(_one_line(line), flush=True)
    return failed


def say(text: str) -> None:
    """Tell on stderr what is being done: compiling and long files take their time."""
    print(f"sepjax: {_one_line(text)}", file=sys.stderr, flush=True)


def _one_line(text: str) -> str:
    """A text in which the ends of lines, as in names of files, are escaped."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"cannot write to {folder} ({error.strerror}): give another folder with -o"
        ) from error
