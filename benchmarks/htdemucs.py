"""Time and memory of Hybrid Transformer Demucs beside PyTorch, in one run.

    python benchmarks/htdemucs.py --peer-python torch_venv/bin/python

The peer's environment has torch, demucs 4.1 and einops. Each side is a process of its
own with random weights: ``separate`` is eight seconds of stereo noise, ``train`` a step
of Adam on the absolute error, for which sepjax keeps the inputs of layers alone
(``remat``; ``--plain``: all that gradients need). A side has one core, and times are
processor seconds, so that a busy machine changes them little: ``start`` is all until
the first result, ``seconds`` the least of the following ones. Memory is the peak of
the process in MiB. The compiler is part of both in the first process of sepjax;
``again`` is a second one, which finds on the disk what is compiled. ``ratio`` is over
PyTorch.
"""

import argparse
import functools
import itertools
import json
import os
import resource
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
RATIOS = ("seconds", "memory")
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--work", choices=("separate", "train"), nargs="*")
    parser.add_argument("--size", choices=SIZES, default="medium")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--side", choices=SIDES)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments)))
        return
    for work in arguments.work or ("separate", "train"):
        with tempfile.TemporaryDirectory() as folder:
            kept = dict(JAX_COMPILATION_CACHE_DIR=folder)
            kept["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
            results = {}
            for name in ("torch", "sepjax", "again"):
                side = "torch" if name == "torch" else "sepjax"
                python = arguments.peer_python if name == "torch" else sys.executable
                more = ["--side", side, "--work", work]
                command = [python, __file__, *sys.argv[1:], *more]
                how = dict(stdout=subprocess.PIPE, text=True, check=True)
                output = subprocess.run(command, env=os.environ | kept, **how)
                results[name] = json.loads(output.stdout.splitlines()[-1])
                print(work, name, json.dumps(results[name]), flush=True)
        for name, number in itertools.product(("sepjax", "again"), RATIOS):
            ratio = results[name][number] / results["torch"][number]
            print(f"{work} ratio {name} {number} {ratio:.2f}", flush=True)


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    batch, seconds = (1, 8) if arguments.work == ["separate"] else (2, 4)
    shape = (batch, 2, seconds * RATE)
    wave = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    began = time.process_time()
    run = SIDES[arguments.side](arguments, wave)
    run()
    start, times = time.process_time() - began, []
    for _ in range(arguments.repeats):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    numbers = dict(start=start, seconds=min(times), memory=peak)
    return {name: round(number, 3) for name, number in numbers.items()}


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
