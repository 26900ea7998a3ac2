"""Folders of true stems and of what systems made of them, in little."""

import numpy as np
import soundfile

RATE = 8000
SONGS = ("one", "two", "three")


def write_systems(folder, *, noises=(0.1, 0.3), classes=("vocals",), seconds=1.0):
    """True stems and systems A, B ... that add noise, each song more than the last.

    The first half of a song is 40 dB softer. Returns the folders.
    """
    rng = np.random.default_rng(0)
    envelope = np.where(np.arange(int(seconds * RATE)) < seconds * RATE / 2, 0.01, 1)
    roots = [folder / name for name in ("true", "A", "B", "C")[: 1 + len(noises)]]
    for place, song in enumerate(SONGS):
        for class_ in classes:
            truth = rng.normal(0, 0.1, len(envelope)) * envelope
            waves = [truth] + [
                (1 + place) * noise * rng.normal(0, 0.1, len(truth)) * envelope + truth
                for noise in noises
            ]
            for root, wave in zip(roots, waves):
                (root / song).mkdir(parents=True, exist_ok=True)
                soundfile.write(root / song / f"{class_}.wav", wave, RATE, "FLOAT")
    return roots
