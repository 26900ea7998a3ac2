"""SCNet: numbers of both public forms, sizes, and what the model promises."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.config.rules import validate
from sepjax.foreign.state_dict import StateReader
from sepjax.models.build import model_of
from sepjax.models.parameters import count_parameters
from sepjax.models.scnet import model as scnet
from sepjax.models.scnet import weights as scnet_weights
from sepjax.train.optim.chain import matrix_axes
from tests.support.models import config_of, make_model
from tests.support.signals import noise

# The README of the vectors: what a float32 implementation can reach.
TOLERANCE = 1e-5
TINY = dict(n_fft=64, hop=16, channels=(4,), depths=(1, 1, 1), dual_paths=2)
SLOW = pytest.mark.slow
VECTORS = ("scnet_authors_3", pytest.param("scnet_tiny_4", marks=SLOW))  # to compile


def quick(function):
    """Jit for a function that runs once or twice."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def assert_near(found, expected):
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale)


@functools.cache
def imported(folder, name):
    """Arrays of a file, its state dict, and the model with its parameters."""
    with np.load(folder / f"model_ref_modern/{name}.npz") as data:
        arrays = dict(data)
    state = {n[2:]: leaf for n, leaf in arrays.items() if n.startswith("p/")}
    options = options_of(arrays) | dict(standardize="authors" in name)
    reader = StateReader(state)
    config, params = scnet_weights.scnet(reader, **options)
    assert not reader.rest
    return arrays, state, config, params


def options_of(arrays):
    theirs = json.loads(str(arrays["meta"]))["arguments"]
    options = dict(n_fft=theirs["nfft"], hop=theirs["hop_size"], sample_rate=8000)
    options["shares"] = tuple(map(str, theirs["band_SR"]))
    return options | dict(sources=tuple(theirs["sources"]))


def as_image(x):
    """(batch, channels, bins, frames) as in the vectors -> as here."""
    return np.asarray(x).transpose(0, 3, 2, 1)


@pytest.mark.parametrize("name", VECTORS)
def test_estimates_and_what_lies_between_are_those_of_public_code(
    shared_data, name, monkeypatch
):
    arrays, state, config, params = imported(shared_data, name)
    model, layers = model_of(config), len(config.model.channels)
    encode, decode = scnet.encode, scnet.decode
    middle = {}

    def encoded(part, x, *form):
        n = sum(key.startswith("skip") for key in middle)
        middle[f"skip{n}"] = encode(part, x, *form)
        if n:
            middle[f"encoder{n - 1}"] = x
        return middle[f"skip{n}"]

    def decoded(part, x, *form):
        if "separation" not in middle:
            middle["separation"] = x - middle[f"skip{layers - 1}"]
        return decode(part, x, *form)

    def run(params, wave):
        middle.clear()
        pair = jax.tree.map(lambda leaf: leaf[0], params["pairs"])
        estimates = model.apply({"params": params}, wave).estimates
        last = jnp.asarray(as_image(arrays[f"mid/encoder{layers - 1}"]))
        middle["dp0"] = scnet.dual_path(pair["plain"], last)
        spectrum = np.fft.rfft(as_image(arrays["mid/dp0"]), axis=1, norm="ortho")
        parts = np.concatenate([spectrum.real, spectrum.imag], -1, dtype=np.float32)
        middle["dp1"] = scnet.dual_path(pair["spectral"], jnp.asarray(parts))
        return estimates, dict(middle)

    monkeypatch.setattr(scnet, "encode", encoded)
    monkeypatch.setattr(scnet, "decode", decoded)
    estimates, middle = quick(run)(params, arrays["in/x"])
    assert_near(estimates, arrays["out/y"])
    for key, found in middle.items():
        theirs = f"mid/encoder{key[4:]}_skip" if "skip" in key else f"mid/{key}"
        found = as_image(found)
        if f"{theirs}_first" in arrays:
            assert list(found.shape) == list(arrays[f"{theirs}_shape"])
            first = arrays[f"{theirs}_first"]
            assert_near(found.ravel()[: len(first)], first)
        else:
            assert_near(found, arrays[theirs])
    assert len(middle) == 2 * layers + 2  # the last encoder's is the input of dp0
    count = json.loads(str(arrays["meta"]))["parameters"]
    assert (
        count_parameters(params) == count == sum(leaf.size for leaf in state.values())
    )


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 10_578_768),
        pytest.param(
            dict(channels=(64, 128, 256), shares=(0.225, 0.372, 0.403)),
            42_181_232,
            marks=SLOW,
        ),
    ],
)
def test_published_sizes(fields, count):
    model = make_model("scnet", sample_rate=44100, **fields)
    wave = jax.ShapeDtypeStruct((1, 2, 9000), jnp.float32)
    drawn = jax.eval_shape(model.init, jax.random.key(0), wave)
    assert count_parameters(drawn["params"]) == count


def tiny(**fields):
    """A model of two bands, a wave, and variables that are not compiled to be drawn."""
    bands = dict(shares=(0.4, 0.6), kernels=(3, 4), depths=(2, 1), audio_channels=1)
    model, wave = make_model("scnet", **TINY | bands | fields), noise(2, 200)
    shapes = jax.eval_shape(model.init, jax.random.key(0), wave)
    drawn = jax.tree.map(lambda leaf: 0.3 * noise(*leaf.shape), shapes)
    return model, wave, drawn


