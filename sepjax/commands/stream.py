"""``sepjax stream``: the stems of what comes, while it comes."""

import argparse
import contextlib
import itertools
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

# Heavy imports wait inside the functions: the options are wanted for every --help.

RAW = {"f32": "<f4", "s16": "<i2"}
Write = Callable[[Any], object]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax stream``."""
    add, std = parser.add_argument, "-, the default: raw samples of standard"
    text = f"a recording; {std} input, interleaved"
    add("input", nargs="?", default="-", metavar="INPUT", help=text)
    text = f"a file, or files by a name with {{stem}}; {std} output, stem by stem"
    add("output", nargs="?", default="-", metavar="OUTPUT", help=text)
    text = "run folder, imported weights, or a name of `sepjax models`: a causal model "
    text += "(what `sepjax models` says)"
    add("-n", "--name", "--run", dest="run", help=text)
    text = "a stem to write; may come again (all)"
    add("--stem", action="append", metavar="NAME", help=text)
    text = "raw samples: 32-bit floats or 16 bits, little end first (%(default)s)"
    add("--format", choices=RAW, default="f32", help=text)
    add("--rate", type=int, metavar="HZ", help="of raw samples (the model's)")
    text = "of raw samples (the model's)"
    add("--channels", type=int, metavar="N", help=text)
    text = "ms separated at once, rounded to whole blocks of the model (%(default)s)"
    add("--block", type=float, default=20.0, metavar="MS", help=text)
    text = "standard deviation of the music, where the model was trained on music "
    text += "divided by its own: a stream's is not known beforehand (%(default)s)"
    add("--level", type=float, default=0.1, metavar="X", help=text)
    text = "read a recording no faster than it sounds"
    add("--realtime", action="store_true", help=text)
    text = (
        "hear and play a sound card instead, '' is the default one; needs sounddevice"
    )
    add("--sound-card", metavar="NAME", help=text)


class Source(NamedTuple):
    """What is heard: its rate in Hz, its channels, and blocks as they come."""

    rate: int
    channels: int
    blocks: Iterator[Any]
    live: bool  # comes at its rate


def stream(arguments: argparse.Namespace) -> int:
    """Separate what comes until it ends; Ctrl-C ends it, and what came is finished."""
    from sepjax.commands.separate import say
    from sepjax.inference.live import LiveSeparation
    from sepjax.inference.separator import load_ensemble
    from sepjax.inference.steps import streamable
    from sepjax.models.releases import default_separator

    run = arguments.run or default_separator()
    member, *others = load_ensemble([run], say=say).members
    if others:
        raise ValueError(f"{run} has several seeds: give the folder of one")
    if (model := streamable(member.model)) is None:
        raise ValueError(f"{run} is not for streams: {member.model.offline}")
    if model is not member.model:
        say(f"without what hears whole songs: {member.model.offline}")
    chosen = stem_numbers(model.sources, arguments.stem or ())
    names = [model.sources[number] for number in chosen]
    with contextlib.ExitStack() as stack:
        source = open_source(arguments, model, stack)
        how = dict(sample_rate=source.rate, channels=source.channels)
        level = arguments.level if member.chunking.normalize else 1.0
        how |= dict(seconds=arguments.block / 1000, level=level)
        live = LiveSeparation(model, member.variables, **how)
        write = open_output(arguments, names, source, stack)
        own, rate = model.streaming.latency + 1, model.sample_rate
        say(
            f"latency {1000 * live.latency:.1f} ms: {1000 * own / rate:.1f} of the "
            f"model, the rest of blocks of {1000 * live.steps.size / rate:.1f}"
        )
        if source.rate != rate:
            say(f"resampling there and back adds its own: {rate} Hz would spare it")
        began = time.perf_counter()
        for block in live(until_interrupted(source.blocks)):
            write(block[:, chosen])
        taken, seconds = time.perf_counter() - began, live.heard / source.rate
    text = f"{seconds:.1f} s, real-time factor {live.real_time_factor:.3f}"
    # What came faster than it sounds waited for nothing but its turn.
    paced = source.live and taken > 0.9 * seconds
    say(text + (f", worst delay {1000 * live.delay:.1f} ms" if paced else ""))
    return 0


def stem_numbers(sources: tuple[str, ...], names: Iterable[str]) -> list[int]:
    """Return the places of stems by their names; all where there are none.

    Example:
        >>> stem_numbers(("bass", "vocals"), ["vocals"])
        [1]
    """
    from sepjax.registry import nearest

    for name in names:
        if name not in sources:
            raise ValueError(f"unknown stem {name!r}: {nearest(name, sources)}")
    return [sources.index(name) for name in names or sources]


def open_source(
    arguments: argparse.Namespace, model: Any, stack: contextlib.ExitStack
) -> Source:
    """Open what is heard; blocks are as long as a step."""
    rate, channels = arguments.rate, arguments.channels
    rate = model.sample_rate if rate is None else rate
    channels = model.audio_channels if channels is None else channels
    if rate < 1 or channels < 1:
        raise ValueError(f"--rate {rate} and --channels {channels} must be positive")
    size = max(round(rate * arguments.block / 1000), 1)
    if arguments.sound_card is not None:
        card = sound_card().Stream(
            **dict(samplerate=rate, channels=channels, dtype="float32"),
            **dict(device=arguments.sound_card or None, latency="low"),
        )
        arguments.play = stack.enter_context(card).write
        heard = (card.read(size)[0] for _ in itertools.count())
        return Source(rate, channels, heard, True)
    if arguments.input == "-":
        read = raw_blocks(sys.stdin.buffer, RAW[arguments.format], channels, size)
        return Source(rate, channels, read, True)
    if arguments.rate or arguments.channels:
        raise ValueError("--rate and --channels are for raw samples: the file has its")
    from data_pipelines.audio.decode import open_part

    audio = open_part(arguments.input)
    rate = audio.sample_rate
    size = max(round(rate * arguments.block / 1000), 1)
    blocks = audio.blocks(size if arguments.realtime else 1 << 18)
    blocks = paced(blocks, rate) if arguments.realtime else blocks
    return Source(rate, audio.channels, blocks, arguments.realtime)


def sound_card() -> Any:
    """Import sounddevice, or say how to install it."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: without PortAudio
        raise ValueError(
            f"no sound card can be used ({error}): pip install sepjax[live], and "
            "PortAudio from your system; or pipe raw samples"
        ) from error
    return sounddevice


