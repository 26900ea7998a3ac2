"""Scores are computed where float64 is, the model where it was told to."""

import importlib
import pkgutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import sepjax.evaluation
from sepjax.evaluation import bss_eval, ideal_binary_mask, ideal_wiener_filter
from sepjax.evaluation.device import float64_device
from sepjax.evaluation.feasibility.song import overlap
from sepjax.evaluation.run import evaluate
from sepjax.inference import stream as separation_stream
from tests.evaluation.test_evaluate_run import PROVENANCE, Split, config, song

DOUBLES = ("f64", "complex<f64>")


def jitted_functions():
    """Everything of sepjax.evaluation that is compiled, and the model's chunks."""
    names = [
        module.name
        for module in pkgutil.walk_packages(
            sepjax.evaluation.__path__, "sepjax.evaluation."
        )
    ]
    modules = [importlib.import_module(name) for name in names]
    return {
        (module, name): value
        for module in (*modules, separation_stream)
        for name, value in vars(module).items()
        if hasattr(value, "lower") and hasattr(value, "trace")
    }


@pytest.fixture
def calls(monkeypatch):
    """Notes of each compiled function whether it has doubles, and its devices."""
    functions = jitted_functions()
    made = {name: [] for _, name in functions}
    for (module, name), function in functions.items():

        def record(*args, function=function, name=name, **options):
            text = function.lower(*args, **options).as_text()
            result = function(*args, **options)
            devices = {d for leaf in jax.tree.leaves(result) for d in leaf.devices()}
            double = any(kind in text for kind in DOUBLES)
            made[name].append((double, devices))
            return result

        monkeypatch.setattr(module, name, record)
    return made


def test_doubles_stay_on_the_host_and_the_model_on_the_accelerator(calls, tmp_path):
    host, accelerator = jax.devices()[:2]
    noise = np.random.default_rng(0).normal(size=(2, 900, 2))
    with jax.default_device(accelerator):
        assert float64_device() == host
        bss_eval(noise, noise[::-1], window=400, hop=400, filters=4)
        ideal_binary_mask(noise, noise.sum(0), n_fft=64)
        ideal_wiener_filter(noise, noise.sum(0), n_fft=64)
        overlap(noise, sample_rate=8000)
        options = dict(workdir=tmp_path, provenance=PROVENANCE, progress=False)
        evaluate(Split(), {}, config(), [song("first", 1.0, 1)], **options)
        assert jax.numpy.ones(1).devices() == {accelerator}
    assert all(calls.values()), "a new function has to be called above"
    floats = {name for name, made in calls.items() if not any(d for d, _ in made)}
    assert floats == {"estimate_batch", "_common_energy"}
    for name, made in calls.items():
        place = accelerator if name in floats else host
        assert all(devices == {place} for _, devices in made), name


def test_a_gpu_computes_itself_and_a_host_without_cpu_is_told_what_to_set(monkeypatch):
    """No such device is here, so that only what is asked of it can be checked."""
    accelerators, local = {"default": "gpu"}, jax.local_devices

    def devices(backend="default"):
        if backend == "cpu" and accelerators.get("cpu") == "excluded":
            raise RuntimeError("Unknown backend cpu")
        kind = accelerators.get(backend)
        return [SimpleNamespace(platform=kind)] if kind else local(backend=backend)

    monkeypatch.setattr(jax, "local_devices", devices)
    assert float64_device().platform == "gpu"
    accelerators["default"] = "tpu"
    assert float64_device() == jax.devices("cpu")[0]
    accelerators["cpu"] = "excluded"
    with pytest.raises(ValueError, match="JAX_PLATFORMS=tpu,cpu"):
        float64_device()
