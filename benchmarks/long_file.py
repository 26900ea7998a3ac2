"""Separate a long file with Open-Unmix: time and peak memory.

    python benchmarks/long_file.py --minutes 60

Stereo noise at 44.1 kHz, four targets of the size of umxhq with random weights, one EM
iteration, chunks of 20 s: from a WAV file to four, block by block, as ``sepjax
separate`` does it.
"""

import argparse
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import soundfile
from bss_eval import peak_mib

from data_pipelines.audio.files import probe, read_blocks
from sepjax.inference.chunks import Chunking
from sepjax.inference.places import Place
from sepjax.inference.stems import StemFiles
from sepjax.inference.stream import SeparationStream
from sepjax.models.open_unmix.model import OpenUnmix

RATE, TEN_SECONDS = 44100, 441000


def write_noise(path: Path, minutes: float) -> None:
    """Stereo noise, seeded, 16 bit."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for _ in range(round(minutes * 6)):
            file.write(rng.normal(0, 0.1, (TEN_SECONDS, 2)).clip(-1, 1))


def main() -> None:
    """Write, separate, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--hidden", type=int, default=512, help="channels inside")
    args = parser.parse_args()
    names = ("vocals", "drums", "bass", "other")
    model = OpenUnmix(names, RATE, audio_channels=2, hidden=args.hidden)
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 2, RATE)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        write_noise(path, args.minutes)
        file, began = probe(str(path)), (time.perf_counter(), time.process_time())
        stream = SeparationStream(
            model,
            variables,
            lambda: read_blocks(file),
            sample_rate=RATE,
            chunking=Chunking(chunk=20.0, overlap=0.1, rescale=False),
        )
        with StemFiles(Place.of(Path(folder) / "stems"), names, RATE) as stems:
            for block in stream:
                stems.append(block)
            stems.write(stream.stems)
        wall, cpu = (
            now - then
            for now, then in zip((time.perf_counter(), time.process_time()), began)
        )
    print(
        f"{args.minutes:g} minutes: {wall:.1f} s, {cpu:.1f} processor seconds, "
        f"peak {peak_mib():.0f} MiB"
    )


if __name__ == "__main__":
    main()
