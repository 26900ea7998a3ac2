"""Files of recordings to files of stems: what is there already, disk space, notes."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data_pipelines.audio.decode import Audio
from data_pipelines.audio.encode import FORMATS, Output
from sepjax.inference.ensemble import Ensemble, EnsembleStream
from sepjax.inference.places import Place, mark
from sepjax.inference.stems import DEFAULT, StemFiles
from sepjax.storage import read_json, write_json

SKIPPED = "exists, skipped"


def separate_file(
    ensemble: Ensemble,
    audio: Audio,
    place: Path | Place,
    path: Path,
    *,
    output: Output = DEFAULT,
    recipe: str = "",
    overwrite: bool = True,
    progress: bool | Callable[[float], object] = True,
    say: Callable[[str], None] = lambda text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> str:
    """Write the stems of a file, all or none; return what they are, in words.

    Beside the stems of several models is ``spread.json``, how far they are apart
    (:meth:`~.ensemble.EnsembleStream.spread`).

    Args:
        ensemble: see :func:`sepjax.inference.ensemble.make_ensemble`.
        audio: as :func:`data_pipelines.audio.decode.open_part` found it.
        place: a folder for the stems, or where else they go.
        path: of the recording, which ``audio`` may be a copy of.
        output: format, depth and the like.
        recipe: text that tells the models and what is made of them from others.
        overwrite: make stems anew that are there, of the same recipe, output and file
            (its size and date); otherwise the answer is :data:`SKIPPED`.
        progress: see :class:`sepjax.inference.ensemble.EnsembleStream`.
        say: told what is being done, and what the models cannot hear of the file.
        stopped: asked after every block whether to leave off.

    Raises:
        InterruptedError: ``stopped`` says so; nothing is left of the stems.
        OSError: the stems do not fit on the disk, or cannot be written.
        ValueError: the file cannot be read to its end, or the format has not as many
            channels, or no exact sums.
    """
    place = Place.of(place)
    recipe = _recipe(path, recipe, output)
    if recipe and not overwrite:
        if place.holds(ensemble.names, output.kind, mark(path, recipe)):
            return SKIPPED
    output.check_channels(audio.channels)
    check_sums(ensemble, output)
    output = output.of_depth(audio.depth())
    # All signals are 32-bit floats until files are made of them.
    bits = 32 * ensemble.signals + output.depth * len(ensemble.names)
    size = bits // 8 * audio.frames * max(audio.channels, ensemble.width)
    if size > (free := shutil.disk_usage(place.folder).free):
        raise OSError(
            f"{path}: its stems take {size / 1e6:.1f} MB until they are finished, but "
            f"only {free / 1e6:.1f} MB are free in {place.folder}"
        )
    spread = _spread_path(place)
    _announce(ensemble, audio, path, say)

    def watched(block: np.ndarray) -> np.ndarray:
        if stopped():
            raise InterruptedError("interrupted")
        return block

    stream = EnsembleStream(
        ensemble,
        audio.blocks,
        sample_rate=audio.sample_rate,
        shape=(audio.frames, audio.channels) if audio.exact else None,
        progress=progress,
    )
    form = audio.sample_rate, output, path, ensemble.signals, recipe
    with StemFiles(place, ensemble.names, *form) as files:
        for block in stream:
            files.append(watched(block))
        depth = output.depth or 32
        note = files.write(lambda block: stream.stems(watched(block), depth))
    spread.unlink(missing_ok=True)  # of other models
    if len(ensemble.members) > 1:
        write_json(spread, stream.spread())
    return note


def check_sums(ensemble: Ensemble, output: Output) -> None:
    """Check that stems keep an exact sum in their files.

    Raises:
        ValueError: the format is lossy, or stems beyond full scale are treated alone.
    """
    lossy = not FORMATS[output.kind].depths
    if ensemble.exact and (lossy or output.clip_mode in ("rescale", "clamp")):
        what = output.kind if lossy else f"--clip-mode {output.clip_mode}"
        raise ValueError(f"--sum exact: {what} changes stems: choose wav or flac alone")


def _spread_path(place: Place) -> Path:
    """Where the spread is written: what has its name was made here."""
    path = place.path("spread", "json").with_suffix(".json")
    with contextlib.suppress(OSError, ValueError):
        if not os.path.lexists(path) or "members" in read_json(path, dict):
            return path
    raise FileExistsError(f"{path} was not made by sepjax: give another folder")


def _recipe(path: Path, recipe: str, output: Output) -> str:
    """Text on all that shapes the stems; none where the recording has no date."""
    if not recipe or not path.is_file():
        return ""
    info = os.stat(path)
    return f"{recipe} {output} {info.st_size} {info.st_mtime_ns}"


def _announce(
    ensemble: Ensemble, audio: Audio, path: Path, say: Callable[[str], None]
) -> None:
    """Tell what the models cannot hear, and how long the file is."""
    rate = min(member.model.sample_rate for member in ensemble.members)
    if audio.sample_rate > rate:
        place = "only in what is made of the mixture itself"
        say(
            f"{path}: the model hears up to {rate / 2000:g} kHz; what is above, up to "
            f"{audio.sample_rate / 2000:g} kHz, is "
            + (place if ensemble.hears_mixture else "in no stem")
        )
    seconds = f" ({audio.frames / audio.sample_rate:.1f} s)" if audio.frames else ""
    say(f"separating {path}{seconds}")