def raw_blocks(file: BinaryIO, kind: str, channels: int, size: int) -> Iterator[Any]:
    """Read interleaved samples; what is left of a last one is not heard."""
    import numpy as np

    from data_pipelines.audio.int16 import to_float

    width = np.dtype(kind).itemsize * channels
    while data := file.read(size * width):
        data = data[: len(data) // width * width]
        yield to_float(np.frombuffer(data, kind).reshape(-1, channels))


def paced(blocks: Iterable[Any], rate: int) -> Iterator[Any]:
    """Yield each block when its last sample would have sounded."""
    began, done = time.perf_counter(), 0
    for block in blocks:
        done += len(block)
        time.sleep(max(began + done / rate - time.perf_counter(), 0))
        yield block


def until_interrupted(blocks: Iterator[Any]) -> Iterator[Any]:
    """End the blocks at the first Ctrl-C, which a second one does not wait for."""
    ended = reading = False

    def end(number: int, frame: object) -> None:
        nonlocal ended
        ended = True
        signal.signal(signal.SIGINT, before)
        if reading:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, end)
    try:
        while not ended:
            reading = True
            block = next(blocks, None)
            reading = False
            if block is None:
                break
            yield block
    except KeyboardInterrupt:
        if not reading:
            raise
    finally:
        signal.signal(signal.SIGINT, before)


def open_output(
    arguments: argparse.Namespace,
    names: list[str],
    source: Source,
    stack: contextlib.ExitStack,
) -> Write:
    """Open what blocks ``(time, stems, channels)`` go to."""
    import numpy as np

    from data_pipelines.audio.int16 import to_int16

    def flat(block: Any) -> Any:
        return np.ascontiguousarray(block.reshape(len(block), -1))

    if arguments.sound_card is not None:
        if len(names) > 1:
            raise ValueError("a sound card plays one stem: choose it with --stem")
        return lambda block: arguments.play(flat(block))
    if arguments.output == "-":
        out = sys.stdout.buffer

        def write(block: Any) -> None:
            wave = flat(block)
            wave = to_int16(wave)[0] if arguments.format == "s16" else wave
            out.write(wave.astype(RAW[arguments.format]).tobytes())
            out.flush()

        return write
    return files(arguments, names, source, stack)


def files(
    arguments: argparse.Namespace,
    names: list[str],
    source: Source,
    stack: contextlib.ExitStack,
) -> Write:
    """Open a file for each stem, which can be heard while it grows."""
    from data_pipelines.audio.encode import FLOAT, FORMATS, Output, encoder
    from sepjax.registry import nearest

    pattern = arguments.output
    if len(names) > 1 and "{stem}" not in pattern:
        raise ValueError(f"{pattern}: several stems need {{stem}} in the name of files")
    kind = Path(pattern).suffix[1:].lower()
    if kind not in FORMATS:
        raise ValueError(
            f"{pattern}: unknown format {kind!r}: {nearest(kind, FORMATS)}"
        )
    depth = FLOAT if kind == "wav" and arguments.format == "f32" else 16
    writers = []
    for name in names:
        path = Path(pattern.replace("{stem}", name))
        if path.exists():
            raise FileExistsError(f"{path} is there: delete it, or give another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        form = Output(kind, depth), source.rate, source.channels
        writers.append(stack.enter_context(encoder(path, *form)))

    def write(block: Any) -> None:
        for number, each in enumerate(writers):
            each(block[:, number])

    return write
