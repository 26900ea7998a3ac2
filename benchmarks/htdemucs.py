"""Time and memory of Hybrid Transformer Demucs beside PyTorch, in one run.

    python benchmarks/htdemucs.py --peer-python torch_venv/bin/python

The peer's environment has torch, demucs 4.1 and einops. Each side is a process of its
own with random weights: ``separate`` is eight seconds of stereo noise, ``train`` a step
of Adam on the absolute error, for which sepjax keeps the inputs of layers alone
(``remat``; ``--plain``: all that gradients need). The compiler is part of the first
process of sepjax; ``again`` is a second one, which finds on the disk what is compiled.
``start`` is all until the first result, and memory the peak of the process in MiB. Then
the processes take turns, so that a busy machine slows all of them: ``seconds`` is the
middle one of the repeats, and ``ratio`` the middle of the ratios to PyTorch's in the
same round. A side has as many cores as ``--cores`` says; with one, times are processor
seconds.
"""

import argparse
import contextlib
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

RATE = 44100
SIZES = {
    "medium": dict(channels=32, bottom_channels=256, t_layers=3, dconv_mode=3),
    "published": dict(channels=48, bottom_channels=512, t_layers=5, dconv_mode=3),
}
SOURCES = ["drums", "bass", "other", "vocals"]
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--work", choices=("separate", "train"), nargs="*")
    parser.add_argument("--size", choices=SIZES, default="medium")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--side", choices=SIDES)
    arguments = parser.parse_args()
    if arguments.side:
        serve(arguments)
        return
    for work in arguments.work or ("separate", "train"):
        compare(work, arguments)


def compare(work: str, arguments: argparse.Namespace) -> None:
    """Start the three processes, let them take turns, and print what they took."""
    names = dict(torch=arguments.peer_python, sepjax=sys.executable)
    names["again"] = sys.executable
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        kept = dict(JAX_COMPILATION_CACHE_DIR=folder)
        kept["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        processes, results = {}, {}
        for name, python in names.items():
            side = "torch" if name == "torch" else "sepjax"
            command = [python, __file__, *sys.argv[1:], "--side", side, "--work", work]
            how = dict(text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            process = subprocess.Popen(command, env=os.environ | kept, **how)
            processes[name] = stack.enter_context(process)
            results[name] = json.loads(process.stdout.readline())
        rounds = [
            {name: ask(process) for name, process in processes.items()}
            for _ in range(arguments.repeats)
        ]
        for name, process in processes.items():
            process.stdin.close()
            results[name] |= json.loads(process.stdout.read())
            seconds = statistics.median(round[name] for round in rounds)
            results[name]["seconds"] = seconds
            print(work, name, json.dumps(results[name]), flush=True)
        for name in ("sepjax", "again"):
            memory = results[name]["memory"] / results["torch"]["memory"]
            ratios = [round[name] / round["torch"] for round in rounds]
            middle, spread = statistics.median(ratios), (min(ratios), max(ratios))
            time = f"time {middle:.2f} ({spread[0]:.2f} to {spread[1]:.2f})"
            print(f"{work} ratio {name} {time} memory {memory:.2f}", flush=True)


def ask(process: subprocess.Popen) -> float:
    """Seconds of one run of a process."""
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def serve(arguments: argparse.Namespace) -> None:
    """Run once, then whenever a line comes, and print what each run took."""
    batch, seconds = (1, 8) if arguments.work == ["separate"] else (2, 4)
    shape = (batch, 2, seconds * RATE)
    wave = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-arguments.cores :])
    clock = time.process_time if arguments.cores == 1 else time.perf_counter
    began = clock()
    run = SIDES[arguments.side](arguments, wave)
    run()
    print(json.dumps(dict(start=round(clock() - began, 3))), flush=True)
    for _ in sys.stdin:
        began = clock()
        run()
        print(round(clock() - began, 3), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dict(memory=round(peak))), flush=True)


def torch(arguments: argparse.Namespace, wave: np.ndarray) -> Run:
    import torch
    from demucs.htdemucs import HTDemucs

    options = dict(samplerate=RATE, use_train_segment=False)
    model = HTDemucs(SOURCES, **SIZES[arguments.size], **options)
    mixture = torch.from_numpy(wave)
    if arguments.work == ["separate"]:
        model.eval()

        def separate() -> object:
            with torch.no_grad():
                return model(mixture)

        return separate
    optimizer = torch.optim.Adam(model.parameters(), 3e-4)
    target = mixture[:, None] / 4

    def train() -> object:
        optimizer.zero_grad()
        loss = (model(mixture) - target).abs().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return train


def sepjax(arguments: argparse.Namespace, wave: np.ndarray) -> Run:
    import jax
    import jax.numpy as jnp

    from sepjax.inference.process import give_memory_back
    from sepjax.models.build import build_model
    from sepjax.models.htdemucs.config import HTDemucsConfig

    give_memory_back()  # as the commands do
    config = HTDemucsConfig(**SIZES[arguments.size], remat=not arguments.plain)
    model = build_model(config, sources=SOURCES, sample_rate=RATE)
    shapes = jax.eval_shape(model.init, jax.random.key(0), wave)
    draw = np.random.default_rng(1).standard_normal  # as imported: no init to compile
    variables = jax.tree.map(lambda x: jnp.asarray(0.05 * draw(x.shape, "f")), shapes)
    if arguments.work == ["separate"]:
        apply = jax.jit(lambda variables, x: model.apply(variables, x).estimates)
        return lambda: apply(variables, wave).block_until_ready()
    import optax

    optimizer = optax.adam(3e-4)

    def loss(variables, x):
        return jnp.abs(model.apply(variables, x).estimates - x[:, None] / 4).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(variables, state, x):
        value, gradient = jax.value_and_grad(loss)(variables, x)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(variables, updates), state, value

    held = [variables, optimizer.init(variables)]

    def train() -> float:
        *held[:], value = step(*held, wave)
        return float(value)

    return train


SIDES: dict[str, Callable[[argparse.Namespace, np.ndarray], Run]] = {
    "torch": torch,
    "sepjax": sepjax,
}

if __name__ == "__main__":
    main()
