"""``sepjax separate FILE... -n RUN -o DIR``: the stems of recordings."""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines.workers import EXPECTED, reason

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax separate``."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="WAV, FLAC, OGG or MP3"
    )
    parser.add_argument(
        "-n",
        "--run",
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
    """Separate every file; return 1 if a file failed."""
    if arguments.float32 and arguments.format == "flac":
        raise ValueError("--float32 needs --format wav: FLAC stores integers only")
    _check_writable(arguments.output)
    from sepjax.inference.chunks import Chunking
    from sepjax.train.load import load, weight_facts

    model, variables, config = load(arguments.run)
    facts = weight_facts(arguments.run)
    if facts.get("licence_notice"):
        print(f"sepjax: {facts['licence_notice']}", file=sys.stderr)
    options = {"chunk": arguments.chunk, "overlap": arguments.overlap}
    known = {name: value for name, value in options.items() if value is not None}
    chunking = Chunking(
        config.eval.chunk_seconds,
        config.eval.overlap,
        config.data.normalize,
        config.eval.rescale,
    )._replace(**facts.get("separate", {}) | known)
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
            note = _separate_file(model, variables, path, folder, arguments, chunking)
        except EXPECTED as error:
            failed += 1
            text = reason(error)
            text = text if str(path) in text else f"{path}: {text}"
            print(f"sepjax: error: {text}", file=sys.stderr)
        else:
            print(f"{path} -> {folder}{note}")
    if failed:
        total = len(arguments.files)
        print(f"sepjax: {failed} of {total} files failed", file=sys.stderr)
    return 1 if failed else 0


def track_names(files: Sequence[Path]) -> dict[Path, str]:
    """Name each file's folder: by the file, and by its parent where files share a name.

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
    chunking: Any,
) -> str:
    """Separate one file; returns what to tell about the result."""
    from data_pipelines.audio.files import probe, read_blocks
    from sepjax.inference.stems import StemFiles
    from sepjax.inference.stream import SeparationStream

    file = probe(str(path))
    # Until the last block is separated all stems are 32-bit floats; then one file
    # after the other is made of them.
    last = 4 if arguments.float32 else 2
    channels = max(file.channels, model.audio_channels)
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
        chunking=chunking,
    )
    kind = "float32" if arguments.float32 else arguments.format
    with StemFiles(folder, model.sources, file.sample_rate, kind) as files:
        for block in stream:
            files.append(block)
        return files.write(stream.stem)


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
