"""Separation for programs: models by their names, arrays or files in, stems out."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np

from sepjax.inference.augmentation import mirrors, shift_lengths
from sepjax.inference.chunks import Chunking, check_chunking
from sepjax.inference.ensemble import Ensemble, Member, make_ensemble
from sepjax.inference.recipes import listed
from sepjax.inference.separate import checked_mixture, separate_array

# What loads models and reads files is imported when it is wanted.

Audio = TypeVar("Audio", np.ndarray, jax.Array)
Layout = Literal["auto", "time_channels", "channels_time"]
Cancel = threading.Event | Callable[[], bool]


class Cancelled(RuntimeError):
    """The caller has cancelled a separation; nothing of it is left."""


class Separator:
    """Models that separate arrays and files, loaded and compiled once.

    Calls may come from several threads at a time.

    Args:
        models: the name of a model, or the folder of a run or of imported weights, or a
            list of them, whose stems are averaged. A run of several seeds is the mean
            of its seeds. By default, what ``sepjax models`` says.
        device: where to compute, as "cpu", "gpu", "gpu:1"; JAX's own by default.
        options: see :func:`load_ensemble`.

    Attributes:
        sources: names of the stems.
        sample_rate: the models' own, the highest of them, Hz. Audio may have any.
        licence: of the weights, as far as it is known.

    Raises:
        OSError: a name stands for no model, or it cannot be fetched.
        ValueError: an option or the device is not known.

    Example:
        >>> separator = Separator("hpss", chunk=0.5)
        >>> separator.sources
        ('percussive', 'harmonic')
        >>> stems = separator(np.ones((2, 9000), np.float32), 8000)
        >>> stems["harmonic"].shape
        (2, 9000)

    Reference:
        The idea is that of ``demucs.api.Separator``.
    """

    def __init__(
        self,
        models: str | Path | Sequence[str | Path] = (),
        *,
        device: str | jax.Device | None = None,
        **options: Any,
    ) -> None:
        names = [models] if isinstance(models, str | Path) else list(models)
        self.device = find_device(device) if isinstance(device, str) else device
        with self._placed():
            self.ensemble = load_ensemble(names, **options)
        members = self.ensemble.members
        self.sources = self.ensemble.names
        self.sample_rate = max(member.model.sample_rate for member in members)
        licences = dict.fromkeys(member.licence for member in members)
        self.licence = "; ".join(filter(None, licences))

    def __call__(
        self,
        audio: Audio,
        sample_rate: int,
        *,
        layout: Layout = "auto",
        progress: Callable[[float], object] | None = None,
        cancel: Cancel | None = None,
    ) -> dict[str, Audio]:
        """Separate an array into stems of its shape and kind, float32.

        Args:
            audio: NumPy's or JAX's, floats at full scale 1: ``(time,)``, ``(time,
                channels)`` or ``(channels, time)``.
            sample_rate: of the audio, Hz.
            layout: "time_channels" or "channels_time"; "auto": the longer axis is time.
            progress: called often, with the share that is done, 0 to 1.
            cancel: an event that is set, or a function that returns true, to end it.

        Raises:
            Cancelled: ``cancel`` said so.
            ValueError: the array is no finite audio, or its layout is not clear.
        """
        if not isinstance(audio, np.ndarray | jax.Array):
            kind = f"{type(audio).__module__}.{type(audio).__name__}"
            raise ValueError(f"the audio is a {kind}: give an array of NumPy or JAX")
        floats = jnp.issubdtype(audio.dtype, jnp.floating)
        wave = np.asarray(audio, np.float32 if floats else None)
        turned = _lies_on_its_side(wave.shape, layout)
        wave = wave.T if turned else wave
        tracks = checked_mixture(wave, sample_rate)[:, None]
        watch, made = _watched(progress, cancel), {}
        with self._placed():
            stems = separate_array(self.ensemble, tracks, sample_rate, watch)
            for name, stem in stems.items():
                stem = stem.reshape(wave.shape)
                stem = stem.T if turned else stem
                made[name] = jnp.asarray(stem) if isinstance(audio, jax.Array) else stem
        return made

    def separate_file(
        self,
        path: str | Path,
        folder: str | Path,
        *,
        progress: Callable[[float], object] | None = None,
        cancel: Cancel | None = None,
        **output: Any,
    ) -> dict[str, Path]:
        """Write the stems of a file as ``sepjax separate`` does, all or none.

        Progress and cancel are those of a call, ``output`` has fields of
        :class:`data_pipelines.audio.encode.Output`, as ``kind``.

        Returns:
            Name of the stem -> its file.

        Raises:
            Cancelled: ``cancel`` said so; nothing of the stems is left.
            OSError: a file cannot be read or written.
            ValueError: the recording is damaged.
        """
        from data_pipelines.audio.decode import open_part
        from data_pipelines.audio.encode import Output
        from sepjax.inference.files import separate_file
        from sepjax.inference.places import Place

        place, form = Place.of(Path(folder)), Output(**output)
        place.folder.mkdir(parents=True, exist_ok=True)
        track = open_part(path), place, Path(path)
        with self._placed():
            watch = _watched(progress, cancel)
            separate_file(self.ensemble, *track, output=form, progress=watch)
        return {name: place.path(name, form.kind) for name in self.sources}

    def _placed(self) -> contextlib.AbstractContextManager[Any]:
        device = self.device
        return jax.default_device(device) if device else contextlib.nullcontext()


def load_ensemble(
    names: Sequence[str | Path],
    *,
    changes: Iterable[str] = (),
    say: Callable[[str], object] = lambda text: None,
    **options: Any,
) -> Ensemble:
    """Load the models of an ensemble; the seeds of a run share its weight.

    Args:
        names: of models, or folders; the default one if there are none.
        changes: see :func:`sepjax.train.load.load`.
        say: told the names of models, and what restricts the use of their weights.
        options: ``chunk``, ``overlap``, ``normalize``, ``rescale``, ``shifts`` and
            ``augment`` of :func:`sepjax.separate`, where they are not to be as each
            model was made for; ``weights`` and ``total`` of
            :func:`~.ensemble.make_ensemble`; those of :func:`~.recipes.make_recipe`.

    Raises:
        ValueError: a model or an option is not known, or they do not fit.
    """
    from sepjax.models.releases import default_separator
    from sepjax.train.load import load, weight_facts

    given = {name: options.pop(name, None) for name in Chunking._fields}
    given = {name: value for name, value in given.items() if value is not None}
    given["augment"] = (*listed(given.get("augment", ())),)
    wanted = Chunking(**given)  # wrong ones are told before anything is loaded
    check_chunking(wanted.chunk, wanted.overlap)
    shift_lengths(wanted.shifts, 1)
    mirrors(wanted.augment, 1)
    changes, groups = list(changes), []
    for name in names or [default_separator()]:
        groups.append(list[Member]())
        for folder in seed_folders(name):
            say(f"loading {folder}")
            model, variables, config = load(folder, changes=changes)
            facts = weight_facts(folder)
            if facts.get("licence_notice"):
                say(facts["licence_notice"])
            lengths = config.eval.chunk_seconds, config.eval.overlap
            levels = config.data.normalize, config.eval.rescale
            chunking = Chunking(*lengths, *levels)._replace(**given)
            if model.tiling and given.keys() & {"chunk", "overlap"}:
                say(f"{folder} cuts songs by itself: chunk and overlap change nothing")
            if model.streaming and given.keys() & {"chunk", "overlap"}:
                say(f"{folder} hears whole songs: chunk and overlap change nothing")
            texts = str(folder), str(facts.get("licence", "")), str(config)
            groups[-1].append(Member(model, variables, chunking, *texts))
    return make_ensemble(groups, **options)


def seed_folders(name: str | Path) -> list[str | Path]:
    """Return the folders of a run's seeds in their order, or what has none."""
    folder = Path(name)
    numbers = (path.name.removeprefix("seed_") for path in folder.glob("seed_*"))
    seeds = sorted(int(number) for number in numbers if number.isdecimal())
    if not seeds or (folder / "checkpoints").exists():
        return [name]
    return [folder / f"seed_{seed}" for seed in seeds]


