"""Five networks, trained for the same time on the same core, and what they learn.

    python benchmarks/equal_time.py --data demo --workdir runs/equal_time
    python benchmarks/equal_time.py --data remixed8k --workdir runs/equal_time

``--data`` is ``demo`` or a folder of songs with the stems of MUSDB. Each network is the
small one of its own configuration, with that one's batch, excerpts, loss and learning
rate; the rate falls along a cosine for all. A run of forty steps tells how long a step
takes, without compilation; so many steps as fit into ``--seconds`` are then trained,
with every seed, one run after the other. Validation, which chooses the best parameters,
is not counted: four times in each run. All processes share one core (``--core``), so
that nothing depends on how well a network fills several. A run that is there is not
trained again; the table is printed after each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROWS = {
    "Conv-TasNet": "configs/demo.py:music",
    "Meta-TasNet": "configs/chapter4.py:demo",
    "Open-Unmix": "configs/chapter4.py:demo_guitar",
    "Mel-RoFormer": "configs/networks.py:demo_mel_roformer",
    "HTDemucs": "configs/networks.py:demo_htdemucs",
}
VALIDATIONS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="demo")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", type=int, nargs="*", default=[42, 43, 44])
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--workdir", type=Path, default=Path("runs/equal_time"))
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})  # of all processes that this one starts
    workdir, data = arguments.workdir / Path(arguments.data).name, []
    if arguments.data != "demo":
        # A class that no training song has cannot be learned: bass joins the others.
        data = ["dataset=folder", f"root={arguments.data}", "sums=other=bass+other"]
        data.append("sources=vocals,drums,other")
    workdir.mkdir(parents=True, exist_ok=True)
    steps = {}
    for name in ROWS:
        per_step = step_seconds(train(name, workdir / "pilot", data, 40, 42))
        steps[name] = round(arguments.seconds / per_step)
        print(f"{name}: {1000 * per_step:.0f} ms a step, {steps[name]} steps")
    scores: dict[str, list[dict]] = {name: [] for name in ROWS}
    for seed in arguments.seeds:
        for name in ROWS:
            run = train(name, workdir / str(seed), data, steps[name], seed)
            scores[name].append(json.loads((run / "results.json").read_text()))
            print(table(scores, steps), flush=True)


def train(name: str, workdir: Path, data: list[str], steps: int, seed: int) -> Path:
    """Train a row, unless it is there, and return its folder."""
    run = workdir / name
    if (run / "results.json").exists():
        return run
    pilot = workdir.name == "pilot"
    fields = [
        *(f"data.{field}" for field in data),
        *(f"train.steps={steps}", f"seed={seed}", "train.early_stop=0"),
        f"train.eval_every={steps if pilot else -(-steps // VALIDATIONS)}",
        *(f"train.checkpoint_every={steps}", "train.log_every=10"),
        *("optim.schedule=cosine", f"optim.warmup_steps={steps // 20}"),
    ]
    command = [sys.executable, "run_experiment.py", f"--config={ROWS[name]}"]
    command += [f"--workdir={run}", *(f"--config.{field}" for field in fields)]
    log = workdir / f"{name}.log"
    workdir.mkdir(exist_ok=True)
    with log.open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"{name} failed: see {log}")
    return run


def step_seconds(run: Path) -> float:
    """Seconds of a step, from the twentieth to the fortieth."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    at = {line["step"]: line["seconds"] for line in lines if line["kind"] == "train"}
    return (at[40] - at[20]) / 20


def table(scores: dict[str, list[dict]], steps: dict[str, int]) -> str:
    """Rows of SI-SDR in dB on the test songs: mean and deviation over seeds."""
    first = next(iter(scores.values()))[0]
    names = [*first["model"], "mean", "over the mixture"]
    rows = [["", "steps", *names], ["---"] + ["---:"] * (len(names) + 1)]
    rows.append(["mixture", "", *map(number, values(first, "mixture")), ""])
    for name, results in scores.items():
        seeds = [
            [*values(one, "model"), one["mean"]["improvement"]["si_sdr"]]
            for one in results
        ]
        if seeds:
            rows.append([name, str(steps[name]), *map(spread, zip(*seeds))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def values(results: dict, whose: str) -> list[float]:
    """SI-SDR of every class, and their mean."""
    classes = [one["si_sdr"] for one in results[whose].values()]
    return [*classes, results["mean"][whose]["si_sdr"]]


def spread(seeds: Sequence[float]) -> str:
    """Mean and sample deviation."""
    deviation = f" ± {statistics.stdev(seeds):.2f}" if len(seeds) > 1 else ""
    return number(statistics.mean(seeds)) + deviation


def number(value: float) -> str:
    """A score with a true minus sign."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


if __name__ == "__main__":
    main()
