"""Time and memory of a Mel-Band RoFormer beside PyTorch, in one run.

    python benchmarks/roformer.py --peer-python venv-with-torch/bin/python

The peer is the package melband-roformer-infer, whose network is that of public
checkpoints; both sides have the same size and weights as they are drawn. Each job of
each side is a process of its own: ``separate`` is a stereo clip of ``--seconds``,
``train`` a gradient of the loss of public training (mean absolute error, and of
spectra) on ``--train-seconds`` and a step of AdamW. ``start`` is the first call,
compilation included, ``wall`` and ``processor`` the median of ``--repeats`` more, in
seconds, ``memory`` what the process's peak is above that of its imports and weights,
in MiB. ``ratio`` is sepjax over the peer.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

RATE = 44100
JOBS = ("separate", "train")
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--train-seconds", type=float, default=2.0)
    parser.add_argument("--channels", type=int, default=192)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--remat", type=int, default=1)
    parser.add_argument("--side", choices=SIDES)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments)))
        return
    pythons = {"peer": arguments.peer_python, "sepjax": sys.executable}
    for job in arguments.jobs.split(","):
        results = {}
        for side, python in pythons.items():
            command = [python, __file__, *sys.argv[1:], "--jobs", job, "--side", side]
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            results[side] = json.loads(output.stdout.splitlines()[-1])
            print(job, side, json.dumps(results[side]), flush=True)
        for name in ("wall", "processor", "memory"):
            ratio = results["sepjax"][name] / results["peer"][name]
            print(f"{job} ratio {name} {ratio:.2f}", flush=True)


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    run, before = SIDES[arguments.side](arguments), peak()
    times = []
    for _ in range(1 + arguments.repeats):
        began = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    walls, processors = zip(*times[1:])
    numbers = dict(start=times[0][0], wall=statistics.median(walls))
    numbers |= dict(processor=statistics.median(processors), memory=peak() - before)
    return {name: round(number, 3) for name, number in numbers.items()}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def waves(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    training = arguments.jobs == "train"
    seconds = arguments.train_seconds if training else arguments.seconds
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 1, 2, int(seconds * RATE)))
    mixture, vocals = noise.astype(np.float32)
    return mixture, vocals


def peer(arguments: argparse.Namespace) -> Run:
    import torch
    from mel_band_roformer.mel_band_roformer import MelBandRoformer

    torch.set_num_threads(2)
    size = dict(dim=arguments.channels, depth=arguments.blocks, heads=arguments.heads)
    size |= dict(time_transformer_depth=1, freq_transformer_depth=1, stereo=True)
    size |= dict(attn_dropout=0.0, ff_dropout=0.0, mask_estimator_depth=2)
    model = MelBandRoformer(**size, stft_hop_length=441, match_input_audio_length=True)
    mixture, vocals = map(torch.from_numpy, waves(arguments))
    if arguments.jobs == "separate":
        model.eval()
        return torch.inference_mode()(lambda: model(mixture))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        estimate = model(mixture).reshape(vocals.shape)
        loss = (estimate - vocals).abs().mean()
        for window in (4096, 2048, 1024, 512, 256):
            form = dict(n_fft=max(window, 2048), hop_length=147, win_length=window)
            form |= dict(window=torch.hann_window(window), return_complex=True)
            spectra = [torch.stft(x[0], **form) for x in (estimate, vocals)]
            loss = loss + (spectra[0] - spectra[1]).abs().mean()
        loss.backward()
        optimizer.step()

    return step


def sepjax(arguments: argparse.Namespace) -> Run:
    import jax
    import optax

    from sepjax.losses import l1
    from sepjax.losses.spectral import padded_stft
    from sepjax.models.build import build_model
    from sepjax.models.roformer.config import RoformerConfig

    config = RoformerConfig(
        channels=arguments.channels, blocks=arguments.blocks, heads=arguments.heads
    )
    config.remat = bool(arguments.remat)
    model = build_model(config, sources=("vocals",), sample_rate=RATE)
    mixture, vocals = waves(arguments)
    params = jax.jit(model.init)(jax.random.key(0), mixture[..., :RATE])
    apply = jax.jit(lambda params, mixture: model.apply(params, mixture).estimates)
    if arguments.jobs == "separate":
        return lambda: apply(params, mixture).block_until_ready()
    optimizer = optax.adamw(1e-4)
    state = [params, jax.jit(optimizer.init)(params)]

    def loss(params: dict) -> jax.Array:
        estimates = apply(params, mixture)
        pair = vocals[:, None], estimates
        return l1(*pair).mean() + padded_stft(*pair).mean()

    def update(params: dict, memory: object) -> tuple:
        gradient = jax.grad(loss)(params)
        changes, memory = optimizer.update(gradient, memory, params)
        return optax.apply_updates(params, changes), memory

    compiled = jax.jit(update, donate_argnums=(0, 1))

    def step() -> None:
        state[:] = jax.block_until_ready(compiled(*state))

    return step


SIDES: dict[str, Callable[[argparse.Namespace], Run]] = {
    "peer": peer,
    "sepjax": sepjax,
}

if __name__ == "__main__":
    main()
