"""SI-SDR against its definition in float64, its invariances, and silence."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sepjax.config import LossConfig
from sepjax.losses import (
    LOSSES,
    active_sources,
    mean_over_active,
    si_sdr,
    whole_batch,
)
from sepjax.train.objective import reduce_share
from tests.support import signals


def reduced(sources, estimates, name="si_sdr", **weights):
    """The loss of a batch, and its values per source."""
    facts = dict(sources=sources, estimates=estimates, mixture=sources.sum(1))
    facts |= dict(whole=whole_batch(sources), weights=LossConfig(**weights))
    return reduce_share(LOSSES.find(name), facts | dict(sample_rate=8000))


noise = functools.partial(signals.noise, dtype=np.float64)


def definition(reference, estimate, zero_mean=False):
    if zero_mean:
        reference = reference - reference.mean(-1, keepdims=True)
        estimate = estimate - estimate.mean(-1, keepdims=True)
    scale = (reference * estimate).sum(-1) / (reference**2).sum(-1)
    target = scale[..., None] * reference
    ratio = (target**2).sum(-1) / ((target - estimate) ** 2).sum(-1)
    return 10 * np.log10(ratio)


@pytest.mark.parametrize("zero_mean", [False, True])
def test_definition(zero_mean):
    reference = noise(3, 4, 1000, seed=0) + 0.3
    estimate = reference + noise(3, 4, 1000, seed=1) * np.logspace(-2, 1, 4)[:, None]
    found = si_sdr(
        jnp.asarray(reference, jnp.float32),
        jnp.asarray(estimate, jnp.float32),
        zero_mean=zero_mean,
    )
    expected = definition(reference, estimate, zero_mean)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_equals_the_loss_of_meta_tasnet(shared_data):
    """The same floors, so the same value to the last digit, masked and unmasked."""
    with np.load(shared_data / "model_ref/si_sdr_losses.npz") as data, jax.enable_x64():
        waves = [jnp.asarray(data[f"in/{n}"], float) for n in ("source", "estimate")]
        values = si_sdr(*waves)
        for case, active in (
            ("unmasked", jnp.ones((3, 3))),
            ("masked", jnp.asarray(data["in/metatasnet_active"])),
        ):
            _, each = mean_over_active(values, active)
            np.testing.assert_allclose(each, data[f"out/metatasnet_{case}"], rtol=1e-9)


@pytest.mark.parametrize("zero_mean", [False, True])
def test_equals_asteroid(shared_data, zero_mean):
    """SI-SDR of every pair of sources; its epsilons rule below -20 and above 60 dB."""
    with np.load(shared_data / "model_ref/si_sdr_losses.npz") as data, jax.enable_x64():
        source, estimate = (data[f"in/{n}"] for n in ("source", "estimate"))
        expected = -data[f"out/asteroid_pairwise_sisdr_zm{zero_mean:d}"]
        pairs = (
            np.broadcast_to(source[:, None], (3, 3, 3, 1500)).astype(float),
            np.broadcast_to(estimate[:, :, None], (3, 3, 3, 1500)).astype(float),
        )
        found = si_sdr(*map(jnp.asarray, pairs), zero_mean=zero_mean)
    ordinary = (expected > -20) & (expected < 60)
    assert ordinary.sum() >= 10
    np.testing.assert_allclose(found[ordinary], expected[ordinary], atol=1e-4)


def test_invariant_to_the_scale_of_the_estimate():
    reference, estimate = (jnp.asarray(noise(500, seed=i), jnp.float32) for i in (0, 1))
    values = [si_sdr(reference, c * estimate) for c in (0.1, 1.0, -20.0)]
    np.testing.assert_allclose(values, values[0], atol=1e-3)


@pytest.mark.parametrize("which", ["reference", "estimate", "both", "none"])
def test_finite_for_silence_and_perfection(which):
    wave = jnp.asarray(noise(1, 2, 100, seed=2), jnp.float32)
    silent = jnp.zeros_like(wave)
    reference = silent if which in ("reference", "both") else wave
    estimate = silent if which in ("estimate", "both") else wave
    ratios, losses = (
        jax.jit(jax.value_and_grad(value))
        for value in (
            lambda e: si_sdr(reference, e).sum(),
            lambda e: reduced(reference, e)[0],
        )
    )
    for value, grad in (ratios(estimate), losses(estimate)):
        assert np.isfinite(value)
        assert np.isfinite(grad).all()


def test_gradient():
    reference = jnp.asarray(noise(2, 60, seed=3), jnp.float32)
    estimate = reference + jnp.asarray(noise(2, 60, seed=4), jnp.float32)
    ratio = jax.jit(lambda e: si_sdr(reference, e))
    check_grads(ratio, (estimate,), 1, modes=["rev"], rtol=2e-2)


def test_silent_sources_count_nowhere():
    reference = noise(3, 4, 80, seed=5)
    reference[0, 1] = reference[:, 3] = 0
    reference = jnp.asarray(reference, jnp.float32)
    estimate = reference + jnp.asarray(noise(3, 4, 80, seed=6), jnp.float32)
    loss, metrics = reduced(reference, estimate)
    values = np.array(si_sdr(reference, estimate))
    expected = [values[:, 0].mean(), values[1:, 1].mean(), values[:, 2].mean()]
    np.testing.assert_allclose(metrics["si_sdr"][:3], expected, rtol=1e-4)
    np.testing.assert_allclose(loss, -np.mean(expected), rtol=1e-4)


def test_shares_of_a_batch_add_up_to_its_mean():
    reference = jnp.asarray(noise(4, 2, 50, seed=7), jnp.float32).at[0, 1].set(0.0)
    estimate = jnp.asarray(noise(4, 2, 50, seed=8), jnp.float32)
    active = active_sources(reference)
    values = si_sdr(reference, estimate)
    whole, _ = mean_over_active(values, active)
    counts = active.sum(0).astype(jnp.float32)
    parts = [
        mean_over_active(values[i : i + 1], active[i : i + 1], counts)[0]
        for i in range(4)
    ]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-5)


def test_a_module_of_losses_and_metrics_can_be_reloaded(tmp_path, monkeypatch):
    text = "from sepjax.{}\n@{}.register('own', label='own'{})\ndef own(): return {}\n"
    for kind, home, more in (
        ("LOSSES", "losses import LOSSES", ""),
        ("METRICS", "evaluation.metrics import METRICS", ", definition='own'"),
    ):
        name = f"own_{kind.lower()}"
        file = tmp_path / f"{name}.py"
        monkeypatch.syspath_prepend(tmp_path)
        file.write_text(text.format(home, kind, more, 1))
        module = importlib.import_module(name)
        file.write_text(text.format(home, kind, more, 222))
        try:
            registry = getattr(importlib.reload(module), kind)
            assert registry.find("own").function() == 222
        finally:
            getattr(module, kind).pop("own")
