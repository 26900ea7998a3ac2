"""Hybrid Demucs of both kinds: the public package's numbers, sizes, and its parts."""

import dataclasses
import json
import re
import warnings
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.config import Config
from sepjax.config.rules import validate
from sepjax.foreign.state_dict import StateReader
from sepjax.functional.dense import dense
from sepjax.functional.norms import place_norm
from sepjax.models.build import build_model, model_of
from sepjax.models.htdemucs.config import HDemucsConfig, HTDemucsConfig
from sepjax.models.htdemucs.layers import (
    EPSILON,
    add_residuals,
    convolve_rows,
    draw_residual,
)
from sepjax.models.htdemucs.model import analyze, network_parts, synthesize
from sepjax.models.htdemucs.track import estimate_chunk, separate_track
from sepjax.models.htdemucs.weights import _read, read_arguments
from sepjax.weights import from_state_dict
from tests.support.models import make_model
from tests.support.signals import noise

# The README of the vectors: what a float32 implementation can reach.
TOLERANCE = 1e-5
TINY = dict(channels=4, depth=1, n_fft=64, dconv_comp=2, t_layers=1, t_heads=2)


def quick(function):
    """Jit for a function that runs once or twice."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def assert_near(found, expected, tolerance=TOLERANCE):
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def load(shared_data, name):
    """Arrays, the state dict and arguments of a vector."""
    with np.load(shared_data / f"model_ref_modern/{name}.npz") as data:
        arrays = {key: data[key] for key in data.files}
    arguments = json.loads(str(arrays.pop("meta")))["arguments"]
    if "segment" in arguments:
        arguments["segment"] = Fraction(arguments["segment"])
    state = {key[2:]: array for key, array in arrays.items() if key.startswith("p/")}
    return arrays, state, arguments


def imported(shared_data, name):
    arrays, state, arguments = load(shared_data, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of arrays that nothing has asked for
        options = read_arguments(arguments)
        config, params = from_state_dict(state, family="htdemucs", **options)
    return arrays, config, {"params": params}


@pytest.mark.parametrize(
    "name",
    [
        "htdemucs_norms_crossfirst_mono",
        pytest.param("hdemucs_tiny", marks=pytest.mark.slow),  # to compile
    ],
)
def test_estimates_are_those_of_the_source(shared_data, name):
    arrays, config, variables = imported(shared_data, name)
    wave, expected = arrays["in/x"], arrays["out/y"]
    if config.model.audio_channels == 1:
        wave, expected = wave[:, 0], expected[:, :, 0]
    found = quick(model_of(config).apply)(variables, wave)
    assert_near(found.estimates, expected)
    assert found.masks is None


def test_a_track_is_separated_as_by_the_source(shared_data, monkeypatch):
    estimate = estimate_chunk.__wrapped__
    options = {"xla_backend_optimization_level": 0}
    estimate = jax.jit(estimate, static_argnums=0, compiler_options=options)
    monkeypatch.setattr("sepjax.models.htdemucs.track.estimate_chunk", estimate)
    arrays, config, variables = imported(shared_data, "htdemucs_tiny_4")
    model, track = model_of(config), arrays["in/track"][0]
    assert (config.model.segment, model.segment) == (0.75, 6000)
    options = dict(normalize=False)
    assert_near(
        separate_track(model, variables, track, **options), arrays["out/track"][0]
    )
    # What is shorter than a segment is padded at its end, and means hear the zeros.
    padded = np.pad(arrays["in/x"][0], ((0, 0), (0, 6000 - 5001)))
    found = estimate(model, variables, padded)[..., :5001]
    assert_near(found, arrays["out/y"][0])
    shape = jax.eval_shape(model.apply, variables, arrays["in/x"]).estimates.shape
    assert shape == arrays["out/y"].shape
    # Levels before and after: the estimates follow those of the track.
    level = separate_track(model, variables, 8 * track + 1)
    plain = separate_track(model, variables, track)
    # Deviations have 1e-5 beside them in the network, which levels do not scale.
    assert_near(
        level - level.mean(-1, keepdims=True),
        8 * (plain - plain.mean(-1, keepdims=True)),
        2e-4,
    )


def test_shifts_are_later_starts(shared_data, monkeypatch):
    seen = []

    def echo(model, variables, wave):
        seen.append(wave)
        return np.stack([wave, 2 * wave])

    monkeypatch.setattr("sepjax.models.htdemucs.track.estimate_chunk", echo)
    model = make_model("htdemucs", **TINY, segment=0.1, sources=("a", "b"))
    track = noise(2, 3000)
    found = separate_track(model, {}, track, shifts=3, normalize=False)
    assert_near(found, np.stack([track, 2 * track]))
    assert {wave.shape for wave in seen} == {(2, 800)}
    assert len({wave.tobytes() for wave in seen}) > 12  # of three different starts
    with pytest.raises(ValueError, match="length=0 must be 2 samples"):
        separate_track(make_model("htdemucs", **TINY), {}, track)


def test_sizes_of_public_models(shared_data):
    path = shared_data / "model_ref_modern/full_size.json"
    expected = json.loads(path.read_text())["parameter_counts"]
    published = HTDemucsConfig(bottom_channels=512, dconv_mode=3)
    names = ("drums", "bass", "other", "vocals", "guitar", "piano")
    for name, config, sources in (
        ("htdemucs", published, names[:4]),
        ("htdemucs_6s", HTDemucsConfig(dconv_mode=3), names),
        (
            "htdemucs class defaults (dconv_mode 1, bottom 0)",
            HTDemucsConfig(),
            names[:4],
        ),
    ):
        draws, key = network_parts(config, len(sources)).values(), jax.random.key(0)
        drawn = [jax.eval_shape(draw, key) for draw in draws]
        sizes = [leaf.size for leaf in jax.tree.leaves(drawn)]
        assert sum(sizes) == expected[name]["parameters"], name
        assert len(sizes) == expected[name]["state_dict_entries"], name


@pytest.mark.parametrize("name", ["dconv_attn_only", "dconv_lstm_attn_long"])
def test_residual_branches(shared_data, name):
    arrays, state, arguments = load(shared_data, name)
    state = {f"dconv.{key}": array for key, array in state.items()}
    config = HDemucsConfig(dconv_comp=arguments["compress"])
    layer = config.layers()[4]._replace(lstm=arguments["lstm"], attention=True)
    options = dict(width=16, layer=layer, config=config)
    drawn = jax.eval_shape(lambda key: draw_residual(key, **options), jax.random.key(0))
    parts = _read(StateReader(state), "", {"dconv_0": drawn, "dconv_1": drawn})
    x = np.moveaxis(arrays["in/x"], 1, -1)  # the items are places of one spectrogram
    found = quick(add_residuals)(parts, np.moveaxis(x, 0, 1)[None])[0]
    assert_near(found, arrays["out/y"].transpose(2, 0, 1))


@pytest.mark.parametrize("bias", [0.0, 100.0])
def test_a_norm_from_few_channels_is_that_of_many(bias):
    draw = np.random.default_rng(0).standard_normal
    part = {
        "conv": {"kernel": draw((3, 8, 2)), "bias": draw(2)},
        "norm1": {"gain": draw(2), "bias": draw(2)},
        "rewrite": {"kernel": draw((1, 2, 16)), "bias": bias * draw(16)},
        "norm2": {"gain": draw(16), "bias": draw(16)},
        "scale": draw(8),
    }
    x, change = draw((2, 6, 3, 8)), draw((2, 6, 3, 8))

    def formula(part, x):
        y = convolve_rows(part["conv"], x, 1)
        y = place_norm(y, **part["norm1"], epsilon=EPSILON)
        y = dense(part["rewrite"], jax.nn.gelu(y, approximate=False))
        y = place_norm(y, **part["norm2"], epsilon=EPSILON)
        return x + part["scale"][None, None, None] * jax.nn.glu(y)

    def both(function):
        y, backward = jax.vjp(function, *jax.tree.map(jnp.float32, (part, x)))
        return jax.tree.leaves((y, backward(jnp.float32(change))))

    def few(part, x):
        return add_residuals({"dconv_0": part}, x, remat=True)

    found = quick(lambda: both(few))()
    # The formula loses as much where the mean is far from zero.
    tolerance = 1e-5 * max(1, bias)
    for one, other in zip(found, quick(lambda: both(formula))()):
        assert_near(one, other, tolerance)


@pytest.mark.parametrize("time", [1, 100, 1000, 1024])
def test_spectrogram_of_any_length_and_back(time):
    n_fft, hop = 256, 64
    wave = noise(2, time).astype(np.float64)
    frames = -(-time // hop)
    left, right = 96, 96 + frames * hop - time
    if (missing := max(left, right) + 1 - time) > 0:  # zeros first, mostly behind
        behind = min(right, missing)
        wave = np.pad(wave, ((0, 0), (missing - behind, behind)))
        left, right = left - missing + behind, right - behind
    padded = np.pad(wave, ((0, 0), (left, right)), mode="reflect")
    padded = np.pad(padded, ((0, 0), (128, 128)), mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    starts = range(0, padded.shape[-1] - n_fft + 1, hop)
    blocks = [np.fft.rfft(padded[:, s : s + n_fft] * window) for s in starts]
    expected = np.stack(blocks, axis=1)[:, 2 : 2 + frames, :-1] / 16
    given = noise(2, time)
    found = np.asarray(analyze(jnp.asarray(given)[None], n_fft))[0]
    assert_near(found[..., 0::2] + 1j * found[..., 1::2], np.moveaxis(expected, 0, -1))
    if time > 1000:
        # The last bin is left out, and frames beyond the ends.
        smooth = np.convolve(given[0], np.hanning(16) / 8, "same").astype(np.float32)
        again = synthesize(analyze(jnp.asarray(smooth)[None, None], n_fft), n_fft, time)
        assert_near(again[0, 0, hop * 2 : -hop * 2], smooth[hop * 2 : -hop * 2], 1e-3)


def test_several_networks_are_averaged_for_each_source():
    single = make_model("htdemucs", **TINY, sources=("a", "b"))
    wave = noise(1, 2, 300)
    weights = (1.0, 0.0, 3.0, 2.0)  # a: 1/4 and 3/4, b: the second alone
    both = make_model(
        "htdemucs", **TINY, networks=2, weights=weights, sources=("a", "b")
    )
    shapes = jax.eval_shape(both.init, jax.random.key(0), wave)
    draw = np.random.default_rng(0).normal
    variables = jax.tree.map(lambda x: draw(0, 0.1, x.shape).astype("f"), shapes)
    apply = quick(single.apply)
    one, two = (
        apply(jax.tree.map(lambda x, n=n: x[n], variables), wave).estimates
        for n in (0, 1)
    )
    found = quick(both.apply)(variables, wave).estimates
    expected = np.stack([one[:, 0] / 4 + 3 * two[:, 0] / 4, two[:, 1]], axis=1)
    assert_near(found, expected)
    assert np.abs(one - two).max() > 1e-3
    taps = both.apply(variables, method="kernels")["encoder/filters"]
    assert taps.shape == (8, 2 * 2 * 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["htdemucs_norms_crossfirst_mono", "hdemucs_tiny"])
def test_gradients_are_finite_and_the_same_where_layers_are_computed_again(
    shared_data, name
):
    arrays, config, variables = imported(shared_data, name)
    wave = arrays["in/x"]
    wave = wave[:, 0] if config.model.audio_channels == 1 else wave

    def gradient(remat):
        again = dataclasses.replace(config.model, remat=remat)
        names = dict(sources=config.data.sources, sample_rate=8000)
        model = build_model(again, **names)

        def loss(variables):
            return jnp.abs(model.apply(variables, wave).estimates - 0.1).mean()

        return quick(jax.grad(loss))(variables)

    plain, again = gradient(False), gradient(True)
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(plain))
    for one, two in zip(jax.tree.leaves(plain), jax.tree.leaves(again)):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            HTDemucsConfig(n_fft=1000),
            "n_fft=1000 must have half a window of a multiple",
        ),
        (HTDemucsConfig(depth=5), "the transformer needs two"),
        (HDemucsConfig(n_fft=2048), "n_fft=2048 must be a power of four"),
        (HTDemucsConfig(t_heads=7), "t_heads=7: the 384 channels"),
        (HTDemucsConfig(norm_starts=0, norm_groups=5), "norm_groups=5 does not divide"),
        (
            HTDemucsConfig(norm_starts=0, norm_groups=6),
            "norm_groups=6 does not divide the 8 channels",
        ),
        (HTDemucsConfig(channels=4), "leaves 0 of the 4 channels of layer 1"),
        (HDemucsConfig(channels=6, dconv_comp=5), "leaves 19 of the 96 channels"),
        (HTDemucsConfig(t_heads=0), "t_heads=0 must be positive"),
        (HTDemucsConfig(depth=16, n_fft=4), "makes"),
        (
            HTDemucsConfig(networks=2, weights=(1.0,)),
            "one for each of 4 sources in each of 2",
        ),
        (HTDemucsConfig(weights=(1.0, 1.0, 0.0, 1.0)), "a source has none"),
        (HTDemucsConfig(segment=-1.0), "must be 0 or more"),
    ],
)
def test_configurations_that_make_no_sense(model, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        validate(Config(model=model))
    validate(Config(model=type(model)()))
