"""Kill a run at random moments, go on each time, and compare the end bit for bit.

    python tools/kill_test.py --kills=20

A first run, with microbatches and an average of its parameters, is left alone; a
second one gets SIGKILL after random delays, between which
the same command is given again until it comes to its end. Prints JSON: the steps that
the run had reached at each kill, how long it took, and whether the parameters and the
log of both runs are the same.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

TINY = {
    "data.chunk_seconds": 0.5,
    "model.N": 16,
    "model.L": 64,
    "model.W": 32,
    "model.B": 8,
    "model.H": 16,
    "model.layers": 2,
    "model.stack": 1,
    "train.batch_size": 4,
    "train.accumulate": 2,
    "optim.ema": 0.99,
    "train.checkpoint_every": 7,
    "train.eval_every": 40,
    "train.log_every": 3,
    "optim.plateau_threshold": 1.0,
    "optim.lr_decay_patience": 0,
}


def command(workdir: Path, steps: int) -> list[str]:
    fields = TINY | {"train.steps": steps}
    return [
        sys.executable,
        str(ROOT / "run_experiment.py"),
        f"--config={ROOT / 'configs' / 'demo.py'}",
        "--mode=train",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in fields.items()),
    ]


def start(workdir: Path, steps: int, cache: Path) -> subprocess.Popen:
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    with (workdir.parent / f"{workdir.name}.log").open("ab") as log:
        return subprocess.Popen(
            command(workdir, steps), stdout=log, stderr=log, env=environment
        )


def reached(workdir: Path) -> int:
    """The last step in the log of a run."""
    from sepjax.train.log import read_log

    records = read_log(workdir / "metrics.jsonl")
    return records[-1]["step"] if records else 0


def straight(workdir: Path, steps: int, cache: Path) -> tuple[float, float]:
    """Run without a kill; returns seconds until the first record, and in all."""
    process, began, first = start(workdir, steps, cache), time.monotonic(), None
    while process.poll() is None:
        if first is None and reached(workdir):
            first = time.monotonic() - began
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit((workdir.parent / f"{workdir.name}.log").read_text())
    return first or 0.0, time.monotonic() - began


def killed(workdir: Path, steps: int, cache: Path, kills: int, quick: dict) -> list:
    """Kill a run again and again, then let it end; returns what was seen."""
    from sepjax.train.checkpoint import CheckpointError, describe

    rng, seen = random.Random(quick["seed"]), []
    while True:
        process = start(workdir, steps, cache)
        last = len(seen) >= kills
        # A kill in five falls into the start; the others into the training, where each
        # leaves the others their share of the steps.
        if not last and rng.random() < 0.2:
            delay = rng.uniform(0, quick["start"])
        elif not last:
            await_progress(process, workdir)
            delay = rng.uniform(0, 1.5 * quick["work"] / kills)
        try:
            process.wait(timeout=None if last else delay)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode == 0:
            return seen
        if process.returncode != -signal.SIGKILL:
            raise SystemExit((workdir.parent / f"{workdir.name}.log").read_text())
        try:
            saved = describe(workdir)["step"]
        except CheckpointError:
            saved = 0
        kill = {"logged": reached(workdir), "saved": saved, "delay": round(delay, 2)}
        kill["unfinished"] = len(list(workdir.glob("checkpoints/*tmp*")))
        seen.append(kill)
        print(json.dumps(kill), file=sys.stderr, flush=True)


def await_progress(process: subprocess.Popen, workdir: Path) -> None:
    """Wait until the run has made steps and written them to its log."""
    log, changes = workdir / "metrics.jsonl", 0
    seen = log.stat().st_mtime_ns if log.exists() else 0
    # The first change drops what was logged after the checkpoint, the second adds.
    while process.poll() is None and changes < 2:
        time.sleep(0.02)
        now = log.stat().st_mtime_ns if log.exists() else 0
        seen, changes = now, changes + (now != seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    from sepjax.train.checkpoint import describe
    from sepjax.train.log import read_log

    def content(workdir: Path) -> list[dict]:
        records = read_log(workdir / "metrics.jsonl")
        return [{k: v for k, v in r.items() if k != "seconds"} for r in records]

    with tempfile.TemporaryDirectory() as folder:
        whole, broken = Path(folder, "whole"), Path(folder, "broken")
        cache, steps = Path(folder, "cache"), arguments.steps
        straight(Path(folder, "warm"), 8, cache)  # compiles everything
        first, seconds = straight(whole, steps, cache)
        quick = {"start": first, "work": seconds - first, "seed": arguments.seed}
        kills = killed(broken, steps, cache, arguments.kills, quick)
        ends = [describe(run) for run in (whole, broken)]
        equal = ends[0]["params_sha256"] == ends[1]["params_sha256"]
        logs = content(whole) == content(broken)
        result = {
            "kills": len(kills),
            "before_any_checkpoint": sum(not kill["saved"] for kill in kills),
            "at": kills,
            "steps": steps,
            "uninterrupted_seconds": round(seconds, 1),
            "seconds_to_first_record": round(first, 1),
            "params_sha256": [end["params_sha256"] for end in ends],
            "best": [end["best"] for end in ends],
            "parameters_equal": equal,
            "logs_equal": logs,
        }
    print(json.dumps(result, indent=2))
    sys.exit(0 if equal and logs else 1)


if __name__ == "__main__":
    main()
