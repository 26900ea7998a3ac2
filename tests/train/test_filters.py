"""What the branches of an encoder bring to its bottleneck, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.framing import analyze
from sepjax.models.build import model_of
from sepjax.train.filters import EXCERPTS, branch_facts
from tests.support.models import config_of

FIELDS = dict(N=16, L=20, W=20, B=4, H=4, layers=1, stack=1, ideal_mask=True)


@pytest.fixture(scope="module")
def hybrid():
    """A small hybrid, its parameters, and a batch as feeders make them."""
    config = config_of(**FIELDS)
    model = model_of(config)
    wave = jnp.zeros((1, 400))
    init = jax.jit(model.init)
    params = init(jax.random.key(0), wave, jnp.zeros((1, 4, 400)))["params"]
    rng = np.random.default_rng(0)
    batch = {
        "chunks": rng.integers(-9999, 9999, (EXCERPTS + 2, 4, 800, 1), np.int16),
        "gains": np.ones((EXCERPTS + 2, 4, 1), np.float32),
        "channel": np.zeros((EXCERPTS + 2, 4), np.int32),
    }
    return config, model, {"params": params}, batch


def test_shares_are_those_of_energies(hybrid):
    config, model, variables, batch = hybrid
    found = branch_facts(model, variables, config, batch)
    assert [row["branch"] for row in found] == ["encoder/conv_0", "encoder/filters_0"]
    mixture = batch["chunks"][:EXCERPTS, ..., 0].sum(1).astype(np.float32)
    mixture /= mixture.std(-1, keepdims=True)
    taps = model.apply(variables, method="kernels")
    outputs = [
        np.asarray(analyze(mixture, taps[f"encoder/{name}"], 20), np.float64)
        for name in ("conv_0", "filters_0")
    ]
    outputs[0] = np.maximum(outputs[0], 0)
    kernel = np.asarray(variables["params"]["encoder"]["bottleneck_1"]["kernel"])
    weights = kernel[:8], kernel[8:]
    energies = []
    for row, output, part in zip(found, outputs, weights):
        norms, deviations = np.linalg.norm(part, axis=1), output.std((0, 1))
        np.testing.assert_allclose(row["norms"], norms, rtol=1e-5)
        np.testing.assert_allclose(row["deviations"], deviations, rtol=1e-4)
        assert (row["channels"], row["norm"]) == (8, pytest.approx(np.median(norms)))
        assert row["deviation"] == pytest.approx(np.median(deviations), rel=1e-4)
        arriving = (output @ part).var((0, 1)).sum()
        scaled = (norms * deviations) ** 2
        energies.append([(norms**2).sum(), scaled.sum(), arriving])
    shares = [[row[key] for key in ("weights", "scaled", "arriving")] for row in found]
    np.testing.assert_allclose(shares, energies / np.sum(energies, 0), rtol=1e-3)
    # Gammatones of unit power are far louder than Xavier's taps.
    assert shares[1][1] > 0.9 > shares[1][0]


def test_without_data_weights_alone_are_compared(hybrid):
    config, model, variables, batch = hybrid
    found = branch_facts(model, variables, config)
    heard = branch_facts(model, variables, config, batch)
    for one, two in zip(found, heard, strict=True):
        unknown = {"deviation", "deviations", "scaled", "arriving"}
        assert {name for name, value in one.items() if value is None} == unknown
        assert one["weights"] == pytest.approx(two["weights"])


def test_silence_has_no_share(hybrid):
    config, model, variables, batch = hybrid
    silent = batch | {"chunks": np.zeros_like(batch["chunks"])}
    for row in branch_facts(model, variables, config, silent):
        assert (row["scaled"], row["arriving"]) == (0, 0)


@pytest.mark.parametrize(
    ("name", "fields"),
    [("tasnet", FIELDS | {"encoding": "simple"}), ("open_unmix", dict(n_fft=256))],
)
def test_a_model_without_branches_has_no_facts(name, fields):
    config = config_of(name, **fields)
    model = model_of(config)
    channels = [config.model.audio_channels] * (config.model.audio_channels > 1)
    inputs = jnp.zeros((1, *channels, 4000)), jnp.zeros((1, 4, *channels, 4000))
    inputs = inputs if model.needs_sources else inputs[:1]
    key = jax.random.key(0)
    variables = jax.eval_shape(model.init, {"params": key, "dropout": key}, *inputs)
    variables = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), variables)
    assert branch_facts(model, variables, config) == []
