"""Spleeter: stored networks, tiles that give the whole song, and what is refused."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.config.rules import validate
from sepjax.inference.chunks import DEFAULT
from sepjax.inference.ensemble import Member, make_ensemble
from sepjax.inference.separate import separate
from sepjax.models.build import model_of
from sepjax.models.spleeter.model import ratio_masks
from sepjax.models.spleeter.network import double, spread
from sepjax.weights import as_variables, from_state_dict
from tests.support.models import config_of
from tests.support.signals import noise
from tests.weights.vectors import assert_near, quick

TINY = dict(filters=(2, 3), n_fft=64, hop=16, patch_frames=8, bins=24)
VECTORS = {2: "unet_leaky_2", 4: "unet_elu_4", 5: "unet_softmax_elu_5"}


@functools.cache
def tiny(stereo=True, **fields):
    fields = dict(name="spleeter", audio_channels=1 + stereo) | TINY | fields
    model = model_of(config_of(sources=("voice", "rest"), **fields))
    wave = jnp.zeros((1, *(2,) * stereo, 400))
    variables = jax.jit(model.init)(jax.random.key(0), wave)
    # Fresh statistics would leave the order of norm and activation untested.
    keys = iter(jax.random.split(jax.random.key(1), 99))
    return model, jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.uniform(next(keys), leaf.shape), variables
    )


@pytest.mark.parametrize("count", VECTORS)
def test_networks_of_stored_vectors(shared_data, count):
    path = shared_data / f"spleeter_ref/{VECTORS[count]}.npz"
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    meta = json.loads(str(arrays["meta"]))
    state = {name[2:]: leaf for name, leaf in arrays.items() if name.startswith("p/")}
    config, params = from_state_dict(state, family="spleeter", bins=meta["F"])
    assert config.data.sources == tuple(meta["instruments"])
    config.model.patch_frames = meta["T"]
    model, spectra = model_of(config), np.swapaxes(arrays["in/magnitude"], 2, 3)
    run = quick(functools.partial(model.apply, method="magnitudes"))
    estimates = run(as_variables(params), spectra)
    prepared = model.prepared(as_variables(params))
    assert_near(run(prepared, spectra), estimates, 1e-5)
    for index, name in enumerate(meta["instruments"]):
        estimate = np.swapaxes(estimates[:, index], 2, 3)
        assert_near(estimate, arrays[f"out/{name}"], 1e-5)


def test_prepared_variables_are_for_separation_alone():
    model, variables = tiny(filters=(2, 2, 2, 2), bins=16, patch_frames=16)
    member = Member(model, variables, DEFAULT)
    ensemble = make_ensemble([member])
    assert ensemble.members[0].variables is variables  # what is exported and hashed
    (prepared,) = ensemble.prepared
    assert "transformed" in prepared["prepared"]["networks"][0][0]["encoder_3"]
    silent = {**prepared, "params": jax.tree.map(jnp.zeros_like, variables["params"])}
    wave = noise(1, 2, 900)
    run = quick(model.apply)
    assert_near(run(prepared, wave).estimates, run(variables, wave).estimates, 1e-5)
    assert_near(run(silent, wave).estimates, run(prepared, wave).estimates, 1e-7)

    def trained(variables):
        options = dict(train=True, mutable=["batch_stats"])
        rngs = dict(dropout=jax.random.key(0))
        return model.apply(variables, wave, rngs=rngs, **options)[0].estimates

    np.testing.assert_array_equal(quick(trained)(prepared), quick(trained)(variables))


def transposed(x, kernel):
    """The transposed convolution of the published description, place by place."""
    batch, rows, columns, _ = x.shape
    y = np.zeros((batch, 2 * rows + 3, 2 * columns + 3, kernel.shape[3]))
    for i, j, k, m in np.ndindex(rows, columns, 5, 5):
        y[:, 2 * i + k, 2 * j + m] += x[:, i, j] @ kernel[:, k, m]
    return y[:, 1:-2, 1:-2]


@pytest.mark.parametrize(("channels", "ways"), [(2, "convolutions"), (40, "products")])
def test_transposed_convolution_in_both_ways(channels, ways):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 6, channels)).astype(np.float32)
    kernel = rng.normal(size=(channels, 5, 5, 3)).astype(np.float32)
    assert (25 * 48 < 36 * channels) == (ways == "products")
    y = spread(double(x, kernel, jnp.ones(3)))
    np.testing.assert_allclose(y, transposed(x, kernel) + 1, atol=1e-4)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("time", [1, 100, 128 - 64, 128, 129, 700])
def test_tiles_of_a_song_sum_to_the_whole(padded, time):
    model, variables = tiny(padded=padded, extension="average")
    song = noise(time, 2)
    whole = jax.jit(model.apply)(variables, song.T[None]).estimates[0]
    options = dict(sample_rate=8000, normalize=False, rescale=False)
    stems = separate(model, variables, song, **options)
    for index, name in enumerate(model.sources):
        expected = np.asarray(whole[index]).T
        np.testing.assert_allclose(stems[name], expected, atol=2e-6)


def test_masks_of_all_bins_give_the_mixture_back():
    model, variables = tiny(extension="average")
    song = noise(700, 2).T[None]
    estimates = model.apply(variables, song).estimates
    np.testing.assert_allclose(estimates.sum(1), song, atol=1e-5)


def test_bins_above_those_heard_are_silent():
    model, variables = tiny()
    estimates = np.asarray(model.apply(variables, noise(700, 2).T[None]).estimates)
    spectra = np.abs(np.fft.rfft(estimates[..., 100:612] * np.hanning(512)))
    # Bin 24 of 33 is at 3/4 of the band; windows leak into the next ones.
    assert spectra[..., 220:].max() < 1e-3 * spectra[..., :180].max()


def test_ratio_masks_share_silence_equally():
    masks = ratio_masks(jnp.zeros((4, 1, 1, 2, 3)))
    np.testing.assert_allclose(masks, 0.25, rtol=1e-6)


def test_wiener_filter_in_place_of_masks():
    model, variables = tiny(wiener_iterations=1)
    assert model.tiling is None
    song = noise(700, 2).T[None]
    estimates = np.asarray(model.apply(variables, song).estimates)
    ratio = tiny()[0].apply(variables, song).estimates
    assert np.isfinite(estimates).all()
    assert np.abs(estimates - ratio).max() > 1e-3


def test_configurations_that_do_not_fit_are_told():
    fields = dict(patch_frames=100, bins=24, hop=20, n_fft=64, dropout=1.0)
    config = config_of("spleeter", sources=("a", "b"), **fields)
    for text in ("multiples of 64", "a quarter", r"dropout=1.0 must"):
        with pytest.raises(ValueError, match=text):
            validate(config)
