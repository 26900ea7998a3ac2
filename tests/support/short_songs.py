"""Songs of two seconds in the layout of a folder, for runs of the whole program.

The demo music lasts half a minute a song, and scoring it takes most of a tiny run.
"""

from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS = 8000, 2
HERTZ = {"drums": 2500.0, "bass": 90.0, "other": 700.0, "vocals": 300.0}
CONFIG = "configs/demo.py:remixed"


def write_songs(root: Path, train: int = 4, valid: int = 8) -> Path:
    """Write tones that waver, each source around a pitch of its own; returns root."""
    rng = np.random.default_rng(0)
    for split, count in {"train": train, "valid": valid}.items():
        for song in range(count):
            folder = root / split / f"{split} {song}"
            folder.mkdir(parents=True)
            for name, hertz in HERTZ.items():
                steps = rng.normal(hertz, hertz / 4, SECONDS * RATE) / RATE
                wave = np.sin(2 * np.pi * np.cumsum(steps))
                wave *= rng.uniform(0.05, 0.2)
                soundfile.write(folder / f"{name}.wav", wave, RATE, "PCM_16")
    return root


def short(root: Path) -> dict[str, object]:
    """Fields of ``tests.tiny_run.flags`` for these songs."""
    return {"data__root": root, "data__valid_seconds": 1.0}
