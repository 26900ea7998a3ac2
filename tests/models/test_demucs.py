"""Demucs v1: sizes, lengths, initial weights and what the model promises."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.config.rules import validate
from sepjax.models.build import model_of
from sepjax.models.demucs.model import (
    convolve,
    convolve_transposed,
    init_conv,
    rescale,
    valid_length,
)
from tests.support.models import config_of, make_model
from tests.support.signals import noise

SMALL = dict(name="demucs", channels=4, depth=3, growth=1.5)


def shapes(stereo=False, **fields):
    config = config_of(name="demucs", audio_channels=1 + stereo, **fields)
    wave = jnp.zeros((1, *(2,) * stereo, 800))
    return jax.eval_shape(model_of(config).init, jax.random.key(0), wave)["params"]


@pytest.mark.parametrize(
    ("channels", "weights"),
    # facebookresearch/demucs v1 with four stereo sources.
    [(100, 648_548_208), (64, 265_679_496), (48, 149_462_504)],
)
def test_published_sizes(channels, weights):
    tree = shapes(stereo=True, channels=channels)
    assert sum(leaf.size for leaf in jax.tree.leaves(tree)) == weights


def test_valid_lengths_of_the_published_size(shared_data):
    path = shared_data / "model_ref/demucs_v1_full_size.json"
    expected = json.loads(path.read_text())
    assert valid_length(441_000) == expected["valid_length_441000"]
    for time, length in expected["valid_lengths"].items():
        assert valid_length(int(time)) == length


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_valid_length_is_enough_and_a_fixed_point_of_what_it_yields(depth):
    for time in (1, 2, 1000, 12_345):
        length = valid_length(time, depth)
        yielded = length
        for _ in range(depth):
            assert (yielded - 8) % 4 == 0
            yielded = (yielded - 8) // 4 + 1
        for _ in range(depth):
            yielded = (yielded - 2 - 1) * 4 + 8
        assert yielded >= time
        assert valid_length(yielded, depth) == length


@pytest.mark.parametrize("stereo", [False, True])
def test_any_length_comes_back(stereo):
    model = make_model(**SMALL, audio_channels=1 + stereo)
    channels = (2,) * stereo
    for time in (1, 17, 1000, 1001):
        wave = jax.ShapeDtypeStruct((3, *channels, time), jnp.float32)
        found, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), wave)
        assert found.estimates.shape == (3, 4, *channels, time)
        assert found.masks is None
        assert found.latent is None


def test_module_says_what_it_is():
    model = make_model(**SMALL, sources=("a", "b"), sample_rate=22050)
    assert (model.sources, model.sample_rate) == (("a", "b"), 22050)
    assert (model.audio_channels, model.needs_sources) == (1, False)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 500)))
    taps = model.apply(variables, method="kernels")["encoder/filters"]
    assert taps.shape == (8, 4)


def test_shift_by_all_strides_shifts_the_estimates():
    # Between the layers every fourth frame is kept: 4**depth samples are one frame
    # inside. The recurrent network hears other frames, so that there is none here.
    model = make_model(**SMALL, lstm_layers=1)
    length = valid_length(2000, 3)
    wave = noise(1, length + 64)
    params = jax.jit(model.init)(jax.random.key(1), wave[:, :length])["params"]
    silent = jax.tree.map(jnp.zeros_like, params["linear"])
    variables = {"params": params | {"linear": silent}}
    network = jax.jit(lambda x: model.apply(variables, x, method="network"))
    here, later = network(wave[:, :length]), network(wave[:, 64:])
    # At the ends fewer frames overlap.
    here, later = here[..., 364:-300], later[..., 300:-364]
    scale = np.abs(here).max()
    np.testing.assert_allclose(here, later, atol=1e-5 * scale)
    assert np.std(here) > 1e-3 * scale


@pytest.mark.parametrize(("width", "stride"), [(8, 4), (3, 1), (1, 1)])
def test_convolutions_are_those_of_xla(width, stride):
    x, kernel, bias = noise(2, 37, 5), noise(width, 5, 6, seed=1), noise(6, seed=2)
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    layout = ("NHC", "HIO", "NHC")
    expected = jax.lax.conv_general_dilated(
        x, kernel, (stride,), "VALID", dimension_numbers=layout
    )
    found = np.asarray(convolve(params, jnp.asarray(x), stride))
    np.testing.assert_allclose(found, np.asarray(expected) + bias, atol=1e-5)
    # The transposed one is the adjoint of a convolution.
    y = noise(*expected.shape, seed=3)
    back = {"kernel": jnp.swapaxes(params["kernel"], 1, 2), "bias": jnp.zeros(5)}
    wave = convolve_transposed(back, jnp.asarray(y), stride)
    seen = x[:, : wave.shape[1]]
    left, right = np.sum((found - bias) * y), np.sum(np.asarray(wave) * seen)
    np.testing.assert_allclose(left, right, rtol=1e-4)


def test_rescaled_weights_are_the_reference(shared_data):
    with np.load(shared_data / "model_ref/demucs_v1_rescale.npz") as data:
        found = rescale(jnp.asarray(data["in/weight"]), jnp.asarray(data["in/bias"]))
        for array, name in zip(found, ("weight", "bias")):
            # Float32 rounding of one quotient.
            np.testing.assert_allclose(array, data[f"out/{name}"], rtol=1e-6)


def test_initial_weights_have_the_spread_of_the_source():
    params = init_conv(jax.random.key(0), 8, 16, 64, fan_in=128)
    # std(w) of the uniform draw is 1 / sqrt(3 fan_in); rescaling leaves sqrt(0.1 std).
    expected = (0.1 * (3 * 128) ** -0.5) ** 0.5
    np.testing.assert_allclose(jnp.std(params["kernel"]), expected, rtol=0.02)
    # Kernel and bias are divided by the same number.
    bound = 3**0.5 * expected
    assert 0.8 * bound < np.abs(params["bias"]).max() <= 1.02 * bound


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(channels=0), "channels=0 must be positive"),
        (dict(depth=-1), "depth=-1 must be positive"),
        (dict(growth=0.0), "growth=0.0 must be positive"),
        (dict(lstm_layers=0), "lstm_layers=0 must be positive"),
    ],
)
def test_configurations_that_make_no_sense(fields, message):
    config = config_of(name="demucs", **fields)
    with pytest.raises(ValueError, match=message):
        validate(config)
