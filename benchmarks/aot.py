"""Compile a training step for machines that are not there, and say what it does.

    python -m benchmarks.aot --config=configs/appendix_a.py:large_hybrid_pmpgtf \
        --topology=v5e:4x4 --config.model.compute_dtype=bfloat16
    python -m benchmarks.aot --table

XLA compiles for a topology without a device; nothing runs. It needs an environment with
``jax[tpu,cuda12]`` of sepjax's version of jax (6 GB) and no accelerator. A topology is
``v5e``, ``v5p`` or ``v6e`` with its shape (``v5e:2x2``), ``h100`` or ``a100`` with the
number of devices of one host (``h100:8``), or one device by the name alone. One JSON
line and one row of a table tell, of one device: parameters, flops and bytes
(``benchmarks/hlo.py`` says how they are counted), memory, transfers, and the least time
that the chip's published figures allow.

``--form=plain`` leaves the network's backward pass to jax, instead of the one written
by hand. ``--largest`` looks for the largest batch: memory at two sizes, extended on a
straight line to the memory of the chip, and a last compile that confirms it.
``--table`` runs every row of ``TABLE`` that is not in ``aot.jsonl`` yet, each in a
process of its own, and writes all of them into ``docs/benchmarks.md``.
"""

import functools
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from absl import app, flags
from jax.experimental import topologies
from ml_collections import config_flags

from benchmarks.hlo import read_work, totals
from sepjax.config import Config, resolve
from sepjax.functional import tcn
from sepjax.train.mesh import make_mesh
from sepjax.train.program import make_program

ROOT = Path(__file__).parent.parent
RECORDS, PAGE = ROOT / "benchmarks/aot.jsonl", ROOT / "docs/benchmarks.md"
HOURS = 2  # after which a row is given up
MARKS = "<!-- benchmarks.aot -->", "<!-- end of benchmarks.aot -->"

CONFIG = config_flags.DEFINE_config_file("config", help_string="file.py[:name]")
TOPOLOGY = flags.DEFINE_string("topology", "v5e", "v5e:4x4, h100:8, ...")
BATCH = flags.DEFINE_integer("batch", 0, "of one device; 0: the configuration's")
PART = flags.DEFINE_enum("part", "train", ["train", "eval"], "which step")
FORM = flags.DEFINE_enum("form", "fused", ["fused", "plain"], "its backward pass")
LARGEST = flags.DEFINE_bool("largest", False, "look for the largest batch that fits")
HLO = flags.DEFINE_string("hlo", "", "file that gets the compiled program's text")
RUN_TABLE = flags.DEFINE_bool("table", False, "run the rows of TABLE that are missing")
RETRY = flags.DEFINE_bool("retry", False, "run rows that failed before, too")
ONLY = flags.DEFINE_string("only", "", "rows of TABLE that have this in their name")


class Chip(NamedTuple):
    """Published figures of one device."""

    memory: float  # bytes that a program may have
    bandwidth: float  # bytes a second
    float32: float  # flops a second of matrix products, as jax multiplies by default:
    bfloat16: float  # a TPU rounds float32 to bfloat16, a GPU to TF32


# Google Cloud's pages "TPU v5e", "TPU v5p", "TPU v6e": the compiler keeps a quarter of
# a GiB. NVIDIA's data sheets of the H100 SXM and the A100 SXM 80 GB, without sparsity:
# jax takes three quarters of a GPU's memory unless it is told otherwise.
CHIPS = {
    "v5e": Chip(15.75 * 2**30, 819e9, 197e12, 197e12),
    "v5p": Chip(94.75 * 2**30, 2765e9, 459e12, 459e12),
    "v6e": Chip(31.25 * 2**30, 1638e9, 918e12, 918e12),
    "h100": Chip(0.75 * 84_929_347_584, 3352e9, 494.7e12, 989.4e12),
    "a100": Chip(0.75 * 85_100_068_864, 2039e9, 156e12, 312e12),
}
# No machine with TPUs is asked for; two processes may load their library at once.
LIBTPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# What XLA asks a GPU for, as it prints it for these two.
GPU = """gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 registers_per_core_limit: 65536
  registers_per_block_limit: 65536 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 {device}
}}
platform_name: "CUDA" device_description_str: "{name}"
dnn_version_info {{ major: 9 minor: 28 }} runtime_version {{ major: 12 minor: 9 }}"""
GPUS = {
    "h100": dict(
        name="NVIDIA H100 80GB HBM3",
        device="""cuda_compute_capability { major: 9 } core_count: 132
        fpus_per_core: 128 clock_rate_ghz: 1.98 memory_bandwidth: 3352320000000
        l2_cache_size: 52428800 device_memory_size: 84929347584
        shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448""",
    ),
    "a100": dict(
        name="NVIDIA A100-SXM4-80GB",
        device="""cuda_compute_capability { major: 8 } core_count: 108
        fpus_per_core: 64 clock_rate_ghz: 1.41 memory_bandwidth: 2039040000000
        l2_cache_size: 41943040 device_memory_size: 85100068864
        shared_memory_per_core: 167936 shared_memory_per_block_optin: 166912""",
    ),
}

