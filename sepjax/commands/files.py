"""Options of ``sepjax separate`` about files: which, where to, in which format."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEPTHS = {"auto": 0, "16": 16, "24": 24, "float": 32}
KINDS = ("wav", "flac", "mp3", "ogg", "opus")


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about files, formats, and how many at once."""
    add = parser.add_argument
    text = "recordings, videos as well, and folders of them; - for standard input"
    add("files", nargs="+", type=Path, metavar="FILE", help=text)
    how: dict[str, Any] = dict(dest="output", type=Path, default=Path("separated"))
    text = "folder for the stems (%(default)s)"
    add("-o", "--out", "--output", metavar="DIR", help=text, **how)
    text = "names of the stems there, with {track}, {trackext}, {stem} and {ext}"
    how = dict(default="{track}/{stem}.{ext}", metavar="PATTERN")
    add("--filename", help=f"{text} (%(default)s)", **how)
    text = "make stems again that are there, of the same file, model and options"
    add("--overwrite", action="store_true", help=text)
    text = "files at a time, each with memory of its own (%(default)s)"
    add("-j", "--jobs", type=int, default=1, metavar="N", help=text)
    text = "cpu, gpu, cuda, tpu, or gpu:1 (as JAX chooses)"
    add("-d", "--device", metavar="NAME", help=text)
    add = parser.add_argument_group("format of the stems").add_argument
    add("--format", choices=KINDS, default="wav", help="of files (%(default)s)")
    text = "bits of a sample of wav and flac; auto: as the file (%(default)s)"
    add("--depth", choices=DEPTHS, default="auto", help=text)
    for name, option, value in (
        *(("flac", "format", "flac"), ("mp3", "format", "mp3")),
        *(("int24", "depth", "24"), ("float32", "depth", "float")),
    ):
        how = dict(action="store_const", dest=option, const=value)
        add(f"--{name}", help=f"the same as --{option} {value}", **how)
    text = "kb/s of mp3, constant there, ogg and opus (%(default)s)"
    how = dict(type=int, default=320, metavar="N")
    add("--bitrate", "--mp3-bitrate", help=text, **how)
    text = "what becomes of stems beyond full scale. common: nothing is clipped, all "
    text += "become float WAV or are turned down alike; rescale: each is turned down "
    text += "by itself; clamp: samples are cut off at 0.99; none: at 1, but not in "
    text += "floats (%(default)s)"
    modes = "common", "rescale", "clamp", "none"
    add("--clip-mode", choices=modes, default="common", help=text)


def output_of(arguments: argparse.Namespace) -> Any:
    """Check the options about files; return the output that they describe.

    Raises:
        ValueError: an option is not possible, or does not fit another one.
    """
    from data_pipelines.audio.encode import Output
    from sepjax.inference.places import check_pattern

    check_pattern(arguments.filename)
    if arguments.jobs < 1:
        raise ValueError(f"-j {arguments.jobs}: one file at a time is the least")
    depth = DEPTHS[arguments.depth]
    return Output(arguments.format, depth, arguments.bitrate, arguments.clip_mode)


def recordings(paths: list[Path], say: Callable[[str], None]) -> list[Path]:
    """Return files and those in folders, each once; say what is left out: stems."""
    from data_pipelines.audio.inputs import media_files
    from sepjax.inference.places import is_stem

    files, stems = [], 0
    for path in paths:
        # A folder without recordings is told as one that is no file.
        within = (path.is_dir() and media_files(path)) or [path]
        kept = [each for each in within if each == path or not is_stem(each)]
        files, stems = files + kept, stems + len(within) - len(kept)
    if stems:
        say(f"{stems} stems that were separated before are left out")
    return list({str(path.absolute()): path for path in files}.values())