def _watched(
    progress: Callable[[float], object] | None, cancel: Cancel | None
) -> Callable[[float], None]:
    """Tell how much is done, and raise where the caller has cancelled."""
    asks = cancel.is_set if isinstance(cancel, threading.Event) else cancel

    def tell(share: float) -> None:
        if asks is not None and asks():
            raise Cancelled("the separation was cancelled: nothing of it is left")
        if progress is not None:
            progress(share)

    return tell


def _lies_on_its_side(shape: tuple[int, ...], layout: str) -> bool:
    """Whether an array is (channels, time)."""
    if layout not in (known := get_args(Layout)):
        raise ValueError(f"layout={layout!r} must be one of {', '.join(known)}")
    if len(shape) == 2 and layout == "auto":
        if shape[0] == shape[1]:
            raise ValueError(
                f"the audio {shape} has two equal axes: say which is time by "
                "layout='time_channels' or 'channels_time'"
            )
        return shape[0] < shape[1]
    return len(shape) == 2 and layout == "channels_time"


def find_device(name: str) -> jax.Device:
    """Return the device that ``cpu``, ``gpu``, ``cuda`` or ``gpu:1``, the second, is.

    Raises:
        ValueError: there is no such device; the message names those that are.

    Example:
        >>> find_device("abacus")
        Traceback (most recent call last):
        ValueError: there is no device 'abacus' here, but ...
    """
    kind, _, index = name.lower().partition(":")
    try:
        return dict(enumerate(jax.devices(kind)))[int(index or 0)]
    except (RuntimeError, KeyError, ValueError) as error:
        known = ", ".join(f"{each.platform}:{each.id}" for each in jax.devices())
        raise ValueError(f"there is no device {name!r} here, but {known}") from error