LARGE = "appendix_a.py:large_hybrid_pmpgtf"
HUGE = "appendix_a.py:full_data_huge_hybrid_pmpgtf_large_tcn"
MODELS = {  # what a row says of the model -> its flags
    "irm_hybrid_pmpgtf": "appendix_a.py:irm_hybrid_pmpgtf",
    "large": LARGE,
    "large, bfloat16": f"{LARGE} --config.model.compute_dtype=bfloat16",
    "large, plain": f"{LARGE} --form=plain",
    "huge": HUGE,
    "huge, L = W = 20": f"{HUGE} --config.model.L=20 --config.model.W=20",
    "music": "base.py:music",
    "music, bfloat16": "base.py:music --config.model.compute_dtype=bfloat16",
    "Meta-TasNet, one stage": "chapter4.py:all_data",
    "Meta-TasNet, three stages": "chapter4.py:published",
    "Open-Unmix": "chapter6.py:umxhq",
    "Demucs v1": "base.py:demucs",
    "BS-RoFormer": "networks.py:bs_roformer",
    "Mel-RoFormer": "networks.py:mel_roformer",
    "BS-RoFormer, 2 s": "networks.py:bs_roformer --config.data.chunk_seconds=2",
    "Mel-RoFormer, 2 s": "networks.py:mel_roformer --config.data.chunk_seconds=2",
    "HTDemucs": "networks.py:htdemucs",
}
TABLE = [  # (model, topology and more flags), in the order in which they run
    *((name, "h100") for name in ("large", "large, bfloat16", "large, plain")),
    ("irm_hybrid_pmpgtf", "h100"),
    ("large", "h100:8"),
    ("large", "a100"),
    *((name, "h100") for name in ("Meta-TasNet, one stage", "Open-Unmix", "Demucs v1")),
    *((name, "h100 --largest") for name in ("huge", "huge, L = W = 20")),
    *((name, "h100 --largest") for name in ("music", "music, bfloat16")),
    *((name, "h100:8") for name in ("Meta-TasNet, one stage", "Open-Unmix")),
    ("Meta-TasNet, three stages", "h100"),
    *((name, "v5e") for name in ("irm_hybrid_pmpgtf", "large", "large, bfloat16")),
    *(("large", f"v5e:{shape}") for shape in ("2x2", "4x4", "16x16")),
    *((name, "v5e --batch=1 --largest") for name in ("huge", "huge, L = W = 20")),
    ("music", "v5e --batch=1 --largest"),
    *(("large", chip) for chip in ("v6e", "v5p")),
    *((name, "v5e") for name in ("Open-Unmix", "Meta-TasNet, one stage", "Demucs v1")),
    ("Meta-TasNet, three stages", "v5e"),
    *((f"{name}-RoFormer", "h100 --batch=1 --largest") for name in ("BS", "Mel")),
    *((f"{name}-RoFormer", "v5p --batch=1 --largest") for name in ("BS", "Mel")),
    *((f"{name}-RoFormer", "v5e --batch=1") for name in ("BS", "Mel")),
    ("BS-RoFormer, 2 s", "v5e --batch=1"),
    ("Mel-RoFormer, 2 s", "v5e --batch=1 --largest"),
    ("BS-RoFormer", "h100:8 --batch=1"),
    *(("BS-RoFormer", f"v5p:2x2x{depth} --batch=1") for depth in (2, 4)),
    *(("HTDemucs", more) for more in ("h100 --batch=1 --largest", "h100:8 --batch=1")),
    ("HTDemucs", "v5p --batch=1"),
]


