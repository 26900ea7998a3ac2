"""Demucs v1 from its state dict: what its source estimates."""

import functools
import warnings

import jax
import numpy as np
import pytest
from vectors import assert_near, load, quick

from sepjax.models.build import model_of
from sepjax.models.demucs.model import valid_length
from sepjax.models.demucs.weights import simplest_growth
from sepjax.weights import from_state_dict

VECTORS = ("demucs_v1_depth3_mono", "demucs_v1_depth6_stereo")
# The README of the vectors: what a float32 implementation can reach.
TOLERANCE = 1e-5


@functools.cache
def imported(shared_data, name):
    arrays, state, meta = load(shared_data, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config, params = from_state_dict(
            state, family="demucs", sample_rate=meta["kwargs"]["samplerate"]
        )
    return arrays, meta, config, {"params": params}


@pytest.mark.parametrize("name", VECTORS)
def test_configuration_and_parameters(shared_data, name):
    _, meta, config, variables = imported(shared_data, name)
    kwargs = meta["kwargs"]
    assert config.model.channels == kwargs["channels"]
    assert config.model.depth == kwargs["depth"]
    assert config.model.growth == kwargs.get("growth", 2.0)
    assert config.model.lstm_layers == kwargs.get("lstm_layers", 2)
    assert config.model.audio_channels == kwargs["audio_channels"]
    assert len(config.data.sources) == kwargs["sources"]
    model = model_of(config)
    wave = np.zeros((1, *(2,) * (config.model.audio_channels == 2), 100), np.float32)
    drawn = jax.eval_shape(model.init, jax.random.key(0), wave)
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, drawn)


@pytest.mark.parametrize("name", VECTORS)
def test_network_and_track(shared_data, name):
    arrays, _, config, variables = imported(shared_data, name)
    model, mono = model_of(config), config.model.audio_channels == 1
    wave, track = arrays["in/x"], arrays["in/track"][None]
    network = quick(lambda v, x: model.apply(v, x, method="network"))
    found = network(variables, wave[:, 0] if mono else wave)
    expected = arrays["out/y"]
    assert_near(found, expected[:, :, 0] if mono else expected, TOLERANCE)
    found = quick(model.apply)(variables, track[:, 0] if mono else track)
    assert found.masks is None
    expected = arrays["out/track"][None]
    assert_near(found.estimates, expected[:, :, 0] if mono else expected, TOLERANCE)


@pytest.mark.parametrize("name", VECTORS)
def test_valid_lengths(shared_data, name):
    arrays, _, config, _ = imported(shared_data, name)
    found = [
        valid_length(int(time), config.model.depth) for time in arrays["in/lengths"]
    ]
    np.testing.assert_array_equal(found, arrays["out/valid_lengths"])


def test_growth_from_widths():
    assert simplest_growth([48, 96, 192]) == 2
    assert simplest_growth([5]) == 2
    assert simplest_growth([7, 8, 9, 10]) == 1.2
    with pytest.raises(ValueError, match=r"no growth makes the channels \[4, 8, 9\]"):
        simplest_growth([4, 8, 9])
