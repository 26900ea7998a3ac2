"""Settings of every test and doctest: strict, on four CPU devices, cached."""

import gc
import os
import sys
from importlib.metadata import version
from pathlib import Path

# Programs of tests run a few times; XLA's older emitters, where it still has them,
# compile in a third of the time. Read as jax is imported, here and in every process
# that a test starts; an unknown flag ends it.
QUICK = "--xla_cpu_parallel_codegen_split_count=1"
if version("jaxlib").startswith("0.10."):
    QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip()
# As the programs themselves: threads that wait for each other spin, for half of the
# processor time of BSS Eval. Workers and processes of tests inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Dozens of processes import the package: compile it once, whatever the shell says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

import jax
import pytest

from tests.support import annotations

ROOT = Path(__file__).parent
SHARED = ROOT.parent / "shared" / "data"

annotations.install()
jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests run few steps of small models: compiling takes longer than computing.
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def pytest_collection_finish() -> None:
    """Look for garbage seldom, and not in what was imported.

    jax keeps what it has traced and compiled: millions of objects that Python would
    go through again and again, for a quarter of the time of a file of training runs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real music and reference vectors that lie beside the checkout, if they do."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data at {SHARED}")
    return SHARED


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Forget compiled programs before the system refuses a process more memory maps.

    Each has some twenty, and Linux allows 65,530: a process that runs all tests ends
    without a word of why.
    """
    last = nextitem is None or nextitem.path != item.path
    if last and Path("/proc/self/maps").exists():
        with open("/proc/self/maps", "rb") as maps:
            if sum(1 for _ in maps) > 40_000:
                jax.clear_caches()
                gc.collect()
