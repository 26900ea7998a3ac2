"""Time a whole training step of sepjax, and a PyTorch peer beside it if one is given.

    python benchmarks/train_step.py --preset explore
    python benchmarks/train_step.py --preset explore,large --rounds 2 \
        --peer torch_conv_tasnet.py --peer-python venv/bin/python

Work: forward, negative SI-SDR, backward, clipping at norm 5, AdamW, on seeded noise of
four sources, 8 s, batch 4; model and step are those of a real run. Every measurement
is a process of its own (memory is its high-water mark), and all of them are repeated in
``--rounds``, so that drift of the machine hits them alike. ``huge pages`` asks glibc
for transparent huge pages and to keep freed memory (``HUGE_PAGES`` below).

``foreign`` is the number of cores that other processes used meanwhile; on a busy
machine compare the fastest steps, on an idle one the medians. GFLOP/s counts useful
work: recomputation is not counted. One JSON line per measurement, then a table.
"""

import argparse
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sepjax.config import Config, DataConfig, OptimConfig
from sepjax.models.tasnet.config import TasNetConfig

TABLE = dict(encoding="simple", N=440, L=20, W=20, B=160)
MUSIC = dict(
    encoder_act="relu", input_norm="frame", mask_act="relu", skip=False, bias=False
)


def preset(sample_rate: int = 8000, **fields: object) -> Config:
    """A configuration of four sources."""
    return Config(
        model=TasNetConfig(**fields), data=DataConfig(sample_rate=sample_rate)
    )


PRESETS: dict[str, tuple[Config, int]] = {  # configuration, batch size
    "explore": (preset(**TABLE, H=160, layers=6, stack=3), 4),
    "large": (preset(**TABLE, H=640, layers=6, stack=3), 4),
    "full": (preset(44100, **TABLE | dict(L=100, W=100)), 4),
    "music": (
        preset(
            44100,
            **TABLE | dict(N=256, W=10, B=256) | MUSIC,
            H=512,
            audio_channels=2,
        ),
        1,
    ),
}
HUGE_PAGES = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}
COLUMNS = (
    *("preset", "type", "what", "compile s", "step s, median (fastest)", "GFLOP/s"),
    *("peak MiB", "XLA temp MiB", "to PyTorch, median (fastest)", "foreign"),
)
PRECISION = {"f32": "highest", "tf32": "tensorfloat32", "bf16": "default"}


def step_flops(config: Config, frames: int) -> int:
    """Multiplications and additions of the convolutions, three times forward."""
    model, sources = config.model, len(config.data.sources)
    blocks = model.layers * model.stack
    dense = (2 * blocks - 1 if model.skip else blocks) + blocks
    pointwise = dense * model.B * model.H + (1 + sources) * model.B * model.N
    banks = model.audio_channels * model.L * model.N
    forward = pointwise + blocks * model.kernel * model.H + (1 + sources) * banks
    return 2 * frames * (3 * forward - banks)  # the encoder's input has no gradient


