"""Time both feeders, and a torch DataLoader beside them if one is given.

    python benchmarks/feeders.py
    python benchmarks/feeders.py --peer dataloader_time.py --peer-python venv/bin/python

Work: random 8 s chunks of four stems, eight tracks of 60 s of seeded noise, 16-bit
PCM WAV in the page cache, batches of 8; 8 kHz mono and 44.1 kHz stereo. Two figures:
``int16`` until the samples of a batch are ready, ``mixed`` until gains, channel
choice, shuffling and the sum to a float32 mixture are done too, which is what the peer
delivers. One warm-up pass, then the median of the repeats. The peer is run before and
after; ratios are taken to its best number of workers.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np
import soundfile

from data_pipelines import host, resident, streaming
from data_pipelines.audio import probe
from data_pipelines.manifest import Manifest, Stem, Track
from data_pipelines.schedule import track_table, train_plans
from sepjax.config import DataConfig
from sepjax.functional.augment import prepare_excerpts

STEMS = ("vocals", "drums", "bass", "other")
FORMATS = ((8000, 1, 256), (44100, 2, 32))  # rate, channels, batches per repeat


def make_music(folder: Path, rate: int, channels: int) -> Manifest:
    files, tracks = [], []
    for index in range(8):
        stems = {}
        for number, name in enumerate(STEMS):
            generator = np.random.default_rng([index, number])
            noise = generator.integers(-8000, 8000, (60 * rate, channels))
            path = folder / f"{index}-{name}.wav"
            soundfile.write(path, noise.astype(np.int16), rate)
            stems[name] = Stem(len(files))
            files.append(probe(str(path)))
        tracks.append(Track(str(index), "train", "", 60 * rate, stems))
    return Manifest("noise", "", rate, channels, STEMS, tuple(files), tuple(tracks))


def time_feeder(feed, plan, mixed: bool, repeats: int) -> float:
    """Batches per second, the median of the repeats after one warm-up."""
    prepare = jax.jit(partial(prepare_excerpts, shuffle_fraction=0.5))
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        for batch in feed(iter([plan])):
            jax.block_until_ready(prepare(batch) if mixed else batch["chunks"])
        times.append(time.perf_counter() - begin)
    return len(plan.file) / statistics.median(times[1:])


def time_format(rate: int, channels: int, steps: int, args) -> Iterator[dict]:
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_music(Path(folder), rate, channels)
        chunk, config = 8 * rate, DataConfig(sample_rate=rate)
        table = track_table(manifest, manifest.tracks)
        plan = train_plans(table, config, 0, args.batch, 0, steps)
        store = resident.build_store(manifest, manifest.tracks, chunk)
        feeders = {
            "resident": lambda plans: resident.feed(store, plans, chunk),
            "streaming": lambda plans: streaming.feed(manifest, plans, chunk),
            "plain NumPy": lambda plans: host.feed(manifest, plans, chunk),
        }
        for name, feed in feeders.items():
            for mixed in (False, True):
                batches = time_feeder(feed, plan, mixed, args.repeats)
                yield {
                    "format": f"{rate}x{channels}",
                    "feeder": name,
                    "until": "mixed" if mixed else "int16",
                    "batches_per_s": batches,
                    "chunks_per_s": batches * args.batch,
                }


def time_peer(args) -> list[dict]:
    command = [args.peer_python, args.peer, "--threads", "2"]
    command += ["--per-track", "24", "--batch", str(args.batch)]
    command += ["--repeats", str(args.repeats)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr}")
    return [
        {
            "format": f"{record['rate']}x{record['channels']}",
            "feeder": f"DataLoader, {record['num_workers']} workers",
            "until": "mixed",
            "batches_per_s": record["chunks_per_s"] / args.batch,
            "chunks_per_s": record["chunks_per_s"],
        }
        for record in map(json.loads, result.stdout.splitlines())
    ]


def print_table(records: list[dict], peers: list[dict]) -> None:
    best: dict[str, float] = {}
    for record in peers:
        name, speed = record["format"], record["chunks_per_s"]
        best[name] = max(best.get(name, 0.0), speed)
    print("| format | feeder | until | batches/s | chunks/s | to the best peer |")
    print("| --- | --- | --- | --- | --- | --- |")
    for record in sorted(records + peers, key=lambda r: r["format"], reverse=True):
        speed = record["chunks_per_s"]
        peer = best.get(record["format"])
        print(
            f"| {record['format']} | {record['feeder']} | {record['until']} |"
            f" {record['batches_per_s']:.1f} | {speed:.0f} |"
            f" {f'{speed / peer:.2f}' if peer else ''} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", help="a script that prints DataLoader records")
    parser.add_argument("--peer-python", default=sys.executable)
    args = parser.parse_args()
    peers = time_peer(args) if args.peer else []
    records = [r for format in FORMATS for r in time_format(*format, args)]
    peers += time_peer(args) if args.peer else []
    device = jax.devices()[0]
    print(f"jax {jax.__version__} on {device.platform} ({device.device_kind})\n")
    print_table(records, peers)


if __name__ == "__main__":
    main()
