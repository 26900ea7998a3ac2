"""Open-Unmix from its state dicts: what its source computes, in every mode."""

import warnings

import jax
import numpy as np
import pytest
from vectors import assert_near, quick

from sepjax.models.build import model_of
from sepjax.models.open_unmix.weights import join_targets, simplest_bandwidth
from sepjax.weights import (
    as_variables,
    from_state_dict,
    load_safetensors,
    save_safetensors,
)
from tests.support.models import config_of

# The README of the vectors: what a float32 implementation can reach.
TOLERANCE = 1e-5


def arrays(shared_data, name):
    with np.load(shared_data / f"umx_ref/{name}.npz") as data:
        return dict(data)


def core(shared_data, name, **options):
    """Arrays, model and variables of one network."""
    data = arrays(shared_data, name)
    state = {key[2:]: value for key, value in data.items() if key.startswith("p/")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config, params = from_state_dict(
            join_targets({"vocals": state}), family="open_unmix", **options
        )
    return data, config, as_variables(params)


def separator(shared_data, name, **options):
    data = arrays(shared_data, name)
    state = {key: value for key, value in data.items() if "/" in key}
    targets = tuple(data["targets"].tolist())
    config, params = from_state_dict(
        state, family="open_unmix", sources=targets, **options
    )
    return data, config, params


def ours(x):
    """(batch, channels, bins, frames) -> (batch, frames, channels, bins)."""
    return x.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("name", ["core_stereo", "core_uni"])
def test_network(shared_data, name):
    data, config, variables = core(shared_data, name)
    assert config.model.bidirectional == (name == "core_stereo")
    assert config.model.audio_channels == 2
    assert config.model.wiener_iterations == 0
    config.model.dropout = 0.0
    model = model_of(config)
    x = ours(data["x"])
    run = quick(lambda v: model.apply(v, x, method="magnitudes"))
    assert_near(run(variables)[:, 0], ours(data["y_eval"]), TOLERANCE)

    def train(variables):
        return model.apply(
            variables, x, train=True, method="magnitudes", mutable=["batch_stats"]
        )

    found, new = quick(train)(variables)
    assert_near(found[:, 0], ours(data["y_train_nodrop"]), TOLERANCE)
    for norm, statistics in new["batch_stats"].items():
        for ours_, theirs in (("mean", "running_mean"), ("var", "running_var")):
            expected = data[f"after/{norm}.{theirs}"]
            assert_near(statistics[ours_][0], expected, TOLERANCE)


@pytest.mark.parametrize("name", ["core_stereo", "core_uni"])
def test_parameters_are_those_that_the_model_draws(shared_data, name):
    _, config, variables = core(shared_data, name)
    config.model.wiener_iterations = 0
    wave = np.zeros((1, 2, 200), np.float32)
    drawn = jax.eval_shape(model_of(config).init, jax.random.key(0), wave)
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, drawn)


@pytest.mark.parametrize("iterations", [0, 1])
def test_separator(shared_data, iterations):
    data, config, params = separator(
        shared_data, f"separator_n{iterations}", iterations=iterations
    )
    found = quick(model_of(config).apply)(as_variables(params), data["audio"])
    assert_near(found.estimates, data["estimates"], TOLERANCE)


def test_separator_with_short_excerpts(shared_data):
    data, config, params = separator(shared_data, "separator_n1_win7")
    model = model_of(config).clone(excerpt_frames=7)
    found = quick(model.apply)(as_variables(params), data["audio"])
    # Few frames are badly conditioned: float64 is 6e-6 from the vector itself, and
    # float32 5e-6 from float64.
    assert_near(found.estimates, data["estimates"], 1.5e-5)


def test_round_trip(shared_data, tmp_path):
    data, config, params = separator(shared_data, "separator_n1")
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_safetensors(first, config, params)
    again, same = load_safetensors(first)
    assert (again.model, again.data) == (config.model, config.data)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    save_safetensors(second, again, same)
    assert first.read_bytes() == second.read_bytes()
    found = quick(model_of(again).apply)(as_variables(same), data["audio"])
    assert_near(found.estimates, data["estimates"], TOLERANCE)


def test_targets_are_chosen_and_ordered(shared_data):
    data, _, params = separator(shared_data, "separator_n1")
    state = {key: value for key, value in data.items() if "/" in key}
    config, all_ = from_state_dict(state, family="open_unmix", residual=True)
    assert config.data.sources == ("vocals", "drums", "bass")
    assert model_of(config).sources[-1] == "residual"
    jax.tree.map(np.testing.assert_array_equal, all_, params)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config, two = from_state_dict(
            state, family="open_unmix", sources=("bass", "vocals")
        )
    assert config.data.sources == ("bass", "vocals")
    picked = jax.tree.map(lambda leaf: leaf[[2, 0]], params)
    jax.tree.map(np.testing.assert_array_equal, two, picked)


def test_what_shapes_tell(shared_data):
    _, config, _ = separator(shared_data, "separator_n1", hop=64, softmask=True)
    assert (config.model.n_fft, config.model.hop, config.model.hidden) == (512, 64, 16)
    assert (config.model.layers, config.model.bidirectional) == (3, True)
    assert (config.model.wiener_iterations, config.model.wiener_softmask) == (1, True)


def test_bandwidths():
    assert simplest_bandwidth(1487, 2049, 44100) == 16000
    assert simplest_bandwidth(513, 513, 16000) == 0
    for heard in (1, 2, 180, 256):
        bandwidth = simplest_bandwidth(heard, 257, 44100)
        config = config_of(
            name="open_unmix",
            n_fft=512,
            hop=128,
            hidden=4,
            layers=1,
            bandwidth=bandwidth,
            sample_rate=44100,
        )
        wave = np.zeros((1, 600), np.float32)
        drawn = jax.eval_shape(model_of(config).init, jax.random.key(0), wave)
        assert drawn["params"]["input_mean"].shape == (4, heard)


def test_unknown_and_missing_arrays(shared_data):
    data = arrays(shared_data, "core_uni")
    state = {key[2:]: value for key, value in data.items() if key.startswith("p/")}

    def read(**states):
        return from_state_dict(join_targets(states), family="open_unmix")

    old = state | {"stft.window": np.ones(4), "sample_rate": np.array(44100)}
    with pytest.warns(UserWarning, match="2 arrays .* vocals/sample_rate"):
        _, params = read(vocals=old)
    jax.tree.map(np.testing.assert_array_equal, params, read(vocals=state)[1])
    short = {key: value for key, value in state.items() if key != "lstm.bias_hh_l0"}
    with pytest.raises(KeyError, match=r"no 'bass/lstm.bias_hh_l0'"):
        read(vocals=state, bass=short)
    with pytest.raises(KeyError, match="names must say their target"):
        from_state_dict(state, family="open_unmix")
    with pytest.raises(KeyError, match=r"no target \['drum'\]"):
        from_state_dict(
            join_targets({"drums": state}), family="open_unmix", sources=("drum",)
        )
    other = {
        key[2:]: value
        for key, value in arrays(shared_data, "core_stereo").items()
        if key.startswith("p/")
    }
    with pytest.raises(ValueError, match="'bass' and 'vocals' differ in the sizes of"):
        read(vocals=state, bass=other)
    with pytest.raises(ValueError, match="no multiple of the 20 bins"):
        read(vocals=state | {"fc1.weight": np.zeros((8, 41))})
