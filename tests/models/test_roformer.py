"""RoFormers: parity with public code, sizes, and what the model promises."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.config import Config, DataConfig, OptimConfig
from sepjax.config.rules import validate
from sepjax.losses import l1, multi_resolution_stft
from sepjax.models.build import model_of
from sepjax.models.importers import from_state_dict
from sepjax.models.parameters import count_parameters
from sepjax.models.roformer import network
from sepjax.models.roformer.bands import make_bands
from sepjax.models.roformer.chunks import separate_in_chunks
from sepjax.models.roformer.config import BANDS, RoformerConfig
from sepjax.models.roformer.layers import rms_norm
from sepjax.models.roformer.weights_files import SIZES
from sepjax.train.optim.chain import make_optimizer, matrix_axes
from tests.support.models import config_of, make_model
from tests.support.signals import noise

VECTORS = (
    *("msst_bs_stereo_4stems", "msst_bs_mono_linear", "msst_mel_mono_2stems"),
    *("msst_mel_stereo_1stem", "lucid_bs_stereo", "lucid_mel_mono"),
)
SLOW = pytest.mark.slow
SMALL = dict(n_fft=64, hop=16, mel_bands=6, channels=8, blocks=2, heads=2)
SMALL |= dict(head_channels=4, mask_layers=2, audio_channels=1)


@functools.cache
def vectors(folder, name):
    """Arrays of a file, its arguments, and the model with its parameters."""
    with np.load(folder / f"model_ref_modern/{name}.npz") as data:
        arrays = dict(data)
    theirs = json.loads(str(arrays["meta"]))["arguments"]
    state = {n[2:]: leaf for n, leaf in arrays.items() if n.startswith("p/")}
    options = dict(n_fft=theirs["stft_n_fft"], hop=theirs["stft_hop_length"])
    options["window"] = theirs["stft_win_length"]
    options["audio_channels"] = 1 + theirs["stereo"]
    options["sample_rate"] = theirs.get("sample_rate", 44100)
    options["heard"] = tuple(map(str, theirs.get("freq_range", ())))
    if "zero_dc" in theirs:
        options["zero_dc"] = str(theirs["zero_dc"]).lower()
    config, params = from_state_dict(state, family="roformer", **options)
    return arrays, config, model_of(config), params


@functools.cache
def separator(folder, name):
    model = vectors(folder, name)[2]
    return jax.jit(lambda params, wave: model.apply({"params": params}, wave).estimates)


@functools.cache
def estimated(folder, name):
    """The mixture as the model takes it, and its estimates."""
    arrays, config, _, params = vectors(folder, name)
    mixture = arrays["in/x"]
    if config.model.audio_channels == 1:
        mixture = mixture.reshape(len(mixture), -1)
    return mixture, np.asarray(separator(folder, name)(params, mixture))


@pytest.mark.parametrize("name", VECTORS)
def test_estimates_are_those_of_public_code(shared_data, name):
    arrays, config, _, params = vectors(shared_data, name)
    _, estimates = estimated(shared_data, name)
    expected = arrays["out/y"]
    wave = (config.model.audio_channels,) if config.model.audio_channels > 1 else ()
    expected = expected.reshape(*estimates.shape[:2], *wave, expected.shape[-1])
    found = estimates[..., : expected.shape[-1]]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    # Public code counts the angles, which all layers share, for each of two axes.
    count = json.loads(str(arrays["meta"]))["parameters"] - config.model.head_channels
    assert count_parameters(params) == count


@pytest.mark.parametrize(
    "name",
    [n if "lucid_mel" in n else pytest.param(n, marks=SLOW) for n in VECTORS],
)
def test_every_parameter_has_a_gradient(shared_data, name):
    _, _, model, params = vectors(shared_data, name)
    mixture, _ = estimated(shared_data, name)

    def power(params):
        return jnp.mean(jnp.square(model.apply({"params": params}, mixture).estimates))

    for leaf in jax.tree.leaves(jax.jit(jax.grad(power))(params)):
        assert np.isfinite(leaf).all()
        assert leaf.any()


@pytest.mark.parametrize("name", ["msst_bs_stereo_4stems", "lucid_bs_stereo"])
def test_loss_is_that_of_public_training(shared_data, name):
    arrays = vectors(shared_data, name)[0]
    theirs = json.loads(str(arrays["meta"]))["arguments"]
    windows = tuple(theirs["multi_stft_resolutions_window_sizes"])
    form = windows, theirs["multi_stft_hop_size"], theirs["stft_n_fft"]
    pair = arrays["in/target"], estimated(shared_data, name)[1]
    plain = l1(*pair).mean()
    spectral = jax.jit(multi_resolution_stft, static_argnums=(2, 3, 4))(*pair, *form)
    found = plain + spectral.mean(), plain, spectral.mean()
    np.testing.assert_allclose(found, arrays["out/loss_total_l1_multires"], rtol=1e-5)


def test_mel_bands_are_those_of_public_code(shared_data):
    for name in VECTORS:
        arrays, config, *_ = vectors(shared_data, name)
        if "mid/freqs_per_band" in arrays:
            bins = config.model.band_bins(config.data.sample_rate)
            for own, row in zip(bins, arrays["mid/freqs_per_band"], strict=True):
                assert own.tolist() == np.flatnonzero(row).tolist()
    path = shared_data / "model_ref_modern/full_size.json"
    table = json.loads(path.read_text())["mel_60"]
    bins = RoformerConfig().band_bins(44100)
    assert [own[0] for own in bins] == table["first_bin"]
    assert [len(own) for own in bins] == table["count"]


def test_published_sizes(shared_data):
    path = shared_data / "model_ref_modern/full_size.json"
    counted = 0
    for name, facts in json.loads(path.read_text())["parameter_counts"].items():
        theirs = facts.get("arguments")
        if theirs is None and "lucid" not in name:
            continue
        if "default streams" in name:
            continue
        newer, mel = "lucid" in name, "mel" in name.lower()
        theirs = theirs or dict(dim=384 if mel else 512, depth=6 if mel else 12)
        known = {n: theirs[key] for n, key in SIZES.items() if key in theirs}
        fields = known | dict(mask_layers=3 if mel else 2)
        fields |= {} if mel else dict(bands=BANDS, norms="network")
        if newer:
            fields |= dict(values="crossed" if mel else "first", linear_layers=int(mel))
        sources = tuple(map(str, range(theirs.get("num_stems", 1))))
        data = DataConfig(sources=sources, sample_rate=44100)
        model = model_of(Config(model=RoformerConfig(**fields), data=data))
        wave = jax.ShapeDtypeStruct((1, 2, 4000), jnp.float32)
        drawn = jax.eval_shape(model.init, jax.random.key(0), wave)
        angles = 2 * 32
        assert count_parameters(drawn["params"]) == facts["parameters"] - angles, name
        counted += 1
    assert counted == 8


def test_chunks_are_those_of_the_toolkit(shared_data):
    name = "msst_bs_stereo_4stems"
    params, apply = vectors(shared_data, name)[3], separator(shared_data, name)
    with np.load(shared_data / "model_ref_modern/msst_chunks.npz") as data:
        for case in range(4):
            wave, expected = data[f"in/x_{case}"], data[f"out/y_{case}"]
            found = separate_in_chunks(
                lambda x: apply(params, x[None])[0], wave, length=800
            )
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found, expected, atol=1e-5 * scale)


@SLOW
def test_memory_is_saved_and_nothing_else(monkeypatch):
    """Pieces, and layers that are computed again, change no estimate or gradient."""
    wave, results = noise(2, 400), []
    for remat, tokens in ((True, 40), (False, 10**6)):
        monkeypatch.setattr(network, "PIECE", tokens)
        model = make_model("roformer", **SMALL, remat=remat, skip=True)
        if not results:
            params = jax.jit(model.init)(jax.random.key(0), wave)

        def power(params, model=model):
            return jnp.square(model.apply(params, wave).estimates).mean()

        results.append(jax.jit(jax.value_and_grad(power))(params))
    for found, expected in zip(*map(jax.tree.leaves, results)):
        np.testing.assert_allclose(
            found, expected, atol=2e-6 * np.abs(expected).max() + 1e-9
        )


def test_scale_and_silence_and_what_is_left():
    model = make_model("roformer", **SMALL, difference=True, sources=("a", "b", "c"))
    wave = noise(2, 333)
    params = jax.jit(model.init)(jax.random.key(0), wave)
    apply = jax.jit(lambda wave: model.apply(params, wave).estimates)
    estimates = np.asarray(apply(wave))
    assert estimates.shape == (2, 3, 333)
    # Norms divide by the scale, masks multiply the mixture; 1e-6 is float32's.
    np.testing.assert_allclose(apply(8 * wave), 8 * estimates, atol=1e-5)
    np.testing.assert_allclose(estimates.sum(1), wave, atol=1e-5)
    assert not np.asarray(apply(0 * wave)).any()
    assert model.decays(("network", "split", "rows"))
    assert not model.decays(("network", "split", "bias"))
    short = jax.eval_shape(model.apply, params, jnp.zeros((1, 1)))
    assert short.estimates.shape == (1, 3, 1)


def test_bands_hold_every_row_once_or_averaged():
    for fields in (dict(mel_bands=12), dict(bands=(1, 4, 10, 18))):
        config = RoformerConfig(n_fft=64, hop=16, audio_channels=2, **fields)
        bands = make_bands(config.band_bins(22050), 2)
        order = np.concatenate([group.index.ravel() for group in bands.groups])
        rows = np.append(bands.rows[order], bands.rows[-1])
        for row, places in enumerate(bands.places.T):
            assert {int(rows[p]) for p in places} <= {row, bands.rows[-1]}
        held = np.bincount(bands.rows[:-1])
        np.testing.assert_allclose(bands.shares[:, 0], 1 / held)


def test_norm_is_of_length_root_d():
    x = noise(3, 5)
    found = np.asarray(rms_norm(jnp.asarray(x), jnp.ones(5)))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 5**0.5, rtol=1e-6)


def test_turned_pairs_know_distances_alone():
    q, k = (np.broadcast_to(noise(8, seed=seed), (1, 9, 1, 8)) for seed in (1, 2))
    scores = np.einsum("atbc,asbc->ts", *map(network.rotate, map(jnp.asarray, (q, k))))
    np.testing.assert_allclose(scores[1:, 1:], scores[:-1, :-1], atol=1e-5)
    assert np.ptp(scores[0]) > 0.1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(hop=1025), "model.hop=1025 at most half"),
        (dict(window=100), "model.window=100 must be 0, or from twice"),
        (dict(bands=(2, 3)), "model.bands are 5 bins, but .* have 1025"),
        (dict(heard=(5, 2), bands=(2,)), "model.heard=.5, 2. must be two"),
        (dict(heard=(0, 9)), "model.heard goes with model.bands"),
        (dict(mel_bands=2000), "model.mel_bands=2000 leave bands or bins empty"),
        (dict(values="first", blocks=1), "model.values='first' needs two blocks"),
        (dict(head_channels=7), "model.head_channels=7 must be even"),
        (dict(linear_layers=-1), "model.linear_layers=-1 must be 0 or more"),
    ],
)
def test_configurations_that_make_no_sense(fields, message):
    with pytest.raises(ValueError, match=message):
        validate(config_of("roformer", sample_rate=44100, **fields))


def test_one_source_leaves_none():
    config = config_of("roformer", sources=("a",), sample_rate=44100, difference=True)
    with pytest.raises(ValueError, match="leaves no source to estimate"):
        validate(dataclasses.replace(config))


def test_muon_takes_matrices_and_leaves_the_bands_rows():
    model = make_model("roformer", **SMALL)
    drawn = jax.eval_shape(model.init, jax.random.key(0), noise(1, 333))["params"]
    axes = matrix_axes(drawn)["network"]
    attention = axes["blocks"]["time"]["attention"]
    assert (attention["qkv"]["kernel"].output_axis, attention["gain"]) == (3, None)
    assert axes["masks"]["hidden_0"]["kernel"].output_axis == 3
    assert axes["split"]["rows"] is axes["masks"]["output"]["rows"] is None
    optimizer = make_optimizer(OptimConfig(optimizer="muon"), model=model)
    jax.eval_shape(lambda p: optimizer.update(p, optimizer.init(p), p), drawn)
