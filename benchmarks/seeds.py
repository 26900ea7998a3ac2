"""The cost of K seeds in one program beside one seed, for a small FB-IRM model.

    python -m benchmarks.seeds --seeds 1,8 --config irm_fb_sinc_free

Steps of the real training program on seeded noise, float32; every K is timed in turn,
``--rounds`` times, so that drift of the machine hits all alike. Prints a table: step
time, and its ratio to K = 1.
"""

import argparse
import statistics
import time

import jax
import numpy as np

from sepjax.config import resolve
from sepjax.configs.appendix_a import get_config
from sepjax.train.mesh import make_mesh, shard_batch
from sepjax.train.program import make_program
from sepjax.train.seeds import join


def prepared(name: str, seeds: int, seconds: float, batch: int):
    """A compiled step with its state and batch: a function that runs it once."""
    config = get_config(name)
    config.data.chunk_seconds, config.train.batch_size = seconds, batch
    config.train.seeds = seeds
    config = resolve(config)
    mesh = make_mesh()
    program = make_program(config, mesh)
    keys = jax.random.split(jax.random.key(0), seeds)
    state = join([program.init(key) for key in keys], mesh)
    time_, sources = round(seconds * config.data.sample_rate), len(config.data.sources)
    noise = np.random.default_rng(0).normal(size=(batch * seeds, sources, time_, 1))
    rows = {
        "chunks": (3000 * noise).astype(np.int16),
        "gains": np.ones((batch * seeds, sources, 1), np.float32),
        "channel": np.zeros((batch * seeds, sources), np.int32),
    }
    rows = shard_batch(mesh, rows)

    def run() -> float:
        nonlocal state
        began = time.perf_counter()
        state, _ = jax.block_until_ready(program.train_step(state, rows))
        return time.perf_counter() - began

    run()
    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="irm_fb_sinc_free")
    parser.add_argument("--seeds", default="1,8")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    counts = [int(count) for count in options.seeds.split(",")]
    runs = {
        count: prepared(options.config, count, options.seconds, options.batch)
        for count in counts
    }
    times: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(options.rounds):
        for count, run in runs.items():
            times[count] += [run() for _ in range(options.repeats)]
    first = statistics.median(times[counts[0]])
    device = jax.devices()[0]
    print(f"{options.config}, {options.batch} x {options.seconds:g} s, {device}")
    print("seeds  step ms, median (fastest)   ratio")
    for count, seconds in times.items():
        median = statistics.median(seconds)
        text = f"{1e3 * median:.1f} ({1e3 * min(seconds):.1f})"
        print(f"{count:5d}  {text:25s} {median / first:6.2f}")


if __name__ == "__main__":
    main()
