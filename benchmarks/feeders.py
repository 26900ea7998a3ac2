"""Time the feeders, a torch DataLoader beside them if one is given, and waiting steps.

    python benchmarks/feeders.py --wait large_hybrid_pmpgtf
    python benchmarks/feeders.py --peer dataloader_time.py --peer-python venv/bin/python

Work: random 8 s chunks of four stems, eight tracks of 60 s of seeded noise, 16-bit
PCM WAV in the page cache, batches of 8; 8 kHz mono and 44.1 kHz stereo. Two figures:
``int16`` until the samples of a batch are ready, ``mixed`` until all is done that the
peer delivers: float32 sources, each times a gain between 0.25 and 1.25 and in stereo
with its channels exchanged half of the time, and their sum. MB/s count the samples
as 16-bit PCM. One warm-up pass, then the median of the repeats. The peer is run
before and after, with one and with two threads; ratios are taken to its best figure.

``--wait`` trains a row of Appendix A (batches of 12) from each feeder and tells which
share of the time the training waits for ``next(batches)`` and for the batch to lie on
the device.
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

from data_pipelines.audio.files import probe
from data_pipelines.feeding import host, resident, streaming, tf_data
from data_pipelines.feeding.schedule import track_table, train_plans
from data_pipelines.manifest import Manifest, Stem, Track
from data_pipelines.pipeline import Data
from sepjax.config import DataConfig, resolve
from sepjax.configs.appendix_a import get_config
from sepjax.functional.augment import prepare_excerpts
from sepjax.train.mesh import batch_sharding, make_mesh, shard_batch
from sepjax.train.program import make_program

STEMS = ("vocals", "drums", "bass", "other")
FORMATS = ((8000, 1, 256), (44100, 2, 32))  # rate, channels, batches per repeat
SECONDS = 8.0


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


def time_feeder(feed, plan, prepare, repeats: int) -> float:
    """Batches per second, the median of the repeats after one warm-up."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        for batch in feed(iter([plan])):
            jax.block_until_ready(prepare(batch))
        times.append(time.perf_counter() - begin)
    return len(plan.file) / statistics.median(times[1:])


def time_format(rate: int, channels: int, steps: int, args) -> Iterator[dict]:
    config = DataConfig(
        sample_rate=rate,
        gain_low=0.25,
        gain_high=1.25,
        swap_channels=channels == 2,
        mix="random",
    )
    mix = jax.jit(partial(prepare_excerpts, channels=channels, normalized=False))
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_music(Path(folder), rate, channels)
        chunk = round(SECONDS * rate)
        table = track_table(manifest, manifest.tracks)
        plan = train_plans(table, config, 0, args.batch, 0, steps, channels)
        store = resident.build_store(manifest, manifest.tracks, chunk)
        feeders = {
            "resident": lambda plans: resident.feed(store, plans, chunk),
            "streaming": lambda plans: streaming.feed(manifest, plans, chunk),
            "tf_data": lambda plans: tf_data.feed(manifest, plans, chunk),
            "plain reader": lambda plans: host.feed(manifest, plans, chunk),
        }
        for name, feed in feeders.items():
            for until, prepare in (("int16", lambda b: b["chunks"]), ("mixed", mix)):
                batches = time_feeder(feed, plan, prepare, args.repeats)
                yield record(rate, channels, name, until, batches * args.batch)


def record(rate: int, channels: int, feeder: str, until: str, chunks: float) -> dict:
    return {
        "format": f"{rate}x{channels}",
        "feeder": feeder,
        "until": until,
        "chunks_per_s": chunks,
        "mb_per_s": chunks * 2 * len(STEMS) * channels * SECONDS * rate / 1e6,
    }


def time_peer(args) -> list[dict]:
    found = []
    for threads in args.peer_threads.split(","):
        command = [args.peer_python, args.peer, "--threads", threads]
        command += ["--per-track", "24", "--batch", str(args.batch)]
        command += ["--repeats", str(args.repeats)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{result.stderr}")
        for line in map(json.loads, result.stdout.splitlines()):
            workers = line["num_workers"]
            name = f"DataLoader, {workers} workers, {threads} threads"
            shape = line["rate"], line["channels"]
            found.append(record(*shape, name, "mixed", line["chunks_per_s"]))
    return found


def time_waiting(feeder: str, manifest: Manifest, args) -> dict:
    """Seconds of a step that pass before its batch is there, and those it computes."""
    config = get_config(args.wait)
    config.train.batch_size, config.data.feeder = args.wait_batch, feeder
    config, mesh = resolve(config), make_mesh()
    program = make_program(config, mesh)
    state = program.init(jax.random.key(0))
    data = Data(config, manifest, "", batch_sharding(mesh))
    batches = data.train_batches(0, args.wait_steps + 2)
    waits, steps = [], []
    for _ in range(args.wait_steps + 2):
        began = time.perf_counter()
        batch = jax.block_until_ready(shard_batch(mesh, next(batches)))
        there = time.perf_counter()
        state, _ = jax.block_until_ready(program.train_step(state, batch))
        waits.append(there - began)
        steps.append(time.perf_counter() - there)
    batches.close()
    waited, computed = sum(waits[2:]), sum(steps[2:])  # the first two compile
    return {
        "feeder": feeder,
        "wait_ms": 1e3 * statistics.median(waits[2:]),
        "step_ms": 1e3 * statistics.median(steps[2:]),
        "waited": waited / (waited + computed),
    }


def print_speeds(records: list[dict], peers: list[dict]) -> None:
    best: dict[str, float] = {}
    for each in peers:
        name, speed = each["format"], each["chunks_per_s"]
        best[name] = max(best.get(name, 0.0), speed)
    print("| format | feeder | until | chunks/s | MB/s | to the best peer |")
    print("| --- | --- | --- | --- | --- | --- |")
    for each in sorted(records + peers, key=lambda r: r["format"], reverse=True):
        speed, peer = each["chunks_per_s"], best.get(each["format"])
        print(
            f"| {each['format']} | {each['feeder']} | {each['until']} | {speed:.0f} |"
            f" {each['mb_per_s']:.0f} | {f'{speed / peer:.2f}' if peer else ''} |",
            flush=True,
        )


def print_waiting(args) -> None:
    print(f"\n{args.wait}, batches of {args.wait_batch}:\n")
    print("| feeder | waits, ms | step, ms | share of the time that is waited |")
    print("| --- | --- | --- | --- |")
    rate = get_config(args.wait).data.sample_rate
    with tempfile.TemporaryDirectory() as folder:
        manifest = make_music(Path(folder), rate, 2)
        for feeder in ("streaming", "resident"):
            found = time_waiting(feeder, manifest, args)
            print(
                f"| {feeder} | {found['wait_ms']:.1f} | {found['step_ms']:.0f} |"
                f" {100 * found['waited']:.2f} % |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5, help="0: no speeds")
    parser.add_argument("--peer", help="a script that prints DataLoader records")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--peer-threads", default="1,2", help="comma list")
    parser.add_argument("--wait", help="a row of Appendix A whose training waits")
    parser.add_argument("--wait-batch", type=int, default=12)
    parser.add_argument("--wait-steps", type=int, default=5)
    args = parser.parse_args()
    device = jax.devices()[0]
    print(f"jax {jax.__version__} on {device.platform} ({device.device_kind})\n")
    if args.repeats:
        peers = time_peer(args) if args.peer else []
        records = [r for format in FORMATS for r in time_format(*format, args)]
        peers += time_peer(args) if args.peer else []
        print_speeds(records, peers)
    if args.wait:
        print_waiting(args)


if __name__ == "__main__":
    main()
