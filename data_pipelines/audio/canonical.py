"""Canonical audio: every file a 16-bit PCM WAV at one rate, converted once.

Both feeders read these files, hence the same integers. A file that already is one
stays in place; any other is decoded and resampled into the cache, under a name made
of its content, so datasets, runs and concurrent processes share the result.
"""

import dataclasses
import warnings
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data_pipelines.audio.files import probe, read_blocks
from data_pipelines.audio.int16 import packed, to_int16
from data_pipelines.audio.resample import resample, scale_frames
from data_pipelines.manifest import AudioFile, DataError, Manifest, Stem, Track
from data_pipelines.workers import in_order
from sepjax import download
from sepjax.storage import atomic_file

VERSION = 1  # of the conversion; part of the names in the cache
LARGEST = 2**32 - 65  # bytes of samples that a WAV can hold


def canonicalize(
    manifest: Manifest, sample_rate: int, cache: str | Path | None = None
) -> Manifest:
    """Return the same dataset, read from 16-bit PCM WAV files at ``sample_rate``.

    Files are resampled by soxr; files that loop, circularly, so that their ends still
    meet. Frames and starts are rounded to the new rate. Samples beyond full scale are
    clipped, with a warning that names the files.

    Args:
        manifest: A checked manifest.
        sample_rate: In Hz.
        cache: Folder for the converted files; :func:`cache_folder` by default.

    Raises:
        DataError: files cannot be decoded, or the cache cannot be written.
    """
    folder = cache_folder(cache) / "audio"
    loops = {s.file for t in manifest.tracks for s in t.stems.values() if s.loop}
    jobs = [
        (manifest, file, sample_rate, index in loops, folder)
        for index, file in enumerate(manifest.files)
    ]
    files, clipped, problems = [], [], []
    for job, result in zip(jobs, in_order(_convert, jobs, "converting audio")):
        if isinstance(result, DataError):
            problems.append(str(result))
            continue
        files.append(result[0])
        if result[1]:
            clipped.append(f"{manifest.path(job[1])}: {result[1]} samples")
    if problems:
        raise DataError.of(f"dataset '{manifest.name}'", dict.fromkeys(problems))
    if clipped:
        lines = "\n  ".join(clipped)
        warnings.warn(f"clipped at full scale:\n  {lines}", stacklevel=2)
    tracks = tuple(_track(manifest, track, sample_rate) for track in manifest.tracks)
    return dataclasses.replace(
        manifest, sample_rate=sample_rate, files=tuple(files), tracks=tracks
    )


def cache_folder(cache: str | Path | None = None) -> Path:
    """Return the given folder, else ``$SEPJAX_CACHE``, else ``~/.cache/sepjax``."""
    return Path(cache).expanduser() if cache else download.cache_folder()


def _convert(
    manifest: Manifest, file: AudioFile, sample_rate: int, loop: bool, folder: Path
) -> tuple[AudioFile, int]:
    """The canonical form of one file, and how many samples were clipped."""
    if file.data_offset >= 0 and file.sample_rate == sample_rate:
        return file, 0
    kind = "loop" if loop and file.sample_rate != sample_rate else "wav"
    rates = f"{file.sample_rate}-{sample_rate}"
    name = f"{manifest.file_digest(file)}-{rates}-{kind}{VERSION}.wav"
    path = folder / name
    if path.exists():
        try:
            return dataclasses.replace(probe(str(path)), digest=""), 0
        except DataError:  # damaged by others; it is made anew
            path.unlink(missing_ok=True)
    source = dataclasses.replace(file, path=manifest.path(file))
    audio = np.concatenate(list(read_blocks(source)))
    audio = resample(audio, file.sample_rate, sample_rate, loop)
    samples, clipped = to_int16(audio)
    _write_wav(path, samples, sample_rate)
    return dataclasses.replace(probe(str(path)), digest=""), clipped


def _write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    if samples.nbytes > LARGEST:
        raise DataError(f"{path}: more than 4 GiB of samples; split the song")
    try:
        with (
            atomic_file(path) as file,
            open_wav(file, samples.shape[1], sample_rate) as writer,
        ):
            writer.writeframes(packed(samples, 2))
    except OSError as error:
        raise DataError(
            f"cannot write the cache {path.parent}: {error.strerror or error};"
            " free some space or name another folder in $SEPJAX_CACHE"
        ) from error


def open_wav(
    file: BinaryIO | str | Path, channels: int, sample_rate: int, width: int = 2
) -> wave.Wave_write:
    """Open a PCM WAV file for writing, of ``width`` bytes per sample.

    Its bytes follow from the samples alone: there is no date in it.
    """
    writer = wave.open(str(file) if isinstance(file, Path) else file, "wb")
    writer.setnchannels(channels)
    writer.setsampwidth(width)
    writer.setframerate(sample_rate)
    return writer


def _track(manifest: Manifest, track: Track, new: int) -> Track:
    stems: Sequence[Stem] = [*track.stems.values(), *filter(None, [track.mixture])]
    old = manifest.files[stems[0].file].sample_rate if stems else manifest.sample_rate
    if old == new:
        return track

    def move(stem: Stem) -> Stem:
        return dataclasses.replace(stem, start=scale_frames(stem.start, old, new))

    return dataclasses.replace(
        track,
        frames=max(scale_frames(track.frames, old, new), 1),
        stems={name: move(stem) for name, stem in track.stems.items()},
        mixture=track.mixture and move(track.mixture),
    )
