"""``run_experiment.py`` in another process: tiny, on the demo music."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
        "SEPJAX_CACHE": cache,
    }


def start(*arguments: str, devices: int = 1) -> subprocess.Popen:
    """Begin a run; its output is one stream of text."""
    return subprocess.Popen(
        [sys.executable, "run_experiment.py", *arguments],
        cwd=ROOT,
        env=os.environ | environment(devices),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(*processes: subprocess.Popen, code: int = 0) -> list[str]:
    """Wait for runs; returns their outputs."""
    try:
        outputs = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs):
        assert process.returncode == code, output[-3000:]
    return outputs