def machine_cpu_seconds() -> float:
    """CPU time that all processes have used, where the kernel tells."""
    try:
        fields = [
            int(v) for v in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
        ]
    except OSError:
        return 0.0
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def peak_mib(device) -> float:
    """Most memory in use: the accelerator's, or this process's resident set."""
    if device.platform != "cpu":
        return device.memory_stats()["peak_bytes_in_use"] / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def time_calls(call: Callable[[], None], repeats: int, inner: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(inner):
            last = call()
        last.block_until_ready()
        seconds.append((time.perf_counter() - began) / inner)
    return seconds


def build(config: Config, shape: tuple[int, ...]) -> tuple:
    """The jitted step of a real run, its state and a batch of noise."""
    import jax

    from sepjax.functional.augment import Excerpt
    from sepjax.models.build import model_of
    from sepjax.train.objective import make_objective
    from sepjax.train.optim import make_optimizer
    from sepjax.train.step import init_state, make_train_step

    sources = 0.1 * jax.random.normal(jax.random.key(1), shape)
    model, optimizer = model_of(config), make_optimizer(OptimConfig())
    init = functools.partial(init_state, model, optimizer, time=shape[-1])
    state = jax.jit(init)(jax.random.key(0))
    step = make_train_step(make_objective(model), optimizer)
    return jax.jit(step, donate_argnums=0), state, Excerpt(sources.sum(1), sources)


def measure(args: argparse.Namespace) -> dict:
    """Compile and time one preset in this process."""
    import jax

    from sepjax.functional.framing import frames_for

    jax.config.update("jax_default_matmul_precision", PRECISION[args.dtype])
    config, batch = PRESETS[args.preset]
    config.model.compute_dtype = "bfloat16" if args.dtype == "bf16" else "float32"
    batch, samples = args.batch or batch, round(args.seconds * config.data.sample_rate)
    channels = (
        () if config.model.audio_channels == 1 else (config.model.audio_channels,)
    )
    shape = (batch, len(config.data.sources), *channels, samples)
    step, state, excerpt = build(config, shape)
    began = time.perf_counter()
    compiled = step.lower(state, excerpt).compile()
    compile_s = time.perf_counter() - began

    def call():
        nonlocal state
        state, metrics = compiled(state, excerpt)
        return metrics["loss"]

    first = time_calls(call, args.warmup, 1)[0]
    times = time_calls(call, args.repeats, args.inner)
    flops = step_flops(config, batch * frames_for(samples, config.model.W))
    device = jax.devices()[0]
    return {
        "who": "sepjax",
        "jax": jax.__version__,
        "device": device.device_kind,
        "batch": batch,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "compile_s": compile_s,
        "first_s": first,
        "times_s": times,
        "gflops_per_s": flops / statistics.median(times) / 1e9,
        "temp_mib": compiled.memory_analysis().temp_size_in_bytes / 2**20,
        "peak_mib": peak_mib(device),
    }


def children(args: argparse.Namespace, preset: str, dtype: str) -> list[tuple]:
    """(label, command, environment) of every measurement of one preset."""
    huge = {} if args.device == "gpu" else HUGE_PAGES
    own = [sys.executable, __file__, "--child", "--preset", preset, "--dtype", dtype]
    for name in ("seconds", "repeats", "warmup", "inner", "batch"):
        own += [f"--{name}", str(getattr(args, name))]
    own_environment = {"JAX_PLATFORMS": "cpu"} if args.device == "cpu" else {}
    jobs = [("sepjax", own, own_environment)]
    if huge:
        jobs.append(("sepjax, huge pages", own, own_environment | huge))
    if not args.peer:
        return jobs
    peer = [args.peer_python, args.peer, "--preset", preset, "--mode", "train"]
    peer += ["--dtype", dtype, "--repeats", str(args.repeats)]
    peer += ["--warmup", str(args.warmup), "--inner", str(args.inner)]
    peer += ["--seconds", str(args.seconds), "--compile", args.peer_compile]
    peer += ["--batch", str(args.batch)] if args.batch else []
    if args.device == "gpu":
        return [*jobs, ("PyTorch", [*peer, "--device", "cuda"], {})]
    peer += ["--threads", str(os.cpu_count())]
    return [
        *jobs,
        ("PyTorch", peer, {}),
        ("PyTorch, malloc keep", [*peer, "--malloc", "keep"], {}),
        ("PyTorch, huge pages", peer, HUGE_PAGES),
    ]


def run_child(label: str, command: list[str], environment: dict) -> list[dict]:
    """The records that a child printed, and how busy the machine was meanwhile."""
    machine, began = machine_cpu_seconds(), time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    foreign = (machine_cpu_seconds() - machine - own) / (time.monotonic() - began)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    extra = {"label": label, "foreign": round(max(foreign, 0.0), 2)}
    return [json.loads(line) | extra for line in lines]


def print_table(records: list[dict]) -> None:
    """One line per measurement; ratios are to the fastest PyTorch of the preset."""
    grouped: dict[tuple, list[dict]] = {}
    for record in records:
        mode = "compiled " if record.get("compile") is True else ""
        key = (record["preset"], record["dtype"], mode + record["label"])
        grouped.setdefault(key, []).append(record)
    rows = {
        key: [t for record in group for t in record["times_s"]]
        for key, group in grouped.items()
    }
    print("| " + " | ".join(COLUMNS) + " |")
    print("| --- " * len(COLUMNS) + "|")
    for key, times in rows.items():
        group, median = grouped[key], statistics.median(times)
        peers = [rows[k] for k in rows if k[:2] == key[:2] and "PyTorch" in k[2]]
        ratio = ""
        if peers and "sepjax" in key[2]:
            ratio = f"{median / min(map(statistics.median, peers)):.2f}"
            ratio += f" ({min(times) / min(map(min, peers)):.2f})"
        gflops = statistics.median(r["gflops_per_s"] for r in group)
        compile_s = min(r.get("compile_s", r["first_s"] - min(times)) for r in group)
        temp = group[0].get("temp_mib")
        print(
            f"| {' | '.join(key)} | {compile_s:.1f} | {median:.3f} ({min(times):.3f})"
            f" | {gflops:.0f} | {max(r['peak_mib'] for r in group):.0f}"
            f" | {f'{temp:.0f}' if temp else ''} | {ratio}"
            f" | {max(r['foreign'] for r in group):.2f} |"
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="explore", help=", ".join(PRESETS))
    parser.add_argument("--dtype", default="f32", help=", ".join(PRECISION))
    parser.add_argument("--device", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--batch", type=int, default=0, help="0: the preset's")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--inner", type=int, default=1, help="steps per timing")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peer", help="torch_conv_tasnet.py")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--peer-compile", default="off", help="off, on or off,on")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.child:
        print(json.dumps({"preset": args.preset, "dtype": args.dtype} | measure(args)))
        return
    records = []
    for preset in args.preset.split(","):
        for dtype in args.dtype.split(","):
            for _ in range(args.rounds):
                for job in children(args, preset, dtype):
                    records += run_child(*job)
                    print(json.dumps(records[-1]), flush=True)
    print()
    print_table(records)


if __name__ == "__main__":
    main()
