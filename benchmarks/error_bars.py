"""Can a stem tell how good it is? Seconds of held-out songs, song by song.

    python benchmarks/error_bars.py runs/seeds /path/to/songs

The runs of several seeds separate every song; in each second, the SI-SDR of their mean
is predicted from how far they are apart, how loud the stem is beside the mixture, and
how loud the mixture is: a quadratic form of all or some of them, with the 10 % and 90 %
quantiles of its residuals as a band. Each song is predicted from the others. Printed:
R squared over the mean of the class, and the share of seconds within the band.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.manifest import SPLITS
from data_pipelines.pipeline import open_data
from sepjax.config import Config, resolve
from sepjax.inference.separate import separate
from sepjax.inference.separator import seed_folders
from sepjax.losses import si_sdr
from sepjax.train.load import load

TINY = 1e-12
FEATURES = {"apart": [0], "share": [1], "apart, share": [0, 1], "all": [0, 1, 2]}


class Seconds(NamedTuple):
    """The seconds of a stem of a song in which it sounds."""

    song: str
    stem: str
    features: np.ndarray
    score: np.ndarray  # SI-SDR, dB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, help="folder of several seeds")
    parser.add_argument("songs", type=Path)
    parser.add_argument("--skip", nargs="*", default=[], help="songs that trained them")
    arguments = parser.parse_args()
    rows = list(measured(arguments.runs, arguments.songs, arguments.skip))
    print(f"{'held out':12s} {'stem':14s} {'features':14s} seconds    R2  in the band")
    for song in dict.fromkeys(row.song for row in rows):
        for stem in dict.fromkeys(row.stem for row in rows):
            parts = [row for row in rows if row.stem == stem]
            known = [row for row in parts if row.song != song]
            held = [row for row in parts if row.song == song]
            for name, columns in FEATURES.items():
                count, share, inside = predicted(known, held, columns)
                line = f"{song:12s} {stem:14s} {name:14s} {count:7d} {share:5.2f}"
                print(f"{line} {inside:11.0%}")


def measured(runs: Path, root: Path, skip: list[str]) -> Iterator[Seconds]:
    """Separate all songs by all seeds."""
    models = [load(folder) for folder in seed_folders(runs)]
    config: Config = models[0][2]
    config.data.dataset, config.data.root, config.data.speeds = "folder", str(root), ()
    data = open_data(resolve(config))
    how = dict(normalize=config.data.normalize, rescale=config.eval.rescale)
    for track in itertools.chain.from_iterable(map(data.tracks, SPLITS)):
        if track.name in skip:
            continue
        rate, mixture = track.sample_rate, track.mixture
        made = [separate(m, v, mixture, sample_rate=rate, **how) for m, v, _ in models]
        for stem, reference in zip(track.classes, track.references):
            each = np.stack([seconds(one[stem], rate) for one in made])
            true, whole = seconds(reference, rate), seconds(mixture, rate)
            yield described(track.name, stem, each, true, whole)


def described(song: str, stem: str, each: np.ndarray, *waves: np.ndarray) -> Seconds:
    """Features and scores of the seconds in which the true stem is to be heard."""
    (true, whole), mean = waves, each.mean(0)
    apart = level(each - mean, over=(0, -1))
    features = [apart - level(mean), level(mean) - level(whole), level(whole)]
    sounds = level(true) > np.maximum(level(whole).max() - 60, level(whole) - 40)
    score = np.clip(np.asarray(si_sdr(true, mean)), -30, 40)
    return Seconds(song, stem, np.stack(features, 1)[sounds], score[sounds])


def predicted(
    known: list[Seconds], held: list[Seconds], columns: list[int]
) -> tuple[int, float, float]:
    """Seconds, R squared over the mean of the class, and the share within the band."""
    x, y = joined(known, columns)
    weights, *_ = np.linalg.lstsq(x, y, rcond=None)
    low, high = np.quantile(y - x @ weights, [0.1, 0.9])
    rows, true = joined(held, columns)
    error = true - rows @ weights
    share = 1 - (error**2).sum() / ((true - y.mean()) ** 2).sum()
    return len(true), share, ((low <= error) & (error <= high)).mean()


def joined(rows: list[Seconds], columns: list[int]) -> tuple[np.ndarray, np.ndarray]:
    x = np.concatenate([row.features for row in rows])[:, columns]
    x = np.concatenate([np.ones((len(x), 1)), x, x * x], 1)
    return x, np.concatenate([row.score for row in rows])


def seconds(wave: np.ndarray, rate: int) -> np.ndarray:
    count = len(wave) // rate
    return wave[: count * rate].reshape(count, -1).astype(np.float64)


def level(waves: np.ndarray, over: tuple[int, ...] = (-1,)) -> np.ndarray:
    """Energy in dB; its mean over seeds, where they are among the axes."""
    count = waves.shape[0] if 0 in over else 1
    return 10 * np.log10((waves * waves).sum(over) / count + TINY)


if __name__ == "__main__":
    main()
