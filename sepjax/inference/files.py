"""Files of recordings to files of stems: what is there already, disk space, notes."""

import contextlib
import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

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
    place: Place,
    path: Path,
    *,
    output: Output = DEFAULT,
    overwrite: bool = True,
    progress: bool | Callable[[float], object] = True,
    say: Callable[[str], None] = lambda text: None,
) -> str:
    """Write the stems of a file, all or none; return what they are, in words.

    Beside the stems of several models is ``spread.json``, how far they are apart
    (:meth:`~.ensemble.EnsembleStream.spread`).

    Args:
        ensemble: see :func:`~.ensemble.make_ensemble`.
        audio: as :func:`data_pipelines.audio.decode.open_part` found it.
        place: where the stems go.
        path: of the recording, which ``audio`` may be a copy of.
        output: format, depth and the like.
        overwrite: make stems anew that are there, of the same models, options and file
            (its size and date); otherwise the answer is :data:`SKIPPED`.
        progress: see :class:`~.ensemble.EnsembleStream`.
        say: told what is done, and what the models cannot hear.

    Raises:
        OSError: the stems do not fit on the disk, or cannot be written.
        ValueError: the file cannot be read to its end, or the format has not as many
            channels, or no exact sums.
    """
    recipe = _recipe(path, ensemble, output)
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
    spread = place.path("spread", "json")
    spread = spread.with_name(spread.name.removesuffix(".json") + ".json")
    several, ours = len(ensemble.members) > 1, _is_spread(spread)
    if several and os.path.lexists(spread) and not ours:
        raise FileExistsError(f"{spread} is no spread of sepjax: give another folder")
    _announce(ensemble, audio, path, say)
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
            files.append(block)
        note = files.write(functools.partial(stream.stems, depth=output.depth or 32))
    if several:
        write_json(spread, stream.spread())
    elif ours:  # of other models
        spread.unlink()
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


def _is_spread(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return {"members", "seconds"} <= read_json(path, dict).keys()
    return False


def _recipe(path: Path, ensemble: Ensemble, output: Output) -> str:
    """Text on all that shapes the stems; none where the recording has no date."""
    if not path.is_file():
        return ""
    info = os.stat(path)
    return f"{ensemble.digest} {output} {info.st_size} {info.st_mtime_ns}"


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
