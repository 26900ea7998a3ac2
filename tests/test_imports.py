"""The import rule of the house, read from the source, and the cost of an import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What a room may import of ours, beside itself and the bare package (its version).
BOTTOM = {"registry", "storage", "download", "foreign"}
ROOMS = {
    "registry": set(),
    "storage": set(),
    "download": {"storage"},
    "foreign": {"registry", "storage"},
    "config": {"registry"},
    "functional": set(),
    "losses": {"functional", "registry"},
    "models": BOTTOM | {"config", "functional", "losses"},
    "weights": BOTTOM | {"config", "functional", "models"},
    "train": {"registry", "storage", "config", "functional"}
    | {"losses", "models", "weights"},
    "data_pipelines": {"registry", "storage", "download", "config", "functional"},
    "inference": {"registry", "storage", "functional", "models", "weights"}
    | {"data_pipelines"},
    "evaluation": {"registry", "storage", "config", "functional", "losses"}
    | {"data_pipelines", "inference"},
    "report": {"registry", "storage", "functional", "evaluation"},
    "configs": {"config", "registry", "models"},
}
TOP = {"experiment", "commands"}
"""Rooms that may import everything, and that nothing else imports."""
TENSORFLOW = {"data_pipelines.feeding.tf_data", "data_pipelines.tfds_stems"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {
    module_name(path): path
    for package in ("sepjax", "data_pipelines", "configs")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def ours(path):
    packages = ("sepjax", "data_pipelines", "configs")
    return [name for name in imported(path) if name.split(".")[0] in packages]


def room(module):
    first, _, rest = module.partition(".")
    return rest.split(".")[0] if first == "sepjax" else first


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"sepjax"}))
def test_imports_point_one_way(name):
    own = room(name)
    for target in ours(MODULES[name]):
        other = room(target)
        if other in ("", own):
            continue
        assert other not in TOP or own in TOP, f"{name} imports {target}"
        assert own in TOP or other in ROOMS[own], f"{name} imports {target}"


def test_there_is_no_circle_between_files():
    """The package's own file is no link: it lists names for type checkers."""
    links = {
        name: {target for target in ours(path) if target not in ("sepjax", name)}
        for name, path in MODULES.items()
        if name != "sepjax"
    }
    while leaves := {name for name, targets in links.items() if not targets}:
        links = {
            name: targets - leaves
            for name, targets in links.items()
            if name not in leaves
        }
    assert not links, "in a circle, or above one: " + ", ".join(sorted(links))


def test_the_root_has_few_modules():
    files = {path.stem for path in (ROOT / "sepjax").glob("*.py")}
    assert files == {"__init__", "registry", "storage", "download"}


@pytest.mark.parametrize("name", MODULES)
def test_tensorflow_stays_in_its_rooms(name):
    found = [t for t in imported(MODULES[name]) if t.startswith("tensorflow")]
    assert not found or name in TENSORFLOW


def test_formulas_need_jax_only():
    for name, path in MODULES.items():
        if room(name) in ("functional", "losses"):
            packages = {target.split(".")[0] for target in imported(path)}
            foreign = packages - set(sys.stdlib_module_names) - {"sepjax"}
            assert foreign <= {"jax", "jaxtyping", "numpy"}, name


@pytest.mark.parametrize("name", MODULES)
def test_long_files_say_why(name):
    """Above 400 lines the first paragraph does; no file is there now."""
    assert len(MODULES[name].read_text().splitlines()) <= 400


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
