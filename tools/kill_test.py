"""Kill runs at random moments of their lives, and compare their ends bit for bit.

    python tools/kill_test.py --kills=200

A first run, with microbatches and an average of its parameters, is left alone. Others
get SIGKILL after delays that are drawn over the whole life of a process: imports,
compiling (from a cache on disk), resuming, steps, saves, the end. After each the same
command is given again; a run that comes to its end is compared, and another begins
until all kills are used up. Prints JSON: what was going on at the kills, how many there
were in a minute, and whether parameters, best evaluation, log and names of files are
those of the first run.
"""

import argparse
import collections
import json
import os
import random
import shutil
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
    "data.valid_seconds": 8.0,
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


def output(workdir: Path) -> Path:
    return workdir.with_name(f"{workdir.name}.log")


class Lives:
    """Starts processes of one command and knows how long they live."""

    def __init__(self, folder: Path, steps: int, seed: int):
        self.folder, self.steps = folder, steps
        self.draw = random.Random(seed)
        self.start = self.work = 0.0  # seconds until the first steps, and from there on

    def live(self, workdir: Path, mortal: bool) -> tuple[int, bool, float]:
        """Run a process to its end or to its kill.

        Returns its exit code, whether it made steps, and its age.
        """
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        line = command(workdir, self.steps)
        with output(workdir).open("ab") as log:
            process = subprocess.Popen(line, stdout=log, stderr=log, env=environment)
        began, age, stepped = time.monotonic(), 0.0, 0.0
        delay = self.draw.uniform(0, self.start + self.work) if mortal else float("inf")
        # The first change drops what was logged after the checkpoint, the second adds.
        log, changes, seen = workdir / "metrics.jsonl", 0, ""
        while process.poll() is None and (age := time.monotonic() - began) < delay:
            now = str(os.stat(log)[6:]) if log.exists() else ""
            seen, changes = now, changes + (now != seen and bool(seen or changes))
            stepped = stepped or age * (changes > 1)
            time.sleep(0.01)
        process.kill()  # SIGKILL; nothing to one that has ended
        code = process.wait()
        if not mortal and not self.work:
            self.start, self.work = stepped, age - stepped
        elif stepped or age > self.start:  # the machine may have become slower
            factor = (stepped or age) / self.start
            self.start, self.work = self.start * factor, self.work * factor
        return code, stepped > 0, age


def reached(workdir: Path) -> int:
    """The step of the last checkpoint of a run; 0 where there is none."""
    from sepjax.train.checkpoint import CheckpointError, describe

    try:
        return describe(workdir)["step"]
    except CheckpointError:
        return 0


def end_of(workdir: Path) -> dict:
    """What two runs must have in common."""
    from sepjax.train.checkpoint import describe
    from sepjax.train.log import read_log

    facts, records = describe(workdir), read_log(workdir / "metrics.jsonl")
    paths = [*workdir.iterdir(), *(workdir / "checkpoints").iterdir()]
    return {
        "params_sha256": facts["params_sha256"],
        "best": facts["best"],
        "log": [{k: v for k, v in r.items() if k != "seconds"} for r in records],
        "files": sorted(str(path.relative_to(workdir)) for path in paths),
    }


def kill_until_its_end(lives: Lives, workdir: Path, kills: int) -> tuple[list, int]:
    """Begin a run and kill it until it ends, ``kills`` times at most."""
    seen: list[dict] = []
    while True:
        code, stepped, age = lives.live(workdir, mortal=len(seen) < kills)
        if code != -signal.SIGKILL:
            return seen, code
        unfinished = len(list(workdir.glob("checkpoints/*tmp*")))
        kill = {"age": round(age, 2), "stepped": stepped, "unfinished": unfinished}
        seen.append(kill | {"saved": reached(workdir)})
        print(json.dumps(seen[-1]), file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, kills, ends, different = Path(name), [], 0, []
        Lives(folder, 8, 0).live(folder / "warm", mortal=False)  # compiles everything
        lives, whole = Lives(folder, arguments.steps, arguments.seed), folder / "whole"
        if lives.live(whole, mortal=False)[0]:
            raise SystemExit(output(whole).read_text())
        straight, quick = end_of(whole), (lives.start, lives.work)
        began = time.monotonic()
        while len(kills) < arguments.kills:
            run = folder / f"run_{ends}"
            seen, code = kill_until_its_end(lives, run, arguments.kills - len(kills))
            kills, ends = kills + seen, ends + 1
            if code:
                text = output(run).read_text()[-3000:]
                different.append({"exit": code, "text": text})
            elif (end := end_of(run)) != straight:
                names = [key for key in straight if end[key] != straight[key]]
                extra = sorted({*end["files"]} ^ {*straight["files"]})
                different.append({"run": ends - 1, "differs": names, "files": extra})
            shutil.rmtree(run, ignore_errors=True)
        minutes = (time.monotonic() - began) / 60
    result = {
        "kills": len(kills),
        "before_the_first_step_of_a_process": sum(not k["stepped"] for k in kills),
        "before_any_checkpoint": sum(not k["saved"] for k in kills),
        "with_a_save_begun": sum(k["unfinished"] > 0 for k in kills),
        "ages": dict(sorted(collections.Counter(int(k["age"]) for k in kills).items())),
        "kills_per_minute": round(len(kills) / minutes, 1),
        "runs": ends,
        "divergences": len(different),
        "different": different,
        "steps": arguments.steps,
        "uninterrupted_seconds": round(sum(quick), 1),
        "seconds_to_first_record": round(quick[0], 1),
        "params_sha256": straight["params_sha256"],
        "best": straight["best"],
    }
    print(json.dumps(result, indent=2))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