def test_every_parameter_has_a_gradient_and_levels_stay():
    model, wave, variables = tiny()

    def power(variables, wave):
        estimates = model.apply(variables, wave).estimates
        return jnp.square(estimates).mean(), estimates

    step = quick(jax.value_and_grad(power, has_aux=True))
    (_, estimates), gradient = step(variables, wave)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
        assert leaf.any()
    # The deviation has 1e-5 beside it, which levels do not scale.
    (_, louder), _ = step(variables, 8 * wave)
    np.testing.assert_allclose(louder, 8 * estimates, atol=1e-3 * np.abs(louder).max())
    (_, silence), gradient = step(variables, 0 * wave)
    assert not np.asarray(silence).any()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@SLOW
def test_memory_is_saved_and_nothing_else():
    """Paths that are computed again change no estimate or gradient."""
    results = []
    for remat in (False, True):
        model, wave, variables = tiny(remat=remat)

        def power(variables, model=model, wave=wave):
            return jnp.square(model.apply(variables, wave).estimates).mean()

        results.append(jax.jit(jax.value_and_grad(power))(variables))
    for found, expected in zip(*map(jax.tree.leaves, results)):
        assert_near(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(("channels", "hop"), [(1, 24), (2, 64)])
def test_any_length_comes_back(channels, hop, standardize, monkeypatch):
    """A network that gives every source the mixture: the transform and its inverse."""
    frames = []

    def network(self, x):
        frames.append(x.shape[1])
        return jnp.tile(x, (1, 1, 1, 4))

    monkeypatch.setattr(scnet.Scnet, "network", network)
    monkeypatch.setattr(scnet, "network_parts", lambda *form: {})
    fields = dict(audio_channels=channels, hop=hop, standardize=standardize)
    model = make_model("scnet", **TINY | fields)
    for time in (1, 31, 64, 333):
        wave = noise(3, *(2,) * (channels - 1), time)
        apply = jax.jit(lambda wave: model.apply({}, wave).estimates)
        expected = np.stack([wave] * 4, axis=1)
        # 1e-5 beside the deviation are lost.
        tolerance = 1e-3 if standardize else 1e-5
        np.testing.assert_allclose(apply(wave), expected, atol=tolerance)
    assert not any(count % 2 for count in frames)


def test_it_is_no_stream_and_keeps_the_contract():
    model = make_model("scnet", **TINY)
    assert (model.streaming, model.audio_channels, model.objective) == (None, 2, "l1")
    with pytest.raises(ValueError, match="hears the future"):
        model.init_state(1)
    drawn = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2, 99)))
    axes = matrix_axes(drawn["params"])
    residuals = axes["encoder_0"]["residuals"]
    assert residuals["depthwise"]["kernel"] is None
    assert residuals["conv"]["kernel"].output_axis == 3
    assert axes["pairs"]["plain"]["bins"]["lstm"]["state"].output_axis == 3
    with pytest.raises(ValueError, match=r"model\.audio_channels=3"):
        validate(config_of("scnet", audio_channels=3))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(n_fft=63), "model.n_fft=63 must be even"),
        (dict(hop=65), "model.hop at most that"),
        (dict(channels=()), r"model.channels=\(\) must be model.compress or more"),
        (dict(channels=(3,)), r"model.channels=\(3,\) must be model.compress or more"),
        (dict(branch_kernel=4), "model.branch_kernel must be odd"),
        (dict(dual_paths=3), "and model.dual_paths even"),
        (dict(depths=(1, 1)), "one for each band"),
        (dict(depths=(1, 1, 0)), "must be above 0"),
        (dict(shares=(), depths=(), kernels=()), "must be above 0"),
        (dict(shares=(0.2, 0.2, 0.2)), "must sum to 1"),
        (dict(shares=(0.2, 0.8, float("nan"))), "must sum to 1"),
        (dict(channels=(4,) * 9, shares=(0.98, 0.01, 0.01)), "a band is empty"),
    ],
)
def test_configurations_that_make_no_sense(fields, message):
    with pytest.raises(ValueError, match=message):
        validate(config_of("scnet", **TINY | fields))


def cut(name):
    def damage(state):
        state[name] = state[name][..., 1:] if state[name].ndim == 1 else state[name][1:]

    return damage


@pytest.mark.parametrize(
    ("damage", "options", "error", "message"),
    [
        (lambda s: s.clear(), {}, KeyError, "no 'encoder.0.globalconv.bias'"),
        (
            lambda s: s.pop("decoder.1.1.convtrs.2.bias"),
            {},
            KeyError,
            "no 'decoder.1.1.convtrs.2.bias'",
        ),
        (
            cut("encoder.1.conv_modules.2.layers.0.4.bias"),
            {},
            ValueError,
            "follows from",
        ),
        (cut("decoder.0.1.convtrs.1.weight"), {}, ValueError, "follows from"),
        (
            cut("separation_net.dp_modules.1.lstm_layers.0.bias_hh_l0_reverse"),
            {},
            ValueError,
            "expected",
        ),
        (None, dict(sources=("a",)), ValueError, "are 1, the model has 3"),
        (None, dict(shares=("0.5", "0.5")), ValueError, "one for each band"),
    ],
)
def test_odd_states_are_told(shared_data, damage, options, error, message):
    arrays, state, *_ = imported(shared_data, "scnet_authors_3")
    state = dict(state)
    if damage:
        damage(state)
    options = options_of(arrays) | dict(standardize=True) | options
    with pytest.raises(error, match=message):
        scnet_weights.scnet(StateReader(state), **options)
