"""Recordings of noise, written and read, for tests of preparation."""

import hashlib

import soundfile

from data_pipelines.collections.collection import Collection, Output, Part, SplitRules

RATE = 8000
CLASSES = ("drum", "bass", "other")


def write(folder, name, samples, rate=RATE):
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / name, samples, rate, subtype="PCM_16")
    return Part(name, name.split("-")[0])


def collection(root, recordings, **rules):
    every = {
        "output": Output(rate=RATE),
        "splits": SplitRules(counts={"train": 2, "valid": 1, "test": 1}),
    }
    return Collection(CLASSES, tuple(recordings), root=str(root), **(every | rules))


def tree(folder):
    """Every visible file's bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".prepare" not in path.parts
    }


def read(path):
    return soundfile.read(path, dtype="int16", always_2d=True)[0]
