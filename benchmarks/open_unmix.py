"""Time Open-Unmix of sepjax, and the openunmix package if its script is given.

    python benchmarks/open_unmix.py --seconds 60 --iterations 0,1 --rounds 3 \
        --peer torch_openunmix.py --peer-python venv-with-torch/bin/python

Four targets of the size of umxhq, random weights, stereo noise at 44.1 kHz. ``whole``
is the model's own call on the whole clip, which is what the peer computes; ``chunks``
is ``sepjax.separate`` in chunks of ``--chunk`` seconds, ``--overlap`` of them
cross-faded. Every measurement is a process of its own, so that peak memory is its own;
rounds alternate between all of them, and ratios are of medians over rounds.
"""

import argparse
import json
import statistics
import sys
import time

from bss_eval import peak_mib, run_child

RATE, TARGETS = 44100, ("vocals", "drums", "bass", "other")


def measure(args: argparse.Namespace) -> dict:
    """Time the compilation (in chunks: the first call) and warm calls."""
    import jax
    import numpy as np

    from sepjax.inference.separate import separate
    from sepjax.models.open_unmix.model import OpenUnmix

    model = OpenUnmix(
        targets=TARGETS,
        sample_rate=RATE,
        audio_channels=2,
        iterations=int(args.iterations),
    )
    rng = np.random.default_rng(args.seed)
    clip = rng.normal(0, 0.1, (int(float(args.seconds) * RATE), 2)).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(args.seed), clip[None, :RATE].mT)
    baseline = peak_mib()
    began = time.perf_counter()
    if args.form == "whole":
        call = jax.jit(lambda variables, wave: model.apply(variables, wave).estimates)
        inputs = np.ascontiguousarray(clip.T)[None]
        compiled = call.lower(variables, inputs).compile()

        def run() -> np.ndarray:
            return np.asarray(compiled(variables, inputs))
    else:

        def run() -> dict:
            options = dict(chunk=args.chunk, overlap=args.overlap, rescale=False)
            return separate(model, variables, clip, sample_rate=RATE, **options)

        run()
    first = time.perf_counter() - began
    times = []
    for _ in range(args.warmup + args.repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = zip(*times[args.warmup :])
    return {
        "label": args.form,
        "seconds": float(args.seconds),
        "iterations": int(args.iterations),
        "first_s": first,
        "median_s": statistics.median(walls),
        "min_s": min(walls),
        "cpu_s": statistics.median(cpus),
        "peak_mib": peak_mib(),
        "baseline_mib": baseline,
    }


def commands(args: argparse.Namespace, seconds: str, iterations: str) -> dict:
    """What is measured, by name."""
    shared = ["--repeats", str(args.repeats), "--warmup", str(args.warmup)]
    shared += ["--seconds", seconds, "--seed", str(args.seed)]
    found = {}
    for form in args.forms.split(","):
        own = [sys.executable, __file__, *shared, "--iterations", iterations]
        own += ["--chunk", str(args.chunk), "--overlap", str(args.overlap)]
        found[form] = [*own, "--form", form]
    if args.peer:
        peer = [args.peer_python, args.peer, *shared, "--niter", iterations]
        found["peer"] = [*peer, "--threads", str(args.threads)]
    return found


def compare(seconds: str, iterations: str, records: dict[str, list[dict]]) -> None:
    """One line for each form, with ratios to the peer."""
    peer = records.get("peer")

    def middle(found: list[dict], *names: str) -> float:
        values = [next(r[n] for n in names if n in r) for r in found]
        return statistics.median(values)

    for form, found in records.items():
        spent = middle(found, "median_s"), middle(found, "min_s")
        peak = middle(found, "peak_mib", "peak_rss_mib")
        foreign = middle(found, "foreign")
        line = f"| {seconds} | {iterations} | {form} | "
        line += f"{middle(found, 'first_s'):.1f} | " if form != "peer" else " | "
        line += f"{spent[0]:.2f} ({spent[1]:.2f}) | {peak:.0f} | {foreign:.2f} |"
        if peer and form != "peer":
            ratio = middle(peer, "median_s") / spent[0]
            line += f" {ratio:.2f} | {peak / middle(peer, 'peak_rss_mib'):.2f} |"
        print(line, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", default="60", help="lengths, such as 15,30,60,120")
    parser.add_argument("--iterations", default="0,1", help="of the Wiener filter")
    parser.add_argument("--forms", default="whole,chunks")
    parser.add_argument("--chunk", type=float, default=20.0)
    parser.add_argument("--overlap", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="warm calls")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="of the peer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", help="torch_openunmix.py")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--form", choices=("whole", "chunks"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.form:
        return print(json.dumps(measure(args)))
    for seconds in args.seconds.split(","):
        for iterations in args.iterations.split(","):
            records: dict[str, list[dict]] = {}
            for _ in range(args.rounds):
                for form, command in commands(args, seconds, iterations).items():
                    record = run_child(command)
                    if record.get("status", "ok") != "ok":
                        sys.exit(f"the peer did not run: {record.get('reason')}")
                    print(json.dumps(record), file=sys.stderr, flush=True)
                    records.setdefault(form, []).append(record)
            compare(seconds, iterations, records)


if __name__ == "__main__":
    main()
