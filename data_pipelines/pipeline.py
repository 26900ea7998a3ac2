"""From a configuration to batches: the one door of this package."""

import dataclasses
import functools
import importlib
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jax.sharding import NamedSharding

from data_pipelines.audio.canonical import canonicalize
from data_pipelines.doctor import overlap
from data_pipelines.doctor.same_audio import Pair
from data_pipelines.feeding import host, live, resident, schedule, sounding
from data_pipelines.manifest import (
    SPLITS,
    AudioFile,
    DataError,
    LoadedTrack,
    Manifest,
    Track,
)
from data_pipelines.registry import build_manifest
from sepjax.config import Config, with_values


class Songs(NamedTuple):
    """Songs to train on, and files to be put behind those of the manifest."""

    files: tuple[AudioFile, ...]
    tracks: tuple[Track, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A dataset, ready to be trained on; made by :func:`open_data`."""

    config: Config
    manifest: Manifest  # canonical: every file 16-bit PCM WAV at data.sample_rate
    digest: str  # SHA-256 of the dataset as distributed
    sharding: NamedSharding | None = None  # of the resident feeder's batches
    venue: live.Venue = dataclasses.field(default_factory=live.Venue)
    distributed: Manifest | None = None  # the same before it was made canonical
    cache: str | Path | None = None

    @property
    def chunk(self) -> int:
        """Frames of a chunk."""
        return round(self.config.data.chunk_seconds * self.config.data.sample_rate)

    def train_batches(
        self,
        start_step: int,
        stop_step: int,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[dict]:
        """Yield this process's rows of batches of steps start_step to stop_step - 1.

        Yields:
            ``chunks`` int16 (batch, sources, time, file channels), ``gains`` float32
            (batch, sources, channels), ``channel`` int32 (batch, sources), as
            :func:`sepjax.functional.augment.prepare_excerpts` takes them. A pure
            function of (config.seed, step), the same from all feeders. With
            ``train.seeds`` = K there are K times as many rows, and row ``b K + k``
            is row ``b`` of the run with seed ``config.seed + k``. With ``live.train``
            what :func:`data_pipelines.feeding.live.train_rows` adds, on the host.
        """
        size = self.config.train.batch_size
        rows = schedule.rows_of_process(size, process_index, process_count)
        plans = self._train_plans(start_step, stop_step, rows)
        if (feeder := self.config.data.feeder) != "resident":
            # Imported on use: one of them brings tensorflow along.
            module = importlib.import_module(f"data_pipelines.feeding.{feeder}")
            batches = module.feed(self.manifest, plans, self.chunk)
        else:
            batches = resident.feed(self.store, plans, self.chunk, self.sharding)
        if not self.config.live.train:
            return batches
        draw = functools.partial(live.train_rows, self.config, self.venue, self.seeds)
        steps = enumerate(batches, start_step)
        return (batch | draw(step, rows) for step, batch in steps)

    def _train_plans(
        self, start_step: int, stop_step: int, rows: slice
    ) -> Iterator[schedule.Plan]:
        config, table = self.config, self.table("train")
        for first, last in schedule.windows(start_step, stop_step):
            what = config.train.batch_size, first, last, config.model.audio_channels
            plans = [
                schedule.train_plans(table, config.data, seed, *what)
                for seed in self.seeds
            ]
            mine = [schedule.take(plan, (slice(None), rows)) for plan in plans]
            yield schedule.interleave(mine)

    @property
    def resident_bytes(self) -> int:
        """Bytes that the resident feeder keeps on each device; other feeders: 0."""
        if self.config.data.feeder != "resident":
            return 0
        tracks = self.manifest.split("train")
        return resident.store_bytes(self.manifest, tracks, self.chunk)

    def first_batch(self) -> dict[str, np.ndarray]:
        """The whole batch of step 0, read on the host whatever the feeder."""
        config = with_values(self.config, {"data.feeder": "streaming"})
        return next(dataclasses.replace(self, config=config).train_batches(0, 1))

    def valid_batches(
        self, batch_size: int, process_index: int = 0, process_count: int = 1
    ) -> Iterator[dict]:
        """All consecutive chunks of the validation split, as recorded.

        Yields:
            The arrays of :meth:`train_batches` and ``weight`` float32 (batch,), which
            is 0 for the silent rows that fill the last batch. As in training, a
            process gets its rows of every batch.
        """
        data = self.config.data
        chunk = round((data.valid_seconds or data.chunk_seconds) * data.sample_rate)
        plan = schedule.valid_plans(self.table("valid"), chunk)
        rows = schedule.rows_of_process(batch_size, process_index, process_count)
        count = len(plan.file)
        for first in range(0, count, batch_size):
            index = np.arange(first, first + batch_size)[rows]
            batch = schedule.take(plan, np.minimum(index, count - 1))
            weight = (index < count).astype(np.float32)
            file = np.where(weight[:, None] > 0, batch.file, -1).astype(np.int32)
            batch = host.read_chunks(self.manifest, batch._replace(file=file), chunk)
            if self.config.live.train:
                where = int(index[0]), len(index), chunk
                batch |= live.valid_rows(self.config, self.venue, *where)
            yield batch | {"weight": weight}

    def track_names(self, step: int) -> list[str]:
        """Return the training tracks in the batch of a step, each once."""
        tracks, mix = self.manifest.split("train"), self.config.data.mix
        shape = len(tracks), len(self.manifest.classes)
        window = self.config.train.batch_size, step, step + 1
        rows = [schedule.source_tracks(mix, shape, s, *window) for s in self.seeds]
        names = (tracks[row].name for row in np.concatenate(rows, axis=None))
        return list(dict.fromkeys(names))

    @functools.cached_property
    def twins(self) -> dict[str, Pair]:
        """Tracks of valid and test that training uses under another name."""
        manifest = self.distributed or self.manifest
        if self.config.train.teacher_music:  # more than was distributed
            manifest = self.manifest
        return overlap.trained_twins(manifest, cache=self.cache)

    @property
    def seen(self) -> dict[str, str]:
        """Every track used in training -> "" if by its own name, else the reason."""
        twins = {name: overlap.reason(pair) for name, pair in self.twins.items()}
        if self.config.data.all_sound:  # parts are seen as their songs are
            parts = {t.name: sounding.song_of(t.name) for t in self.manifest.tracks}
            twins |= {p: twins[song] for p, song in parts.items() if song in twins}
        names = (track.name for track in self.manifest.split("train"))
        return dict.fromkeys(names, "") | twins

    def songs(self, split: str) -> list[str]:
        """Return the songs of a split, each once, however many parts it has."""
        names = [track.name for track in self.manifest.split(split)]
        if self.config.data.all_sound:
            names = list(dict.fromkeys(map(sounding.song_of, names)))
        return names

    def require_unseen(self) -> list[str]:
        """Refuse to train on songs that are scored, unless ``data.allow_overlap``.

        The sentences that are returned name those that training may use all the same.

        Raises:
            DataError: tracks of valid or test occur in train; all are named.
        """
        if not self.config.data.allow_overlap:
            overlap.refuse(self.manifest, self.twins)
        return [f"{name}: {overlap.reason(p)}" for name, p in self.twins.items()]

    @property
    def seeds(self) -> range:
        """The seeds that are trained side by side."""
        return range(self.config.seed, self.config.seed + self.config.train.seeds)

    def tracks(self, split: str, part: slice = slice(None)) -> Iterator[LoadedTrack]:
        """Yield the whole songs of a split, one by one; with ``live.eval`` live."""
        tracks = self.manifest.split(split)[part]
        songs = (host.load_track(self.manifest, track) for track in tracks)
        return (self._heard(self._summed(song)) for song in songs)

    def _summed(self, track: LoadedTrack) -> LoadedTrack:
        """The song with the classes of the configuration: sums of recorded ones."""
        members = self.config.data.members
        if not self.config.data.sums:
            return track
        place = track.classes.index
        sums = [track.references[[*map(place, m)]].sum(0) for m in members.values()]
        return track._replace(classes=tuple(members), references=np.stack(sums))

    def _heard(self, track: LoadedTrack) -> LoadedTrack:
        if not self.config.live.eval:
            return track
        made = live.live_track(track, self.config, self.venue)
        return made.clean if self.config.live.targets == "clean" else made.recorded

    def table(self, split: str) -> schedule.TrackTable:
        """The tracks of a split as arrays."""
        return schedule.track_table(self.manifest, self.manifest.split(split))

    @functools.cached_property
    def store(self) -> resident.Store:
        """The training split on the device; read on first use."""
        tracks = self.manifest.split("train")
        return resident.build_store(self.manifest, tracks, self.chunk, self.sharding)


def open_data(
    config: Config,
    *,
    cache: str | Path | None = None,
    sharding: NamedSharding | None = None,
    songs: Callable[[Manifest], Songs] | None = None,
) -> Data:
    """Find, check and canonicalize the dataset of a configuration.

    Args:
        config: resolved (:func:`sepjax.config.resolve`).
        cache: folder for converted audio; ``$SEPJAX_CACHE`` or ``~/.cache/sepjax``
            by default.
        sharding: of the global batches that the resident feeder yields; its audio is
            on every device of this sharding's mesh. Batches are local without it.
        songs: makes those that train of the canonical manifest, as a teacher does.

    Raises:
        ValueError: the dataset's name is not known.
        DataError: the data cannot be used; all problems are listed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     data = open_data(Config(), cache=cache)
        ...     batch = next(data.train_batches(start_step=0, stop_step=1))
        >>> batch["chunks"].shape  # batch, sources, time, channels
        (4, 4, 64000, 1)
    """
    data = config.data
    manifest = build_manifest(data.dataset, data.root, data.recorded, data.missing)
    if manifest.channels > 2 and config.model.audio_channels == 2:
        raise DataError(
            f"dataset '{manifest.name}' has {manifest.channels} channels, a stereo"
            " model hears 2: mix it down, or use --config.model.audio_channels=1"
        )
    digest = manifest.digest()
    if data.missing == "skip":
        manifest = manifest.with_whole_songs()
    if data.songs:
        manifest = manifest.with_songs(data.songs)
    canonical = canonicalize(at_speeds(manifest, data.speeds), data.sample_rate, cache)
    if songs:
        canonical = with_training(canonical, songs(canonical))
    if data.all_sound:
        canonical = sounding.keep_sounding(canonical, data)
    venue = live.open_venue(config, cache)
    return Data(config, canonical, digest, sharding, venue, manifest, cache)


def with_training(manifest: Manifest, songs: Songs) -> Manifest:
    """Return the data set with other training songs."""
    kept = (track for track in manifest.tracks if track.split != "train")
    files = manifest.files + songs.files
    return dataclasses.replace(manifest, files=files, tracks=(*songs.tracks, *kept))


def at_speeds(manifest: Manifest, speeds: Collection[float]) -> Manifest:
    """Add every training song at every speed: a faster one is higher and shorter.

    Example:
        >>> from data_pipelines.manifest import Stem
        >>> song = Track("a", "train", "a", 800, {"vocals": Stem(0)})
        >>> file = AudioFile("a.wav", 800, 1, 8000)
        >>> one = Manifest("none", "", 8000, 1, ("vocals",), (file,), (song,))
        >>> more = at_speeds(one, [0.5])
        >>> [(track.name, more.files[track.stems["vocals"].file].sample_rate)
        ...     for track in more.tracks]
        [('a', 8000), ('a x 0.5', 4000)]
    """
    files, tracks = [*manifest.files], [*manifest.tracks]
    for speed, track in itertools.product(speeds, manifest.tracks):
        if track.split == "train":
            stems = {}
            for name, stem in track.stems.items():
                stems[name] = dataclasses.replace(stem, file=len(files))
                file = manifest.files[stem.file]
                rate = round(file.sample_rate * speed)
                files.append(dataclasses.replace(file, sample_rate=rate))
            name, parts = f"{track.name} x {speed:g}", dict(stems=stems, mixture=None)
            tracks.append(dataclasses.replace(track, name=name, **parts))
    return dataclasses.replace(manifest, files=tuple(files), tracks=tuple(tracks))


def summary(manifest: Manifest) -> dict[str, dict[str, float]]:
    """List tracks and hours of each split, and in how many tracks a class sounds."""
    facts = {}
    for split in SPLITS:
        if tracks := [track for track in manifest.tracks if track.split == split]:
            hours = sum(track.frames for track in tracks) / manifest.sample_rate / 3600
            sounding = Counter(name for track in tracks for name in track.stems)
            counts = {name: sounding[name] for name in manifest.classes}
            facts[split] = {"tracks": len(tracks), "hours": hours} | counts
    return facts


def silent_classes(manifest: Manifest) -> list[str]:
    """Say of each split which classes sound in none of its tracks."""
    end = {"train": "nothing of it is learned"}
    return [
        f"class '{name}' sounds in no track of {split}: "
        + end.get(split, "it has no score there")
        for split, facts in summary(manifest).items()
        for name in manifest.classes
        if not facts[name]
    ]
