"""How fast a model separates a stream: latency, size of its state, time on one core.

The time is measured in a process of its own, which holds to one core: a process whose
threads are there already cannot be confined.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from sepjax.config import Config, from_dict, to_dict
from sepjax.inference.steps import Steps, streamable
from sepjax.models.build import model_of

SECONDS = 0.02
"""Of a block, rounded to the model's."""
LIMIT = 300  # seconds for compiling and measuring


def stream_lines(config: Config) -> Iterator[tuple[str, str]]:
    """Yield what is worth knowing of a model on streams; nothing of one without state.

    Example:
        >>> from sepjax.models.demucs.config import DemucsConfig
        >>> list(stream_lines(Config(model=DemucsConfig())))
        []
    """
    model = streamable(model_of(config))
    if model is None or model.streaming is None:
        return
    rate, latency = model.sample_rate, model.streaming.latency + 1
    yield "latency", f"{1000 * latency / rate:.1f} ms ({latency} samples)"
    import jax

    state = jax.eval_shape(lambda: model.init_state(1))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    yield "state", f"{size / 1024:.1f} KiB"
    try:
        facts = measured(config)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        yield "real time", f"not measured: {str(error)[-200:]}"
        return
    factor, block = facts["real_time_factor"], 1000 * facts["seconds"]
    yield "real time", f"{factor:.3f} of it on one core, in blocks of {block:.1f} ms"


def measured(config: Config, seconds: float = SECONDS) -> dict[str, float]:
    """Measure a model with random parameters on one core of this machine's CPU.

    Args:
        config: whose model separates streams.
        seconds: of a block.

    Returns:
        ``real_time_factor``, seconds of computing for a second of sound, and
        ``seconds`` of a block.

    Raises:
        ValueError: the process failed; its last words are told.
        subprocess.TimeoutExpired: it took longer than :data:`LIMIT`.
    """
    paths = os.pathsep.join(path or os.curdir for path in sys.path)
    done = subprocess.run(
        [sys.executable, "-m", "sepjax.experiment.pace"],
        input=json.dumps({"config": to_dict(config), "seconds": seconds}),
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": paths},
        **dict(capture_output=True, text=True, timeout=LIMIT),
    )
    if done.returncode:
        raise ValueError(done.stderr.strip() or f"exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure what comes on standard input, on one core."""
    if hasattr(os, "sched_setaffinity"):  # Linux; elsewhere all cores count
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    asked: dict[str, Any] = json.load(sys.stdin)
    import jax

    model = streamable(model_of(from_dict(asked["config"])))
    assert model is not None
    assert model.streaming is not None
    rate, width = model.sample_rate, model.audio_channels
    channels = (width,) if width > 1 else ()
    zeros = np.zeros((1, *channels, 4 * model.streaming.block), np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), zeros)
    size = round(asked["seconds"] * rate)
    steps = Steps(model, variables, channels=width, size=size)
    noise = np.random.default_rng(0).normal(size=(steps.size, width))
    noise, times = noise.astype(np.float32), []
    while len(times) < 7 or (sum(times[2:]) < 1 and len(times) < 200):
        began = time.perf_counter()
        steps.push(noise)
        times.append(time.perf_counter() - began)
    # The first two compile, and touch the memory first.
    seconds = steps.size / rate
    factor = float(np.median(times[2:])) / seconds
    print(json.dumps({"real_time_factor": factor, "seconds": seconds}))


if __name__ == "__main__":
    main()
