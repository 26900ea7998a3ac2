"""The import rule of the house, read from the source, and the cost of an import."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.house import imported, room, sources

ROOT = Path(__file__).parent.parent

# What a room may import of ours, beside itself and the bare package (its version).
BOTTOM = {"registry", "storage", "progress", "download", "foreign"}
ROOMS = {
    "registry": set(),
    "storage": set(),
    "progress": {"storage"},
    "download": {"storage", "progress"},
    "foreign": {"registry", "storage"},
    "config": {"registry"},
    "functional": set(),
    "losses": {"functional", "registry"},
    "models": BOTTOM | {"config", "functional", "losses"},
    "weights": BOTTOM | {"config", "functional", "models"},
    "train": {"registry", "storage", "progress", "config", "functional"}
    | {"losses", "models", "weights"},
    "data_pipelines": BOTTOM | {"config", "functional"},
    "inference": {"registry", "storage", "progress", "functional", "models"}
    | {"weights", "train", "data_pipelines"},
    "evaluation": {"registry", "storage", "config", "functional", "losses"}
    | {"data_pipelines", "inference"},
    "report": {"registry", "storage", "progress", "functional", "evaluation"},
    "listening": {"storage", "data_pipelines", "evaluation", "report"},
    "export": {"registry", "storage", "download", "models", "train", "inference"},
    "configs": {"config", "registry", "models"},
}
TOP = {"experiment", "commands"}
"""Rooms that may import everything, and that nothing else imports."""
TENSORFLOW = {"data_pipelines.feeding.tf_data", "data_pipelines.tfds_stems"}


MODULES = sources(ROOT)


def ours(path):
    packages = ("sepjax", "data_pipelines")
    return [n for n in imported(path, MODULES) if n.split(".")[0] in packages]


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"sepjax", "sepjax.__main__"}))
def test_imports_point_one_way(name):
    own = room(name)
    for target in ours(MODULES[name]):
        other = room(target)
        if other in ("", own):
            continue
        assert other not in TOP or own in TOP, f"{name} imports {target}"
        assert own in TOP or other in ROOMS[own], f"{name} imports {target}"


@pytest.mark.parametrize("name", MODULES)
def test_tensorflow_stays_in_its_rooms(name):
    found = [t for t in imported(MODULES[name], MODULES) if t.startswith("tensorflow")]
    assert not found or name in TENSORFLOW


def test_formulas_need_jax_only():
    for name, path in MODULES.items():
        if room(name) in ("functional", "losses"):
            packages = {target.split(".")[0] for target in imported(path, MODULES)}
            foreign = packages - set(sys.stdlib_module_names) - {"sepjax"}
            assert foreign <= {"jax", "jaxtyping", "numpy"}, name


def test_import_is_quick_and_light():
    heavy = ("tensorflow", "soundfile", "mir_eval", "ml_collections", "matplotlib")
    code = (
        "import sys, time; began = time.perf_counter(); import sepjax;"
        "sepjax.functional.filterbanks.sinc_kernel; sepjax.losses.si_sdr;"
        "sepjax.models.build_model; sepjax.train.make_train_step;"
        "print(time.perf_counter() - began, *sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    seconds, *loaded = run.stdout.split()
    assert not set(heavy) & set(loaded)
    # 1.5 s is the promise for `import sepjax` alone; here all of it is touched, on a
    # machine that may be busy.
    assert float(seconds) < 15
