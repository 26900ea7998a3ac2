"""The import rule of the house, read from the source, and the cost of an import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What a package may import of ours; a longer prefix wins over a shorter one. The bare
# "sepjax" is the package's own file (its version), not what lies in it.
ALLOWED = {
    "sepjax": set(),
    "sepjax.registry": set(),
    "sepjax.config": {"sepjax.registry", "sepjax.config.rules"},
    # Of the configuration its types only.
    "sepjax.config.rules": {
        *("sepjax.registry", "sepjax.config"),
        *("sepjax.config.rules_live", "sepjax.config.rules_train"),
    },
    "sepjax.config.rules_live": {"sepjax.config"},
    "sepjax.config.rules_train": {"sepjax.config", "sepjax.registry"},
    "sepjax.functional": {"sepjax.functional"},
    "sepjax.functional.augmentations": {"sepjax.functional", "sepjax.registry"},
    "sepjax.losses": {"sepjax.functional"},
    "sepjax.models": {
        "sepjax.models",
        "sepjax.functional",
        "sepjax.config",
        "sepjax.registry",
    },
    "sepjax.download": {"sepjax"},
    "sepjax.weights": {
        "sepjax",
        "sepjax.download",
        "sepjax.weights",
        "sepjax.models",
        "sepjax.functional",
        "sepjax.config",
        "sepjax.registry",
    },
    "sepjax.train": {
        "sepjax",
        "sepjax.train",
        "sepjax.weights.load",
        "sepjax.models",
        "sepjax.losses",
        "sepjax.functional",
        "sepjax.config",
        "sepjax.registry",
    },
    "sepjax.evaluation": {
        *("sepjax.evaluation", "sepjax.functional", "sepjax.losses", "sepjax.registry"),
    },
    # Reading files is the business of the data pipelines; this is its only way in.
    "sepjax.evaluation.folders.reading": {
        "sepjax.evaluation",
        "data_pipelines.audio.files",
    },
    "sepjax.evaluation.run": {"sepjax.evaluation", "sepjax.inference.separate"},
    "sepjax.inference.separate": {"sepjax.inference.stream"},
    "sepjax.inference.stream": {
        "sepjax.inference.chunks",
        "sepjax.inference.level_and_scale",
    },
    "sepjax.inference.chunks": set(),
    "sepjax.inference.level_and_scale": set(),
    "sepjax.report": {"sepjax.report", "sepjax.evaluation"},
    "sepjax.experiment.figures": {
        *("sepjax", "sepjax.registry", "sepjax.report", "sepjax.functional"),
    },
    "sepjax.experiment": {
        *("sepjax.experiment", "sepjax.config", "sepjax.registry"),
        "sepjax.report.run_folder",
    },
    "sepjax.commands.oracle": {
        "sepjax",
        "sepjax.evaluation",
        "sepjax.report",
        "sepjax.train.provenance",
        "data_pipelines",
    },
    "sepjax.commands.doctor": {"data_pipelines"},
    "sepjax.commands.prepare": {
        *("sepjax", "sepjax.commands.doctor", "sepjax.registry", "sepjax.report"),
        "data_pipelines",
    },
    "sepjax.commands.evaluate": {
        *("sepjax.evaluation", "sepjax.report", "sepjax.train.provenance"),
    },
    "sepjax.weights.load": {"sepjax.train", "sepjax.weights"},
    "sepjax.inference.stems": {"data_pipelines.audio.files"},
    "sepjax.commands.import_weights": {"sepjax.weights", "sepjax.models.parameters"},
    "sepjax.commands.cli": {
        "sepjax",
        "sepjax.commands.import_weights",
        "sepjax.weights.load",
        "sepjax.inference.stems",
        "sepjax.commands.evaluate",
        "sepjax.commands.oracle",
        "sepjax.commands.prepare",
        "sepjax.experiment.figures",
        "sepjax.inference.separate",
        "sepjax.inference.stream",
        "sepjax.evaluation",
        "sepjax.report",
        "sepjax.train",
        "sepjax.config",
        "data_pipelines",
    },
    "data_pipelines": {
        "data_pipelines",
        "sepjax.config",
        "sepjax.download",
        "sepjax.functional",
        "sepjax.registry",
    },
    "configs": {"sepjax.config", "sepjax.registry", "configs"},
}
TENSORFLOW = {"data_pipelines.feeding.tf_data", "data_pipelines.tfds_stems"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = [
    (module_name(path), path)
    for package in ("sepjax", "data_pipelines", "configs")
    for path in sorted((ROOT / package).rglob("*.py"))
]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = ROOT / node.module.replace(".", "/") / alias.name
                is_module = inner.is_dir() or inner.with_suffix(".py").exists()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def within(name, prefix):
    return name == prefix or name.startswith(prefix + ".")


@pytest.mark.parametrize(("name", "path"), MODULES)
def test_imports_point_one_way(name, path):
    rule = max((rule for rule in ALLOWED if within(name, rule)), key=len)
    for target in imported(path):
        if target.split(".")[0] not in ("sepjax", "data_pipelines", "configs"):
            continue
        allowed = any(
            target == ok if ok == "sepjax" else within(target, ok)
            for ok in ALLOWED[rule]
        )
        assert allowed, f"{name} imports {target}; {rule} may import {ALLOWED[rule]}"


@pytest.mark.parametrize(("name", "path"), MODULES)
def test_tensorflow_stays_in_its_rooms(name, path):
    found = [t for t in imported(path) if t.split(".")[0].startswith("tensorflow")]
    assert not found or name in TENSORFLOW


@pytest.mark.parametrize(("name", "path"), MODULES)
def test_files_are_short(name, path):
    assert len(path.read_text().splitlines()) <= 400


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
