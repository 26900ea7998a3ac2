"""Prepared songs as a TensorFlow dataset: clips to train on, whole songs to judge on.

    >>> import tensorflow_datasets as tfds  # doctest: +SKIP
    >>> from data_pipelines import tfds_stems  # doctest: +SKIP
    >>> path = tfds_stems.build("songs/musdb18hq", "tensorflow")  # doctest: +SKIP
    >>> clips = tfds.data_source("tfds_stems/musdb18hq_44100", split="train",
    ...                          data_dir="tensorflow")  # doctest: +SKIP

Samples are stored as they are, 16 bits each, without compression. Training has its own
feeders, which need no such copy; this is for other programs, for file systems that only
TensorFlow reads, and for clusters, where Apache Beam builds it (``beam=True``).
"""

import dataclasses
import functools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from data_pipelines.audio.canonical import canonicalize
from data_pipelines.collections.mixing import saturate
from data_pipelines.feeding.host import map_file
from data_pipelines.manifest import DataError, Manifest, Stem, Track
from data_pipelines.readers.labels import FOUR, SIX
from data_pipelines.songs.prepared import build_manifest, read_prepared
from sepjax.registry import nearest

try:
    import tensorflow_datasets as tfds
except ImportError as error:
    raise DataError(
        "writing TensorFlow datasets needs tensorflow-datasets: pip install"
        " 'sepjax[data]'"
    ) from error

FORMATS = ("array_record", "tfrecord")
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
RATES = (44100, 8000)  # Hz; those of the thesis
# What `sepjax prepare NAME` makes by default: classes and channels.
SETS = {
    **dict.fromkeys(("musdb18", "musdb18_7s", "musdb18hq", "montreux"), (FOUR, 2)),
    **dict.fromkeys(("moisesdb", "medleydb", "karaoke"), (SIX, 2)),
    "slakh2100": (SIX[1:], 1),  # nobody sings there
}


@dataclasses.dataclass(eq=False, kw_only=True)
class StemsConfig(tfds.core.BuilderConfig):
    """A prepared folder at a rate."""

    folder: str  # in manual_dir, with prepared.jsonl
    classes: tuple[str, ...]
    channels: int
    rate: int  # Hz; songs of another rate are resampled
    clip_seconds: float = 10.0  # of training; the last one of a song is shorter
    beam: bool = False  # examples as a transform of Apache Beam


class StemsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Songs with stems, by a configuration of one's own."""

    name = "tfds_stems"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Clips to train on, whole songs to judge on."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Prepare the songs into a folder of manual_dir that is called as the data set:"
        " sepjax prepare musdb18hq --root DOWNLOADED -o manual_dir/musdb18hq"
    )
    # Beside it lie checksums of downloads; there are none, and tfds 4.9.10 cannot look
    # for them without a package that it does not ask for (importlib_resources).
    code_path = None

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config

        def audio() -> tfds.features.Tensor:
            shape = None, config.channels
            # Integers in TFDS's default encoding take three times their size.
            return tfds.features.Tensor(shape=shape, dtype=np.int16, encoding="bytes")

        features = {
            "song": tfds.features.Text(),
            "start": tfds.features.Scalar(np.int64, doc="frame of the song"),
            "sample_rate": tfds.features.Scalar(np.int32, doc="Hz"),
            "absent": tfds.features.Sequence(tfds.features.Text()),
            "mixture": audio(),
            "stems": {name: audio() for name in config.classes},
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Songs, the stems of their classes and their mixtures.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("mixture", "stems"),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        config = self.builder_config
        folder = Path(dl_manager.manual_dir, config.folder)
        manifest = build_manifest(str(folder), config.classes)
        if manifest.channels > config.channels:
            raise DataError(
                f"{folder}: songs of {manifest.channels} channels, '{config.name}' has"
                f" {config.channels}; tfds_stems.build takes a folder as it is"
            )
        manifest = canonicalize(manifest, config.rate)
        return {
            told: self._generate_examples(manifest, split)
            for split, told in SPLITS.items()
            if any(track.split == split for track in manifest.tracks)
        }

    def _generate_examples(self, manifest: Manifest, split: str) -> Any:
        config = self.builder_config
        clip = round(config.clip_seconds * config.rate) if split == "train" else 0
        form = dict(channels=config.channels, clip=clip)
        tracks = manifest.split(split)
        if not config.beam:
            return (each for t in tracks for each in examples(t, manifest, **form))
        import apache_beam as beam

        transform = functools.partial(examples, manifest=manifest, **form)
        return beam.Create(tracks) | beam.FlatMap(transform)


class TfdsStems(StemsBuilder):
    """Songs of known sets, as in ``tfds.load("tfds_stems/musdb18hq_44100")``."""

    BUILDER_CONFIGS: ClassVar = [
        StemsConfig(
            name=f"{name}_{rate}",
            description=f"{name}, {len(classes)} classes at {rate} Hz",
            folder=name,
            classes=classes,
            channels=channels,
            rate=rate,
        )
        for name, (classes, channels) in SETS.items()
        for rate in RATES
    ]


def examples(
    track: Track, manifest: Manifest, *, channels: int, clip: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and records of a song of a canonical manifest.

    Args:
        track: the song.
        manifest: its dataset.
        channels: of every array; a mono file fills all.
        clip: frames of each; 0: the whole song at once.

    Yields:
        ``song@start``, unique in a split and the same in every build, and the record.
        Stems are int16 (frames, channels); a class that is absent is silent.
    """
    absent = [name for name in manifest.classes if name not in track.stems]
    clip = clip or track.frames
    for start in range(0, track.frames, clip):
        span = start, min(start + clip, track.frames), channels
        stems = {
            name: _read(manifest, track.stems.get(name), *span)
            for name in manifest.classes
        }
        if track.mixture is None:  # of fewer classes than were prepared
            total = sum(stem.astype(np.int32) for stem in stems.values())
            mixture, _ = saturate(total, np.dtype(np.int16))
        else:
            mixture = _read(manifest, track.mixture, *span)
        record = {
            "song": track.name,
            "start": start,
            "sample_rate": manifest.sample_rate,
            "absent": absent,
            "mixture": mixture,
            "stems": stems,
        }
        yield f"{track.name}@{start:010d}", record


def _read(
    manifest: Manifest, stem: Stem | None, start: int, stop: int, channels: int
) -> np.ndarray:
    audio = np.zeros((stop - start, channels), np.int16)
    if stem is not None:
        frames = map_file(manifest, stem.file)[start:stop]
        audio[: len(frames)] = frames
    return audio


def build(
    folder: str | Path,
    output: str | Path,
    *,
    file_format: str = "array_record",
    clip_seconds: float = 10.0,
) -> Path:
    """Write the songs of a prepared folder as a TensorFlow dataset, without Beam.

    An earlier dataset of the same name there is replaced.

    Args:
        folder: what ``sepjax prepare`` made.
        output: folder of TensorFlow datasets, their ``data_dir``.
        file_format: ``array_record`` (random access, for ``tfds.data_source``) or
            ``tfrecord`` (for ``tfds.load``).
        clip_seconds: length of the clips of training songs.

    Returns:
        The folder of this dataset, for ``tfds.builder_from_directory``.

    Raises:
        ValueError: there is no such format, or clips have no length.
        DataError: the folder is no prepared one, or damaged.
    """
    if file_format not in FORMATS:
        raise ValueError(
            f"file format {file_format!r}: {nearest(file_format, FORMATS)}"
        )
    folder = Path(folder).expanduser().resolve()
    header, _ = read_prepared(folder)
    if round(clip_seconds * header["rate"]) < 1:
        raise ValueError(f"clips of {clip_seconds:g} s hold no sample")
    manifest = build_manifest(str(folder), header["classes"])
    config = StemsConfig(
        name="",
        description=f"prepared from the collection {header['name']}",
        folder=folder.name,
        classes=tuple(header["classes"]),
        channels=manifest.channels,
        rate=header["rate"],
        clip_seconds=clip_seconds,
    )
    config.name = _config_name(header["name"], config)
    builder = StemsBuilder(data_dir=output, config=config, file_format=file_format)
    how = tfds.download.DownloadConfig(
        manual_dir=folder.parent,
        download_mode=tfds.download.GenerateMode.REUSE_CACHE_IF_EXISTS,
        try_download_gcs=False,
    )
    with tempfile.TemporaryDirectory() as nothing:
        builder.download_and_prepare(download_dir=nothing, download_config=how)
    return Path(builder.data_dir)


def _config_name(name: str, config: StemsConfig) -> str:
    """The citation of a known set, if the songs have its classes and channels."""
    base = re.sub(r"[^0-9A-Za-z_-]+", "_", name)
    known = TfdsStems.builder_configs.get(f"{base}_{config.rate}", config)
    same = set(known.classes) == set(config.classes)
    if not same or known.channels != config.channels:
        base = f"{base}_{len(config.classes)}x{config.channels}"
    return f"{base}_{config.rate}"
