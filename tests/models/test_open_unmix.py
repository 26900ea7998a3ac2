"""Open-Unmix: sizes, what it promises, and stored vectors by way of its weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.config.rules import validate
from sepjax.functional.spectral import stft
from sepjax.functional.training import batch_norm, initial_statistics
from sepjax.models.build import model_of
from sepjax.models.open_unmix.model import bins_within
from sepjax.models.open_unmix.network import (
    magnitude_network,
    magnitude_network_parts,
)
from tests.support.models import config_of, make_model
from tests.support.signals import noise

SMALL = dict(name="open_unmix", hidden=8, layers=2, n_fft=64, hop=16)


@functools.cache
def built(stereo=False, **fields):
    config = config_of(**SMALL | fields, audio_channels=1 + stereo)
    model = model_of(config)
    wave = jnp.zeros((1, *(2,) * stereo, 200))
    return model, jax.jit(model.init)(jax.random.key(0), wave)


@pytest.mark.parametrize(
    ("fields", "weights"),
    [
        (dict(audio_channels=2, sample_rate=44100), 8_893_348),  # umx, umxhq
        (dict(audio_channels=2, sample_rate=44100, hidden=1024), 28_257_188),
        (
            dict(sample_rate=16000, hidden=256, n_fft=1024, hop=512),  # umxse
            1_583_622,
        ),
    ],
)
def test_published_sizes(fields, weights):
    config = config_of(name="open_unmix", sources=("a", "b"), **fields)
    wave = jnp.zeros((1, *(2,) * (config.model.audio_channels == 2), 5000))
    shapes = jax.eval_shape(model_of(config).init, jax.random.key(0), wave)
    leaves = jax.tree.leaves(shapes["params"])
    assert all(len(leaf.shape) > 1 and leaf.shape[0] == 2 for leaf in leaves)
    assert sum(leaf.size for leaf in leaves) == 2 * weights


def test_bins():
    assert bins_within(16000, n_fft=4096, sample_rate=44100) == 1487
    assert bins_within(16000, n_fft=1024, sample_rate=16000) == 513
    assert bins_within(0, n_fft=64, sample_rate=8000) == 33
    # An edge on a bin belongs to it.
    assert bins_within(1000, n_fft=64, sample_rate=8000) == 9


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("stereo", [False, True])
def test_any_length_comes_back(stereo, residual):
    model = make_model(**SMALL, audio_channels=1 + stereo, wiener_residual=residual)
    channels = (2,) * stereo
    for time in (1, 17, 1000, 1001):
        wave = jax.ShapeDtypeStruct((3, *channels, time), jnp.float32)
        found, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), wave)
        assert found.estimates.shape == (3, 4 + residual, *channels, time)
        assert found.estimates.dtype == jnp.float32
        assert found.masks is None
        assert found.latent is None


def test_module_says_what_it_is():
    model = make_model(**SMALL, sources=("a", "b"), sample_rate=22050)
    assert (model.sources, model.sample_rate) == (("a", "b"), 22050)
    assert (model.audio_channels, model.needs_sources) == (1, False)
    with_rest = make_model(**SMALL, sources=("a", "b"), wiener_residual=True)
    assert with_rest.sources == ("a", "b", "residual")
    model, variables = built()
    assert model.apply(variables, method="kernels") == {}


@pytest.mark.parametrize("stereo", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_sources_do_not_share_anything_but_the_filter(stereo):
    model, variables = built(stereo, wiener_iterations=0, sources=("a", "b", "c"))
    wave = noise(1, *(2,) * stereo, 300)
    run = jax.jit(model.apply)
    before = run(variables, wave).estimates
    gains = np.array([1.0, 1.5, 1.0], np.float32)
    changed = jax.tree.map(lambda leaf: (np.asarray(leaf).T * gains).T, variables)
    change = np.abs(run(changed, wave).estimates - before)
    assert change[:, [0, 2]].max() == 0
    assert change[:, 1].max() > 1e-3
    # Each draws weights of its own, and stands where its name does.
    assert np.abs(before[:, 0] - before[:, 1]).max() > 1e-3
    alone = model_of(lone_config(stereo, sources=("c",)))
    third = jax.tree.map(lambda leaf: np.asarray(leaf)[2:], variables)
    found = jax.jit(alone.apply)(third, wave).estimates
    np.testing.assert_allclose(found[:, 0], before[:, 2], atol=1e-6)


def lone_config(stereo, **fields):
    return config_of(**SMALL, audio_channels=1 + stereo, wiener_iterations=0, **fields)


def test_with_the_residual_the_sources_sum_to_the_mixture():
    wave = noise(2, 2, 500)
    for iterations, tolerance in ((0, 1e-5), (1, 2e-4)):
        model, variables = built(
            True, wiener_residual=True, wiener_iterations=iterations
        )
        estimates = jax.jit(model.apply)(variables, wave).estimates
        # The filter's regularization takes a little.
        np.testing.assert_allclose(estimates.sum(1), wave, atol=tolerance * 4)


def test_silence_stays_silence_and_gradients_finite():
    model, variables = built(True, sources=("a", "b"), layers=1)

    def power(wave, params):
        found = model.apply(variables | {"params": params}, wave)
        return jnp.sum(jnp.square(found.estimates))

    silence = np.zeros((1, 2, 300), np.float32)
    half = noise(1, 2, 300)
    half[..., :200] = 0
    slopes = jax.jit(jax.value_and_grad(power, argnums=(0, 1)))
    for wave in (silence, half):
        value, gradients = slopes(wave, variables["params"])
        assert (value == 0) == (not wave.any())
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_a_network_of_the_past_hears_no_future():
    model, variables = built(bidirectional=False)
    assert variables["params"]["lstm_0"]["state"].shape == (4, 1, 8, 32)
    run = jax.jit(lambda x: model.apply(variables, x, method="magnitudes"))
    x = np.abs(noise(1, 12, 1, 33))
    later = x.copy()
    later[:, 7:] += 1
    change = np.abs(run(x) - run(later))
    assert change[:, :, :7].max() == 0
    assert change[:, :, 7:].max() > 0


def test_training_spectra():
    model, variables = built(True, dropout=0.5)
    sources = jnp.asarray(noise(2, 4, 2, 200))
    mixture = sources.sum(1)

    def run(variables, key):
        return model.apply(
            variables,
            mixture,
            sources,
            train=True,
            method="spectra",
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )

    run = jax.jit(run)
    spectra, new = run(variables, jax.random.key(1))
    found, truth = spectra["spectra"], spectra["source_spectra"]
    frames = (200 - 64) // 16 + 1
    assert found.shape == truth.shape == (2, 4, frames, 33, 2)
    expected = np.abs(stft(sources, n_fft=64, hop=16, center=False))
    np.testing.assert_allclose(np.moveaxis(truth, -1, 2), expected, atol=1e-4)
    # Dropout differs from key to key and between sources, and not without training.
    again = run(variables, jax.random.key(1))[0]["spectra"]
    np.testing.assert_array_equal(again, found)
    assert np.abs(run(variables, jax.random.key(2))[0]["spectra"] - found).max() > 1e-3
    moved = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), new["batch_stats"], variables["batch_stats"]
    )
    assert min(jax.tree.leaves(moved)) > 1e-3
    tested = jax.jit(
        lambda v: model.apply(v, mixture, sources, train=False, method="spectra")
    )
    np.testing.assert_array_equal(tested(variables)["source_spectra"], truth)


def test_a_mono_model_hears_the_mean_of_magnitudes():
    model, variables = built(dropout=0.0)
    waves = jnp.asarray(noise(3, 4, 2, 200))

    def spectra(waves):
        found = model.apply(
            variables, waves.sum(1), waves, train=False, method="spectra"
        )
        return found["spectra"], found["source_spectra"]

    found, truth = jax.jit(spectra)(waves)
    assert found.shape == truth.shape == (3, 4, 9, 33, 1)
    expected = np.abs(stft(waves, n_fft=64, hop=16, center=False)).mean(2)
    np.testing.assert_allclose(truth[..., 0], expected, atol=1e-4)
    # Opposite channels are not silent.
    opposite = np.stack([waves[:, :, 0], -waves[:, :, 0]], 2)
    mono = jax.jit(spectra)(waves[:, :, :1])
    for one, other in zip(jax.jit(spectra)(opposite), mono):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(jax.jit(spectra)(waves[:, :, 0])[0], mono[0], atol=1e-6)


def test_batch_norm_of_numbers():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (2, 5, 4)).astype(np.float32)
    params = {"gain": noise(4, seed=1), "bias": noise(4, seed=2)}
    known = {"mean": noise(4, seed=3), "var": np.abs(noise(4, seed=4))}
    learned, statistics = jax.tree.map(jnp.asarray, (params, known))
    y, new = batch_norm(learned, statistics, jnp.asarray(x), train=True)
    flat = x.reshape(10, 4).astype(float)
    expected = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5)
    expected = expected * params["gain"] + params["bias"]
    np.testing.assert_allclose(y.reshape(10, 4), expected, atol=1e-5)
    mean = 0.9 * known["mean"] + 0.1 * flat.mean(0)
    variance = 0.9 * known["var"] + 0.1 * flat.var(0, ddof=1)
    np.testing.assert_allclose(new["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(new["var"], variance, rtol=1e-5)
    y, same = batch_norm(learned, statistics, jnp.asarray(x), train=False)
    assert all(same[name] is known for name, known in statistics.items())
    expected = (flat - known["mean"]) / np.sqrt(known["var"] + 1e-5)
    expected = expected * params["gain"] + params["bias"]
    np.testing.assert_allclose(y.reshape(10, 4), expected, rtol=1e-5, atol=1e-5)


def test_initial_weights_and_mask():
    parts = magnitude_network_parts(bins=9, heard=5, hidden=4, layers=1)
    draws = jax.jit(lambda key: {name: draw(key) for name, draw in parts.items()})
    params = jax.device_get(draws(jax.random.key(0)))
    for name, fan_in in (("fc1", 10), ("fc2", 8), ("fc3", 4)):
        assert np.abs(params[name]["kernel"]).max() <= fan_in**-0.5
        assert np.abs(params[name]["kernel"]).max() > 0.8 * fan_in**-0.5
    x = np.abs(noise(1, 6, 2, 9))
    # A mask of relu(0 * m + 1) is one.
    params["output_scale"] = jnp.zeros(9)
    statistics = initial_statistics(params)
    found, _ = jax.jit(magnitude_network)(params, statistics, x)
    np.testing.assert_array_equal(found, x)


def test_errors():
    model = make_model(**SMALL, audio_channels=2)
    with pytest.raises(ValueError, match=r"hears \(batch, 2, time\), not \(1, 300\)"):
        jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 300)))
    lone = make_model(**SMALL, sources=("vocals",))
    with pytest.raises(ValueError, match="one source returns the mixture"):
        jax.eval_shape(lone.init, jax.random.key(0), np.zeros((1, 300)))
    with pytest.raises(ValueError, match="must be even for two directions"):
        magnitude_network_parts(bins=9, heard=5, hidden=5)


def test_rules():
    config = config_of(
        name="open_unmix",
        sources=("residual",),
        hidden=7,
        hop=3000,
        dropout=1.0,
        bandwidth=-1.0,
        wiener_iterations=-1,
        wiener_residual=True,
    )
    with pytest.raises(ValueError, match="hidden=7 must be even") as problems:
        validate(config)
    for part in (
        "hop=3000 at most half",
        "dropout=1.0",
        "bandwidth=-1.0",
        "wiener_iterations=-1 must be 0 or more",
        "a source named 'residual'",
    ):
        assert part in str(problems.value)
    config = config_of(name="open_unmix", sources=("vocals",))
    with pytest.raises(ValueError, match="one source returns the mixture"):
        validate(config)
    config.model.wiener_residual = True
    validate(config)
