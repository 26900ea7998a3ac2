"""What concerts do to clean stems: damage in dB per class, and a picture.

    python benchmarks/live_music.py [--figure live.png] [--set crowd_low=10 ...]

On the test songs of the demo music, made live as an evaluation with ``live.eval`` makes
them. Damage is the SI-SDR of the recorded stem against the clean one, over whole songs
in which the class sounds.
"""

import argparse

import numpy as np

from data_pipelines.feeding.live import LiveTrack, live_track
from data_pipelines.pipeline import open_data
from sepjax.config import Config, resolve
from sepjax.evaluation.whole_track import si_sdr
from sepjax.report.figures.spectrogram import spectrogram

CLASSES = ("vocals", "drums", "bass", "electric_guitar", "wind", "other")
SECONDS = 6.0


def main() -> None:
    """Print the table; draw the figure if a path is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", default="")
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    arguments = parser.parse_args()
    config = Config()
    config.data.sources = CLASSES
    for name, value in (pair.split("=") for pair in arguments.set):
        setattr(config.live, name, float(value))
    config = resolve(config)
    data = open_data(config)
    pairs = [live_track(track, config, data.venue) for track in data.tracks("test")]
    print("| class | songs | median | least | most |\n|---|---|---|---|---|")
    for index, name in enumerate(config.data.sources):
        values = [value for pair in pairs if np.isfinite(value := damage(pair, index))]
        found = np.median(values), min(values), max(values)
        print(
            f"| {name} | {len(values)} | "
            + " | ".join(f"{v:.1f}" for v in found)
            + " |"
        )
    if arguments.figure:
        draw(max(pairs, key=voices), arguments.figure)


def damage(pair: LiveTrack, index: int) -> float:
    """SI-SDR of what a microphone recorded against what was played, dB."""
    clean, recorded = (track.references[index] for track in pair)
    return float(si_sdr(clean, recorded)) if clean.any() else np.nan


def voices(pair: LiveTrack) -> float:
    """How loud the voice is in the first seconds."""
    index = pair.clean.classes.index("vocals")
    frames = round(SECONDS * pair.clean.sample_rate)
    return float(np.square(pair.clean.references[index, :frames]).sum())


def draw(pair: LiveTrack, path: str) -> None:
    """Voice and mixture, clean and live, on one scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from PIL import Image

    recorded, clean = pair
    rate, index = clean.sample_rate, clean.classes.index("vocals")
    frames = round(SECONDS * rate)
    rows = {
        "voice, clean": clean.references[index],
        "voice, as its microphone records it": recorded.references[index],
        "mixture of clean stems": clean.references.sum(0),
        "mixture of the concert": recorded.mixture,
    }
    figure, axes = plt.subplots(
        2, 2, figsize=(8, 4.4), dpi=80, sharex=True, sharey=True
    )
    for axis, (title, wave) in zip(axes.T.flat, rows.items()):
        picture = spectrogram(wave[:frames, 0], rate)
        axis.imshow(
            picture,
            origin="lower",
            aspect="auto",
            vmin=-85,
            vmax=-15,
            cmap="magma",
            extent=(0, SECONDS, 0, 1),
        )
        axis.set_title(title, fontsize=9)
        axis.set_yticks([])
    for axis in axes[1]:
        axis.set_xlabel("seconds", fontsize=8)
    figure.text(
        0.01, 0.5, f"60 Hz to {rate / 2000:g} kHz, mel", rotation=90, va="center"
    )
    figure.tight_layout(rect=(0.03, 0, 1, 1))
    figure.canvas.draw()
    # 32 colors: noise makes full ones a file of half a megabyte.
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    picture.quantize(32).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
