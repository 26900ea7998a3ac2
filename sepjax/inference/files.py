"""Files of recordings to files of stems: what is there already, disk space, notes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data_pipelines.audio.decode import Audio
from data_pipelines.audio.encode import Output
from sepjax.inference.chunks import Chunking
from sepjax.inference.places import Place, mark
from sepjax.inference.stems import DEFAULT, StemFiles
from sepjax.inference.stream import SeparationStream
from sepjax.models.contract import SeparationModel, Variables

SKIPPED = "exists, skipped"


def separate_file(
    model: SeparationModel,
    variables: Variables,
    audio: Audio,
    place: Path | Place,
    path: Path,
    *,
    chunking: Chunking,
    output: Output = DEFAULT,
    recipe: str = "",
    overwrite: bool = True,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> str:
    """Write the stems of a file, all or none; return what they are, in words.

    Args:
        model: see :func:`sepjax.separate`.
        variables: its parameters.
        audio: as :func:`data_pipelines.audio.decode.open_part` found it.
        place: a folder for the stems, or where else they go.
        path: of the recording, which ``audio`` may be a copy of.
        chunking: how the track is cut, levelled and fitted.
        output: format, depth and the like.
        recipe: text that tells the model and its parameters from others.
        overwrite: make stems anew that are there, of the same recipe, chunking, output
            and file (its size and date); otherwise the answer is :data:`SKIPPED`.
        progress: show it on stderr.
        say: told what is being done, and what the model cannot hear of the file.
        stopped: asked after every block whether to leave off.

    Raises:
        InterruptedError: ``stopped`` says so; nothing is left of the stems.
        OSError: the stems do not fit on the disk, or cannot be written.
        ValueError: the file cannot be read to its end, or the format has not as many
            channels.
    """
    place = Place.of(place)
    recipe = _recipe(path, recipe, chunking, output)
    if recipe and not overwrite:
        if place.holds(model.sources, output.kind, mark(path, recipe)):
            return SKIPPED
    channels = max(audio.channels, model.audio_channels)
    output.check_channels(audio.channels)
    output = output.of_depth(audio.depth())
    # All estimates are 32-bit floats until files are made of them.
    size = (4 + output.depth // 8) * len(model.sources) * audio.frames * channels
    if size > (free := shutil.disk_usage(place.folder).free):
        raise OSError(
            f"{path}: its stems take {size / 1e6:.1f} MB until they are finished, but "
            f"only {free / 1e6:.1f} MB are free in {place.folder}"
        )
    _announce(model, audio, path, say)

    def watched(block: np.ndarray) -> np.ndarray:
        if stopped():
            raise InterruptedError("interrupted")
        return block

    stream = SeparationStream(
        model,
        variables,
        audio.blocks,
        sample_rate=audio.sample_rate,
        chunking=chunking,
        progress=progress,
        shape=(audio.frames, audio.channels) if audio.exact else None,
    )
    form = audio.sample_rate, output, path
    with StemFiles(place, model.sources, *form, recipe=recipe) as files:
        for block in stream:
            files.append(watched(block))
        return files.write(lambda block: stream.stems(watched(block)))


def _recipe(path: Path, recipe: str, chunking: Chunking, output: Output) -> str:
    """Text on all that shapes the stems; none where the recording has no date."""
    if not recipe or not path.is_file():
        return ""
    info = os.stat(path)
    return f"{recipe} {chunking} {output} {info.st_size} {info.st_mtime_ns}"


def _announce(
    model: SeparationModel, audio: Audio, path: Path, say: Callable[[str], None]
) -> None:
    """Tell what the model cannot hear, and how long the file is."""
    if audio.sample_rate > model.sample_rate:
        say(
            f"{path}: the model hears up to {model.sample_rate / 2000:g} kHz; what is "
            f"above, up to {audio.sample_rate / 2000:g} kHz, is in no stem"
        )
    seconds = f" ({audio.frames / audio.sample_rate:.1f} s)" if audio.frames else ""
    say(f"separating {path}{seconds}")