def devices_of(topology: str) -> list:
    """Devices that are not there, of a topology such as ``v5e:4x4`` or ``h100:8``."""
    chip, _, shape = topology.partition(":")
    if chip in GPUS:
        name = f"1x1x{shape or 1}"
        options = dict(topology=name, target_config=GPU.format(**GPUS[chip]))
        return topologies.get_topology_desc(name, "cuda", **options).devices
    shape = shape or ("1x1x1" if chip == "v5p" else "1x1")
    single = math.prod(map(int, shape.split("x"))) == 1
    options = dict(chips_per_host_bounds=(1, 1, 1)) if single else {}
    return topologies.get_topology_desc(f"{chip}:{shape}", "tpu", **options).devices


def traced_step(config: Config, devices: list) -> tuple:
    """The step of a run, traced with shapes alone, and the number of parameters."""
    if config.train.seeds > 1:
        raise ValueError("several seeds are not counted: --config.train.seeds=1")
    program = make_program(config, make_mesh(devices))
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(program.init, key)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    rows = config.train.batch_size
    samples = round(config.data.chunk_seconds * config.data.sample_rate)
    array, lead = jax.ShapeDtypeStruct, (rows, len(config.data.sources))
    batch = {  # as a feeder hands it over, of stereo files
        "chunks": array((*lead, samples, 2), jnp.int16),
        "gains": array((*lead, 2), jnp.float32),
        "channel": array(lead, jnp.int32),
    }
    if PART.value == "train":
        return program.train_step.trace(state, batch), parameters
    batch["weight"] = array((rows,), jnp.float32)
    return program.eval_step.trace(state.params, batch, state.memory), parameters


def compiled(lowered: jax.stages.Lowered) -> tuple[jax.stages.Compiled, str]:
    """A program, and the option with which it was compiled, if any.

    On a GPU XLA writes matrix products as Triton kernels, whose tiles it tries out on
    the device. Without one it takes a first guess; where that finds no tiles, the
    products are left to cuBLAS.
    """
    try:
        return lowered.compile(), ""
    except jax.errors.JaxRuntimeError as error:
        if "output tile sizes" not in str(error):
            raise
    option = "xla_gpu_enable_triton_gemm"
    return lowered.compile(compiler_options={option: False}), f"{option}=false"


def measure(config: Config, batch: int) -> dict:
    """Everything that one compiled step says, with ``batch`` rows on each device."""
    chip = TOPOLOGY.value.split(":")[0]
    devices = devices_of(TOPOLOGY.value)
    config.train.batch_size = batch * len(devices)
    traced, parameters = traced_step(resolve(config), devices)
    lowered = traced.lower(lowering_platforms=("cuda" if chip in GPUS else "tpu",))
    wall, cpu = time.perf_counter(), time.process_time()
    program, option = compiled(lowered)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory, text = program.memory_analysis(), program.as_text()
    if HLO.value:
        Path(HLO.value).write_text(text)
    work = read_work(text)
    seconds = {
        "flops": work.flops / getattr(CHIPS[chip], config.model.compute_dtype),
        "bandwidth": work.bytes / CHIPS[chip].bandwidth,
    }
    bound = max(seconds, key=seconds.get)
    resident = memory.argument_size_in_bytes + memory.output_size_in_bytes
    resident += memory.generated_code_size_in_bytes - memory.alias_size_in_bytes
    return dict(
        config=config.name, dtype=config.model.compute_dtype, form=FORM.value,
        part=PART.value, topology=TOPOLOGY.value, devices=len(devices), batch=batch,
        parameters=parameters, compile_s=round(wall, 1), compile_cpu_s=round(cpu, 1),
        flops=work.flops, bytes=work.bytes, cycles=work.cycles,
        argument=memory.argument_size_in_bytes, temp=memory.temp_size_in_bytes,
        memory=resident + memory.temp_size_in_bytes, option=option,
        collectives=totals(work.collectives), loops=work.loops,
        roofline_s=seconds[bound], bound=bound, jax=jax.__version__,
    )  # fmt: skip


def largest(at: Callable[[int], dict], first: int, memory: float) -> dict:
    """The record of the largest batch, found by extrapolation and confirmed.

    Memory at two sizes gives a straight line; where the batch that it promises does not
    fit after all, one that is smaller by one, or by 3 %, is tried.
    """
    sizes = {batch: at(batch)["memory"] for batch in (first, 2 * first)}
    slope = (sizes[2 * first] - sizes[first]) / first
    batch = first + int((memory - sizes[first]) / slope)
    while batch > 0:
        try:
            record = at(batch)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
        else:
            if record["memory"] <= memory:
                return record | {"largest": True, "probes": sizes}
        batch = min(batch - 1, int(0.97 * batch))
    raise ValueError(f"not even one row fits into {memory / 1e9:.1f} GB")


