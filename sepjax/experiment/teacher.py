"""Distillation: a model that is trained hears stems that another one has separated.

The teacher separates each song once; its stems lie in the cache under names made of the
teacher's parameters and the song's content, and training reads them as it reads others.
"""

import dataclasses
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.audio.canonical import cache_folder
from data_pipelines.audio.decode import open_part
from data_pipelines.audio.files import probe
from data_pipelines.audio.inputs import media_files
from data_pipelines.audio.resample import resample
from data_pipelines.feeding.host import load_track
from data_pipelines.manifest import DataError, LoadedTrack, Manifest, Stem, Track
from data_pipelines.pipeline import Songs
from data_pipelines.songs.written import write_song
from sepjax.config import Config
from sepjax.inference.ensemble import Ensemble
from sepjax.inference.separate import separate_array
from sepjax.inference.separator import load_ensemble
from sepjax.losses import source_si_sdr
from sepjax.progress import bar
from sepjax.registry import nearest
from sepjax.storage import locked, sha256, text_sha256

MIXTURE, MOST = "mixture", 12  # how often a song is repeated at most, for the share


class Teacher(NamedTuple):
    """A model whose stems others learn from, and where they are kept."""

    config: Config  # of the student
    ensemble: Ensemble
    stems: dict[str, str]  # class that the student's data have -> stem of the teacher
    cache: Path | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What tells this teaching from another one; it is kept with the run."""
        licences = dict.fromkeys(each.licence for each in self.ensemble.members)
        return {
            "name": self.config.train.teacher,
            "sha256": text_sha256(self.ensemble.digest),
            "licence": "; ".join(filter(None, licences)),
        }

    def songs(self, manifest: Manifest) -> Songs:
        """Return the songs that train: the teacher's, and others in their share.

        The teacher separates the training songs and ``train.teacher_music``. Where the
        true stems are known, its stem is used if its SI-SDR is above the mixture's.

        Args:
            manifest: canonical.

        Raises:
            DataError: there is no music, or it cannot be read.
        """
        music = self.config.train.teacher_music
        own = [t for t in manifest.tracks if t.split == "train"]
        jobs = [*own, *(media(Path(music)) if music else ())]
        home = cache_folder(self.cache) / "teachers" / self.facts["sha256"][:24]
        owner = f"process {os.getpid()} on {socket.gethostname()}, a teacher's work"
        taught = []
        with locked(home, owner, "this one waits for it", wait=True):
            what = f"{self.config.train.teacher} separates songs to learn from"
            for job in bar(jobs, what, unit="song"):
                taught.append((_name(job), self._folder(home, manifest, job)))
        return _shared(manifest, own, taught, self.config.train.teacher_share)

    def _folder(self, home: Path, manifest: Manifest, job: Track | Path) -> Path:
        """The folder of a song's stems, which are made where they are not there."""
        if isinstance(job, Track):
            parts = [(job.frames,), *map(dataclasses.astuple, job.stems.values())]
            files = [manifest.files[stem.file] for stem in job.stems.values()]
            key = text_sha256(str([parts, [*map(manifest.file_digest, files)]]))
        else:
            key = sha256(job)
        facts = manifest.sample_rate, manifest.channels, sorted(self.stems.items())
        folder = home / text_sha256(f"{key} {facts}")[:24]
        if not folder.exists():
            whole = isinstance(job, Track)
            song = load_track(manifest, job) if whole else _decoded(manifest, job)
            write_song(self._separated(song), folder, mixture=False)
        return folder

    def _separated(self, song: LoadedTrack) -> LoadedTrack:
        """A song of the teacher's stems."""
        made = separate_array(self.ensemble, song.mixture[:, None], song.sample_rate)
        stems = np.zeros((len(song.classes), *song.mixture.shape), np.float32)
        for stem, name in zip(stems, song.classes):
            stem[:] = made[self.stems[name]] if name in self.stems else 0
        if len(song.references):
            truth = song.references
            mixture = np.broadcast_to(song.mixture, truth.shape)
            waves = (np.moveaxis(x, -1, -2)[None] for x in (stems, mixture))
            known = np.moveaxis(truth, -1, -2)[None]
            score, before = (np.asarray(source_si_sdr(known, x))[0] for x in waves)
            worse = ~(score > before) | ~truth.any((1, 2))
            stems[worse] = truth[worse]
        return song._replace(references=stems)


