"""Excerpts of a run: reading them, and encoding them for the page."""

import functools
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sepjax.report.html.pictures import data_uri
from sepjax.report.run_folder import inside

BUDGET = 5_400_000  # bytes of audio on one page: 7.2 MB as base64
MOST_SAMPLES = 1 << 26  # of an excerpt, which lasts seconds
LOUDEST = 1e6  # full scale is 1; squares of float32 stay finite
MP3_COMPRESSION = (0.25, 0.5, 0.7)  # at 16 kHz: 130, 81, 57 kbit/s
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class ExcerptAudio(NamedTuple):
    """A few seconds of a track: all arrays are (time, channels)."""

    track: str
    start: float  # seconds into the track
    sample_rate: int
    mixture: np.ndarray
    references: dict[str, np.ndarray]
    estimates: dict[str, np.ndarray]

    @property
    def clips(self) -> list[np.ndarray]:
        """Every wave that a reader of the page can play."""
        return [self.mixture, *self.references.values(), *self.estimates.values()]


def read_excerpt(run: Path, entry: dict[str, Any]) -> ExcerptAudio:
    """Read the audio of one entry of audio/index.json, from files of the run alone.

    Raises:
        ValueError: a file is missing, elsewhere or no audio; names it and what to do.
    """
    rate = entry["sample_rate"]
    read = functools.partial(_read, run, rate)
    references, estimates = (
        {name: read(path) for name, path in entry[side].items()}
        for side in ("references", "estimates")
    )
    where = entry["track"], float(entry.get("start", 0.0)), rate
    return ExcerptAudio(*where, read(entry["mixture"]), references, estimates)


def _read(run: Path, sample_rate: int, name: str) -> np.ndarray:
    import soundfile

    # Paths count from audio/, or from the run folder itself.
    advice = "audio/index.json lists it: evaluate the run again, or delete its audio"
    try:
        path = inside(run, f"audio/{name}")
        path = path if path.exists() else inside(run, name)
    except ValueError as error:
        raise ValueError(f"{error}; {advice}") from None
    try:
        with soundfile.SoundFile(path) as file:
            rate, samples = file.samplerate, file.frames * file.channels
            if not 0 < samples <= MOST_SAMPLES:
                raise ValueError(f"{path}: has {file.frames} frames; {advice}")
            wave = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); {advice}") from None
    if rate != sample_rate:
        raise ValueError(f"{path}: has {rate} Hz, not {sample_rate} Hz; {advice}")
    if not len(wave) or not (np.abs(wave) < LOUDEST).all():
        raise ValueError(f"{path}: has no samples, or infinite ones; {advice}")
    return wave


def encode(excerpts: list[ExcerptAudio]) -> tuple[list[list[str]], str]:
    """Return data URIs of every clip, and a note where they hold other samples.

    16-bit WAV while that fits the budget, without a note; MP3 as good as fits beyond
    it: both play and seek in all current browsers. (FLAC would be lossless and half as
    large, but Chromium's player dies on a seek into the last frames of a file.)
    """
    for write in (_wav, *(functools.partial(_mp3, c) for c in MP3_COMPRESSION)):
        encoded = [[write(clip, e.sample_rate) for clip in e.clips] for e in excerpts]
        if sum(len(clip) for clips in encoded for clip in clips) <= BUDGET:
            break
    kind, note = ("audio/wav", "") if write is _wav else ("audio/mpeg", "MP3")
    return [[data_uri(kind, clip) for clip in clips] for clips in encoded], note


def _wav(clip: np.ndarray, sample_rate: int) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, clip, sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _mp3(compression: float, clip: np.ndarray, sample_rate: int) -> bytes:
    import soundfile
    import soxr

    clip = clip if clip.shape[1] <= 2 else clip.mean(1)  # MP3 has no more channels
    rate = min((rate for rate in MP3_RATES if rate >= sample_rate), default=48000)
    if rate != sample_rate:
        clip = soxr.resample(clip, sample_rate, rate)
    file = io.BytesIO()
    # A constant rate: players find any moment without a table.
    options = {"compression_level": compression, "bitrate_mode": "CONSTANT"}
    soundfile.write(file, clip, rate, format="MP3", **options)
    return file.getvalue()
