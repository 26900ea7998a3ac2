"""Time BSS Eval of sepjax, and of museval beside it if its script is given.

    python benchmarks/bss_eval.py --minutes 4 \
        --peer museval_time.py --peer-python venv-with-museval/bin/python

One track of four stereo sources at 44.1 kHz, windows of 1 s, filters of 512 samples
once for the track. Every measurement is a process of its own and takes the track from
files that another process wrote, so that peak memory is that of the samples and of the
evaluation. The peer's script makes its own clip; with ``--peer`` ours is the same one
(``make_clip`` of that script), as float32, and the medians of both are compared.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATE, SOURCES = 44100, 4
METRICS = ("SDR", "ISR", "SIR", "SAR")


def make_clip(seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Colored noise, and estimates with leakage, a short filter and noise."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    shape = SOURCES, int(seconds * RATE), 2
    references = 0.05 * rng.standard_normal(shape)
    for j, pole in enumerate((0.98, 0.9, 0.6, 0.2)):
        references[j] = lfilter([1 - pole], [1, -pole], references[j], axis=0)
    references = np.round(references * 32768) / 32768
    leakage = 0.1 * references.sum(0)
    noise = 1e-3 * rng.standard_normal(shape)
    estimates = lfilter([0.8, 0.15, -0.05], [1], references, axis=1) + leakage + noise
    return references, estimates


def write_clip(args: argparse.Namespace) -> None:
    make = make_clip
    if args.peer:
        spec = importlib.util.spec_from_file_location("peer", args.peer)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        make = module.make_clip
    for name, wave in zip(("references", "estimates"), make(args.seconds, args.seed)):
        np.save(Path(args.folder) / f"{name}.npy", wave.astype(np.float32))


def peak_mib() -> float:
    """Most memory that this process held; a parent's does not count, as ru_maxrss's."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(args: argparse.Namespace) -> dict:
    """Time the first call, from the import on, and warm calls."""
    waves = [
        np.load(Path(args.folder) / f"{name}.npy")
        for name in ("references", "estimates")
    ]
    samples = sum(wave.nbytes for wave in waves) / 2**20
    began = time.perf_counter(), time.process_time()
    from sepjax.evaluation import bss_eval

    times = []
    for _ in range(1 + args.repeats):
        scores = bss_eval(*waves, window=RATE, hop=RATE)
        times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
        began = time.perf_counter(), time.process_time()
    medians = {
        f"median_{name}": np.nanmedian(getattr(scores, name.lower()), 1).tolist()
        for name in METRICS
    }
    return {
        "label": "sepjax",
        "seconds": args.seconds,
        "windows": scores.windows,
        "first_s": times[0][0],
        "first_cpu_s": times[0][1],
        "warm_s": statistics.median(wall for wall, _ in times[1:]),
        "warm_cpu_s": statistics.median(cpu for _, cpu in times[1:]),
        "inputs_mib": samples,
        "peak_mib": peak_mib(),
        **medians,
    }


def machine_cpu_seconds() -> float:
    """Processor time of the whole machine so far; nan where it cannot be told."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().split()[1:9]]
    except (OSError, ValueError):
        return float("nan")
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def run_child(command: list[str]) -> dict:
    """The last record that a child printed, and how busy others were meanwhile."""
    machine, began = machine_cpu_seconds(), time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={"JAX_PLATFORMS": "cpu"} | os.environ,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}")
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    foreign = (machine_cpu_seconds() - machine - own) / (time.monotonic() - began)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    record = json.loads(lines[-1]) if lines else {}
    return record | {"foreign": round(max(foreign, 0.0), 2)}


def compare(ours: dict, peer: dict) -> None:
    """Ratios of time and memory, and how far the medians of all windows differ."""
    names = [f"median_{name}" for name in METRICS]
    worst = max(np.abs(np.subtract(ours[n], peer[n])).max() for n in names)
    print(f"museval: {peer['wall_s']:.1f} s, {peer['peak_rss_mib']:.0f} MiB")
    for name in ("warm", "first"):
        ratio = peer["wall_s"] / ours[f"{name}_s"]
        cpu = peer["cpu_s"] / ours[f"{name}_cpu_s"]
        print(
            f"sepjax {name}: {ours[f'{name}_s']:.2f} s, {ratio:.1f} times as fast "
            f"({cpu:.1f} in processor time)"
        )
    share = ours["peak_mib"] / peer["peak_rss_mib"]
    print(f"sepjax memory: {ours['peak_mib']:.0f} MiB, {share:.2f} of museval's")
    print(f"largest difference of a median: {worst:.1e} dB")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3, help="warm calls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", help="museval_time.py")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--child", choices=("clip", "time"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.seconds = 60 * args.minutes
    return args


def main() -> None:
    args = parse_arguments()
    if args.child == "clip":
        return write_clip(args)
    if args.child == "time":
        return print(json.dumps(measure(args)))
    own = [sys.executable, __file__, *sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        run_child([*own, "--folder", folder, "--child", "clip"])
        ours = run_child([*own, "--folder", folder, "--child", "time"])
    print(json.dumps(ours), flush=True)
    if args.peer:
        peer = [args.peer_python, args.peer, "--seconds", str(args.seconds)]
        peer += ["--seed", str(args.seed), "--threads", str(os.cpu_count())]
        theirs = run_child(peer)
        print(json.dumps(theirs))
        if theirs.get("status") != "ok":
            sys.exit(f"the peer did not run: {theirs.get('reason', 'no record')}")
        compare(ours, theirs)


if __name__ == "__main__":
    main()