def load_teacher(config: Config, cache: Path | None = None) -> Teacher:
    """Load ``train.teacher``, and find its stems for the classes that are read.

    A stem that is a sum of classes in the student's data (``data.sums``) takes the
    place of the first of them, and the others are silent.

    Raises:
        ValueError: the teacher has no stem for a source; there is no such model.
        OSError: it cannot be fetched.
    """
    name, stems = config.train.teacher, dict[str, str]()
    ensemble = load_ensemble([name])
    for source, members in config.data.members.items():
        if set(members) <= set(ensemble.names):
            stems |= {member: member for member in members}
        elif source in ensemble.names:
            stems[members[0]] = source
        else:
            known = ", ".join(ensemble.names)
            raise ValueError(
                f"train.teacher={name} separates {known}: data.sources has {source!r}; "
                f"{nearest(source, ensemble.names)}; or make it of the teacher's stems "
                f"by data.sums={source}=A+B"
            )
    # Stems of all that sounds sum to the music itself, which the student hears then.
    whole = sorted(stems.values()) == sorted(ensemble.names)
    return Teacher(config, dataclasses.replace(ensemble, exact=whole), stems, cache)


def media(folder: Path) -> list[Path]:
    """Find the recordings that a teacher separates; of songs with stems, the mixture.

    Raises:
        DataError: there are none.
    """
    if not folder.is_dir():
        raise DataError(f"train.teacher_music={folder} is not a folder")
    files = media_files(folder)
    mixed = {path.parent for path in files if path.stem.lower() == MIXTURE}
    files = [p for p in files if p.parent not in mixed or p.stem.lower() == MIXTURE]
    if not files:
        raise DataError(f"train.teacher_music={folder} holds no file of sound")
    return files


def _name(job: Track | Path) -> str:
    return job.name if isinstance(job, Track) else f"{job.parent.name}/{job.stem}"


def _decoded(manifest: Manifest, path: Path) -> LoadedTrack:
    """A recording with the rate and the channels of the data, without true stems."""
    audio = open_part(path)
    wave = np.concatenate([*audio.blocks()])
    channels = min(manifest.channels, 2)
    if wave.shape[1] != channels:
        wave = wave.mean(1, keepdims=True).repeat(channels, 1)
    wave = resample(wave, audio.sample_rate, manifest.sample_rate)
    facts = path.stem, manifest.sample_rate, manifest.classes
    return LoadedTrack(*facts, wave, np.zeros((0, *wave.shape), np.float32))


def _shared(
    manifest: Manifest,
    own: Sequence[Track],
    taught: Sequence[tuple[str, Path]],
    share: float,
) -> Songs:
    """The songs of both kinds, repeated so that the taught ones have their share."""
    files, tracks = [], []
    for name, folder in taught:
        stems = {}
        for label in manifest.classes:
            file = probe(str(folder / f"{label}.wav"))
            stems[label] = Stem(len(manifest.files) + len(files))
            files.append(file)
        tracks.append(Track(f"{name} (teacher)", "train", name, file.frames, stems))
    once, again = repeats(len(own), len(tracks), share)
    return Songs(tuple(files), (*own,) * once + (*tracks,) * again)


def repeats(own: int, taught: int, share: float) -> tuple[int, int]:
    """Return how often songs of both kinds are repeated for a share of the second.

    Example:
        >>> repeats(6, 2, 0.5), repeats(6, 2, 1.0)
        ((1, 3), (0, 1))
    """
    if share == 1 or not own:
        return 0, 1
    pairs = ((a, b) for a in range(1, MOST + 1) for b in range(1, MOST + 1))

    def error(pair: tuple[int, int]) -> tuple[float, int]:
        first, second = pair[0] * own, pair[1] * taught
        return abs(second / (first + second) - share), sum(pair)

    return min(pairs, key=error)