COLUMNS = {  # title -> what a record says there
    "devices": lambda r: f"{r['devices']} x {r['topology'].split(':')[0]}",
    "rows a device": lambda r: f"{r['batch']}{' (largest)' * ('largest' in r)}",
    "parameters, M": lambda r: f"{r['parameters'] / 1e6:.2f}",
    "compile, processor s": lambda r: f"{r['compile_cpu_s']:.0f}",
    "Tflop": lambda r: f"{r['flops'] / 1e12:.3f}",
    "GB moved": lambda r: f"{r['bytes'] / 1e9:.1f}",
    "arguments, GB": lambda r: f"{r['argument'] / 1e9:.3f}",
    "temporaries, GB": lambda r: f"{r['temp'] / 1e9:.2f}",
    "transfers": lambda r: ", ".join(
        f"{sent['count']} {kind}, {sent['bytes'] / 1e6:.1f} MB"
        for kind, sent in r["collectives"].items()
    ),
    "cycles, M": lambda r: f"{r['cycles'] / 1e6:.0f}" if r["cycles"] else "",
    "least time, ms": lambda r: f"{1e3 * r['roofline_s']:.1f} ({r['bound']})",
}


def table(records: Iterable[dict]) -> str:
    """Records in Markdown, a line each; those that failed with their error."""
    lines = [["model", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    for record in records:
        cells = [record.get("model") or record["config"]]
        if "error" in record:
            cells += [record["topology"], record["error"][:160].replace("|", "/")]
        else:
            cells += [write(record) for write in COLUMNS.values()]
        lines.append(cells + [""] * (1 + len(COLUMNS) - len(cells)))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def run_table() -> None:
    """Run the rows that are missing, one after the other; write the page after each."""
    lines = RECORDS.read_text().splitlines() if RECORDS.exists() else []
    records = {record["row"]: record for record in map(json.loads, lines)}
    for model, options in [*TABLE, ("", "")]:
        before, _, rest = PAGE.read_text().partition(MARKS[0])
        rows = table(records[key] for key in map(" ".join, TABLE) if key in records)
        rows = f"{MARKS[0]}\n{rows}\n{MARKS[1]}"
        PAGE.write_text(before + rows + rest.partition(MARKS[1])[2])
        name = f"{model} {options}"
        known = name in records and not (RETRY.value and "error" in records[name])
        if model and ONLY.value in name and not known:
            print(name, flush=True)
            records[name] = {"row": name} | run_row(model, options)
            with RECORDS.open("a") as file:
                file.write(json.dumps(records[name]) + "\n")


def run_row(model: str, options: str) -> dict:
    """The record of a process of its own: whatever ends it, the table goes on."""
    config, *more = MODELS[model].split()
    topology, *own = options.split()
    command = [sys.executable, "-m", "benchmarks.aot", f"--config=configs/{config}"]
    command += [f"--topology={topology}", *more, *own]
    piped = dict(cwd=ROOT, capture_output=True, text=True)
    product = ["git", "log", "-1", "--format=%h", "--", "sepjax", "configs"]
    commit = subprocess.run(product, **piped).stdout.strip()
    record = {"model": model, "topology": topology, "commit": commit}
    try:
        done = subprocess.run(command, timeout=3600 * HOURS, **piped)
    except subprocess.TimeoutExpired:
        return record | {"error": f"not compiled in {HOURS} hours"}
    if done.returncode == 0:
        return record | json.loads(done.stdout.splitlines()[-1])
    said = re.findall(r"^[\w.]+(?:Error|Exception): .*", done.stderr, re.MULTILINE)
    return record | {"error": said[-1] if said else f"status {done.returncode}"}


def main(argv: list[str]) -> None:
    """Compile what the flags say, or the table."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]!r}")
    if RUN_TABLE.value:
        return run_table()
    if CONFIG.value is None or TOPOLOGY.value.split(":")[0] not in CHIPS:
        raise app.UsageError(f"--config=file.py:name and --topology of {[*CHIPS]}")
    jax.config.update("jax_platforms", "cpu")
    os.environ |= LIBTPU
    if FORM.value == "plain":
        tcn.FUSED = ()
    config = CONFIG.value
    batch = BATCH.value or config.train.batch_size
    chip = CHIPS[TOPOLOGY.value.split(":")[0]]
    at = functools.partial(measure, config)
    record = largest(at, batch, chip.memory) if LARGEST.value else at(batch)
    print(table([record]), file=sys.stderr)
    print(json.dumps(record))


if __name__ == "__main__":
    app.run(main)
