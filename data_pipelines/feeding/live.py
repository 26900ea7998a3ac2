"""Live music: what a concert is made of besides its stems, and whole songs made live.

How concerts sound is in :mod:`sepjax.functional.live`.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from data_pipelines.audio.canonical import canonicalize
from data_pipelines.audio.files import probe, read_blocks
from data_pipelines.audio.int16 import to_float
from data_pipelines.audio.resample import resample
from data_pipelines.feeding import schedule
from data_pipelines.feeding.host import map_file, read_frames
from data_pipelines.manifest import AudioFile, DataError, LoadedTrack, Manifest
from data_pipelines.workers import in_order
from sepjax.config import Config
from sepjax.functional.live import LiveSettings, draw_count, simulate_live

SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff")
DIRECT = 0.0025  # s after its peak in which a measured response is direct sound

_simulate = jax.jit(simulate_live, static_argnames="settings")


class Venue(NamedTuple):
    """The user's own halls and audiences; synthetic ones if the user has none."""

    tails: np.ndarray | None = None  # float32 (responses, taps), after the direct sound
    audience: Manifest | None = None  # canonical, mapped into memory


class LiveTrack(NamedTuple):
    """A song as its microphones recorded it, and with its clean references.

    Both have the same mixture, so that one estimate can be scored against both.
    """

    recorded: LoadedTrack
    clean: LoadedTrack


def open_venue(config: Config, cache: str | Path | None = None) -> Venue:
    """Read the folders that ``config.live`` names, at the rate of the data.

    Every channel of an impulse response is a response of its own: it begins at its
    peak. Recordings of an audience are converted into the cache and mixed to mono.

    Raises:
        DataError: a folder without audio, or files that cannot be used, by name.
    """
    rate, tails, audience = config.data.sample_rate, None, None
    if config.live.impulse_responses:
        files = _audio_files(config.live.impulse_responses, "live.impulse_responses")
        responses = [tail for file in files for tail in _tails(file, rate)]
        taps = max(map(len, responses))
        tails = np.stack([np.pad(tail, (0, taps - len(tail))) for tail in responses])
    if config.live.crowd_recordings:
        root = config.live.crowd_recordings
        files = _audio_files(root, "live.crowd_recordings")
        channels = max(file.channels for file in files)
        manifest = Manifest("audience", root, rate, channels, (), tuple(files), ())
        audience = canonicalize(manifest, rate, cache)
    return Venue(tails, audience)


def train_rows(
    config: Config, venue: Venue, seeds: Sequence[int], step: int, rows: slice
) -> dict[str, np.ndarray]:
    """Return draws and recordings for a process's rows of a training step.

    Returns:
        ``draws`` float32 (rows, draws) and, from a venue of one's own, ``tails``
        (rows, sources, taps) and ``recordings`` (rows, time). Row ``b K + k`` is row
        ``b`` of the k-th of K seeds.
    """
    sources = len(config.data.sources)
    shape = config.train.batch_size, _width(sources)
    words = [schedule.uniform(s, schedule.LIVE, step, 1, *shape)[0] for s in seeds]
    time = round(config.data.chunk_seconds * config.data.sample_rate)
    mine = np.stack([each[rows] for each in words], axis=1).reshape(-1, shape[1])
    return _rows(venue, mine, sources, time)


def valid_rows(
    config: Config, venue: Venue, first: int, count: int, time: int
) -> dict[str, np.ndarray]:
    """Do as :func:`train_rows` for chunks ``first`` to ``first + count - 1``.

    A chunk has the same concert for every seed, so that all models meet the same ones.
    """
    sources = len(config.data.sources)
    words = schedule.uniform(0, schedule.LIVE_VALID, first, count, _width(sources))
    return _rows(venue, words, sources, time)


def live_track(track: LoadedTrack, config: Config, venue: Venue) -> LiveTrack:
    """Play a whole song at a concert, which is drawn from the song's name.

    As the thesis prepares its concerts (Montreux, section 6): channels are averaged,
    recorded by mono microphones and duplicated, and one factor keeps the mixture
    within full scale. A distributed mixture is replaced by the microphones' sum.
    """
    sources, time, channels = track.references.shape
    seed = int.from_bytes(hashlib.sha256(track.name.encode()).digest()[:8])
    words = schedule.uniform(seed, schedule.LIVE_TRACK, 0, 1, _width(sources))
    draws = _rows(venue, words, sources, time)
    settings = LiveSettings.of(config.live, track.sample_rate)
    mono = track.references.mean(axis=-1)[None]
    live = _simulate(mono, draws.pop("draws"), settings, **draws)
    mixture = np.asarray(live.mixture[0])
    scale = np.float32(min(1.0, 1 / max(float(np.abs(mixture).max()), 1e-8)))

    mixture, recorded, clean = (
        np.repeat(scale * np.asarray(waves)[..., None], channels, axis=-1)
        for waves in (mixture, live.sources[0], live.clean[0])
    )
    return LiveTrack(
        track._replace(mixture=mixture, references=recorded, clean=clean),
        track._replace(mixture=mixture, references=clean),
    )


def _width(sources: int) -> int:
    # A response for every microphone, a recording and where it begins.
    return draw_count(sources) + sources + 2


def _rows(
    venue: Venue, words: np.ndarray, sources: int, time: int
) -> dict[str, np.ndarray]:
    count = draw_count(sources)
    draws = {"draws": words[:, :count].astype(np.float32)}
    if venue.tails is not None:
        chosen = words[:, count : count + sources] * len(venue.tails)
        draws["tails"] = venue.tails[chosen.astype(int)]
    if venue.audience is not None:
        read = partial(_listen, venue.audience, time=time)
        draws["recordings"] = np.stack([read(*row) for row in words[:, -2:]])
    return draws


def _listen(audience: Manifest, which: float, where: float, time: int) -> np.ndarray:
    """An excerpt of a recording, from its beginning again where it ends."""
    samples = map_file(audience, int(which * len(audience.files)))
    start = int(where * (max(len(samples) - time, 0) + 1))
    frames = read_frames(samples, start, start + time, True)
    return to_float(frames).mean(axis=1)


def _audio_files(root: str, field: str) -> list[AudioFile]:
    folder = Path(root).expanduser()
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        kinds = ", ".join(SUFFIXES)
        what = "holds no audio" if folder.is_dir() else "no such folder"
        raise DataError(f"{field}={root}: {what}; name a folder of files ({kinds})")
    files = in_order(probe, [(str(path.absolute()),) for path in paths], "reading")
    if problems := [str(file) for file in files if isinstance(file, DataError)]:
        raise DataError.of(field, problems)
    return files


def _tails(file: AudioFile, rate: int) -> list[np.ndarray]:
    """Each channel from its peak on, which becomes 1, without the direct sound."""
    audio = resample(np.concatenate(list(read_blocks(file))), file.sample_rate, rate)
    tails = []
    for channel, wave in enumerate(audio.T, start=1):
        peak = int(np.argmax(np.abs(wave)))
        tail = wave[peak:] / np.where(wave[peak] == 0, 1, wave[peak])
        tail[: 1 + round(DIRECT * rate)] = 0
        if not tail.any():
            raise DataError(
                f"{file.path}: channel {channel} holds no reverberation after its"
                " peak; remove it or export it again"
            )
        tails.append(tail.astype(np.float32))
    return tails
