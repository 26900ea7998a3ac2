"""``run_experiment.py`` in another process: tiny, on the demo music."""

import os
from pathlib import Path

from tests.support.forks import ROOT, Fork

DEMO = "configs/demo.py"
TINY = {
    "data.chunk_seconds": 0.5,
    "data.valid_seconds": 4.0,  # an eighth of the batches
    "model.N": 16,
    "model.L": 64,
    "model.W": 32,
    "model.B": 8,
    "model.H": 16,
    "model.layers": 2,
    "model.stack": 1,
    "train.batch_size": 4,
    "train.steps": 5,
    "train.eval_every": 3,
    "train.checkpoint_every": 2,
    "train.log_every": 2,
    "eval.split": "valid",
    "eval.excerpts": 1,
    "eval.metrics": "si_sdr,usdr",  # BSS Eval takes most of the time of a tiny run
}


def flags(workdir: Path, file: str = DEMO, **fields: object) -> list[str]:
    """Flags of a tiny run; ``section__field=value`` changes its configuration."""
    named = TINY | {name.replace("__", "."): value for name, value in fields.items()}
    return [
        f"--config={file}",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in named.items()),
    ]


def environment(devices: int) -> dict[str, str]:
    """Variables for runs that compile quickly, on virtual devices."""
    cache = os.environ.get("SEPJAX_CACHE", str(ROOT / ".cache" / "sepjax"))
    return {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
        # Processes of a test compile the same small programs.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05",
        "SEPJAX_CACHE": cache,
    }


def start(*arguments: str, devices: int = 1) -> Fork:
    """Begin a run; its output is one stream of text."""
    return Fork(["run_experiment.py", *arguments], environment(devices))


def finish(*processes: Fork, code: int = 0) -> list[str]:
    """Wait for runs; returns their outputs."""
    try:
        outputs = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs):
        assert process.returncode == code, output[-3000:]
    return outputs


def forks(
    calls: list[list[str]], *, devices: int = 1, **variables: str
) -> list[tuple[int, str]]:
    """Status and output of each call, one after the other.

    A call is what would stand behind ``python``: a program of the root or ``-m`` and a
    module, and arguments; ``variables`` are added to the environment.
    """
    results = []
    for call in calls:
        process = Fork(call, environment(devices) | variables)
        output, _ = process.communicate()
        results.append((process.returncode, output))
    return results


def finish_forks(calls: list[list[str]], *, devices: int, code: int) -> list[str]:
    """The outputs of ``run_experiment.py`` with these flags, always with a status."""
    results = forks([["run_experiment.py", *call] for call in calls], devices=devices)
    for status, output in results:
        assert status == code, output[-3000:]
    return [output for _, output in results]
