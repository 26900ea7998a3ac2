"""A cache of their own for all data tests, and songs made of noise."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_pipelines.audio.files import probe
from data_pipelines.collections.collection import Recording
from data_pipelines.manifest import Manifest, Stem, Track, check
from tests.support.recordings import collection, write


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SEPJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def noise():
    """Seeded int16 noise, (frames, channels)."""

    def make(seed: int, frames: int, channels: int = 1) -> np.ndarray:
        generator = np.random.default_rng(seed)
        return generator.integers(-8000, 8000, (frames, channels)).astype(np.int16)

    return make


@pytest.fixture
def write_song(noise):
    """Write stems of noise, and their mixture if asked; returns the folder."""

    def write(folder: Path, stems, frames=800, rate=8000, mixture=True, suffix="wav"):
        folder.mkdir(parents=True)
        seed = zlib.crc32(folder.name.encode())
        audio = {name: noise(seed + i, frames) for i, name in enumerate(stems)}
        if mixture:
            audio["mixture"] = np.sum(list(audio.values()), axis=0).astype(np.int16)
        for name, samples in audio.items():
            soundfile.write(folder / f"{name}.{suffix}", samples, rate)
        return folder

    return write


@pytest.fixture
def odd_manifest(tmp_path, noise) -> Manifest:
    """Mono and stereo, loops, short and long, absent classes, starts inside files."""
    shapes = [(5000, 1), (9000, 2), (300, 2), (16384, 1), (1, 1)]
    files = []
    for index, (frames, channels) in enumerate(shapes):
        path = tmp_path / f"{index}.wav"
        soundfile.write(path, noise(index, frames, channels), 8000)
        files.append(probe(str(path)))
    tracks = [
        Track("loop", "train", "", 20000, {"x": Stem(0, 17, True, (0.5, 1.0))}),
        Track("short", "train", "", 100, {"x": Stem(2), "y": Stem(4, loop=True)}),
        Track(
            "inside", "train", "", 9000, {"y": Stem(3, 4000), "x": Stem(2, 999, True)}
        ),
        Track("ends", "train", "", 9000, {"x": Stem(1, 8000), "y": Stem(4)}),
        Track("past", "train", "", 500, {"x": Stem(2, 300), "y": Stem(1, 8500)}),
        Track("silent", "train", "", 9000, {}),
        Track("song", "valid", "", 5000, {"x": Stem(0), "y": Stem(1)}),
    ]
    manifest = Manifest("odd", "", 8000, 2, ("x", "y"), tuple(files), tuple(tracks))
    return check(manifest)


@pytest.fixture
def songs(tmp_path, noise):
    """Eight songs, some without bass; one of them has odd shapes."""
    root, recordings = tmp_path / "raw", []
    for index in range(8):
        names = ("drum-a", "drum-b", "other-a", "bass-a")[: 4 if index % 3 else 3]
        parts = []
        for number, name in enumerate(names):
            samples = noise(10 * index + number, 900 + 7 * number, 1 + number % 2)
            parts.append(write(root, f"{name}-{index}.wav", 4 * samples))
        recordings.append(Recording(f"song{index}", tuple(parts)))
    return collection(root, recordings)
