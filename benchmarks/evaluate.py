"""Wall time of ``sepjax evaluate`` on two folders beside museval's, whole processes.

    python benchmarks/evaluate.py SONGS --museval /other/venv/bin/python

SONGS holds ``<song>/<class>.flac`` and ``mixture.flac``. Estimates are the stems with a
tenth of the mixture in them. One JSON line for the songs as they are and one for a song
of four minutes, made of them: seconds of museval (which an interpreter with museval
computes, and which is skipped without one), of sepjax with an empty cache folder
("cold") and of a second call ("warm"), and the ratios. Run it on a machine that does
nothing else; CPU seconds stand beside, which suffer less from other work.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

LONG = 240.0  # seconds
MUSEVAL = """
import pathlib, sys, types
import numpy as np, soundfile
try:
    import musdb
except Exception:
    sys.modules["musdb"] = types.ModuleType("musdb")
import museval
truth, guess = map(pathlib.Path, sys.argv[1:])
for song in sorted(truth.iterdir()):
    names = sorted(path.name for path in (guess / song.name).iterdir())
    sides = (
        np.stack([soundfile.read(side / song.name / name)[0] for name in names])
        for side in (truth, guess)
    )
    scores = museval.evaluate(*sides, win=44100, hop=44100)
    print(song.name, np.nanmedian(scores[0], 1))
"""


def main() -> None:
    """Measure both, print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("songs", type=Path)
    parser.add_argument("--museval", help="interpreter that can import museval")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_songs(arguments.songs, root / "short", 0.0)
        write_songs(arguments.songs, root / "long", LONG)
        for name in ("short", "long"):
            print(json.dumps(measure(root / name, arguments.museval)), flush=True)


def write_songs(songs: Path, root: Path, seconds: float) -> None:
    """References and estimates: all songs, or one that repeats them for so long."""
    loaded: dict[str, list[np.ndarray]] = {}
    for song in sorted(path for path in songs.iterdir() if path.is_dir()):
        mixture, rate = soundfile.read(song / "mixture.flac", always_2d=True)
        for path in sorted(song.glob("*.flac")):
            if path.stem != "mixture":
                wave = soundfile.read(path, always_2d=True)[0]
                pair = np.stack([wave, wave + 0.1 * mixture])
                loaded.setdefault(path.name, []).append(pair)
    names = [path.name for path in sorted(songs.iterdir()) if path.is_dir()]
    if seconds:
        names, frames = ["long"], round(seconds * rate)
        loaded = {key: [repeated(waves, frames)] for key, waves in loaded.items()}
    for file, waves in loaded.items():
        for name, pair in zip(names, waves, strict=True):
            for side, wave in zip(("references", "estimates"), pair):
                path = root / side / name / file
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, wave, rate)


def repeated(waves: list[np.ndarray], frames: int) -> np.ndarray:
    """All waves in turn, each time a little softer, ``frames`` samples in all."""
    one = np.concatenate(waves, 1)
    count = -(-frames // one.shape[1])
    rounds = [one * 0.98**index for index in range(count)]
    return np.concatenate(rounds, 1)[:, :frames]


def measure(root: Path, museval: str | None) -> dict:
    """Seconds of each, and the ratios."""
    sides = [str(root / side) for side in ("references", "estimates")]
    record: dict = {"songs": root.name}
    if museval:
        record["museval"] = seconds([museval, "-c", MUSEVAL, *sides])
    options = ["--references", sides[0], "--estimates", sides[1]]
    command = [sys.executable, "-m", "sepjax.commands.cli", "evaluate", *options]
    with tempfile.TemporaryDirectory() as cache:
        for kind in ("cold", "warm"):
            out = ["-o", str(root / kind)]
            record[kind] = seconds([*command, *out], SEPJAX_CACHE=cache)
    if museval:
        for kind in ("cold", "warm"):
            pair = record[kind], record["museval"]
            record[f"{kind}/museval"] = {
                key: round(pair[0][key] / pair[1][key], 3) for key in pair[0]
            }
    return record


def seconds(command: list[str], **environment: str) -> dict[str, float]:
    """Wall and CPU seconds of a process with its children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    settings = {**os.environ, **environment}
    subprocess.run(command, check=True, env=settings, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(wall, 2), "cpu": round(spent, 2)}


if __name__ == "__main__":
    main()
