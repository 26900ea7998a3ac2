"""Branches of the hybrid encoder: spectrogram, widths, what follows a filterbank."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from sepjax.functional.spectral import interpolate_frames, log_power
from sepjax.models import contract
from sepjax.models.build import model_of
from sepjax.models.tasnet.branches import SpectrogramBranch
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.encoders import branch_widths
from tests.support.models import config_of, make_model
from tests.support.signals import noise_array as noise

SMALL = dict(N=16, L=20, W=20, B=4, H=4, layers=1, stack=1)


def test_spectrogram_branch_is_what_the_paper_says():
    wave = noise(1, 4000)
    branch = SpectrogramBranch(width=5, stride=20, sample_rate=8000)
    shapes = jax.eval_shape(branch.init, jax.random.key(0), wave)["params"]
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32), shapes
    )
    found = jax.jit(branch.apply)({"params": params}, wave)
    assert found.shape == (1, 200, 5)

    window = scipy.signal.get_window("hann", 1024)
    padded = np.pad(np.asarray(wave[0], np.float64), 512, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::256]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    p = jax.tree.map(np.asarray, params)
    normed = (np.log10(power + 1e-8) - p["mean"]) / p["std"] * p["scale"] + p["bias"]
    mel = normed @ p["mel"]["kernel"] + p["mel"]["bias"]
    place = np.linspace(0, len(mel) - 1, 200)
    expected = [np.interp(place, np.arange(len(mel)), column) for column in mel.T]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found[0].T, expected, rtol=0, atol=1e-5 * scale)


def test_statistics_are_constants_to_the_gradient():
    wave = noise(1, 2000)
    branch = SpectrogramBranch(width=3, stride=20, sample_rate=8000)
    variables = jax.jit(branch.init)(jax.random.key(0), wave)

    def loss(params):
        return jnp.sum(branch.apply({"params": params}, wave) ** 2)

    grads = jax.device_get(jax.jit(jax.grad(loss))(variables["params"]))
    moved = {name for name in grads if name != "mel" and grads[name].any()}
    assert moved == {"scale", "bias"}
    assert grads["mel"]["kernel"].any()


@pytest.mark.parametrize("time", [1, 300, 512, 513])
def test_short_signals_have_a_spectrogram(time):
    found = log_power(jnp.ones((2, time)), n_fft=1024, hop=256)
    assert found.shape[-1] == 513
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("given", "wanted"), [(5, 12), (12, 5), (1, 4), (4, 1), (3, 3)]
)
def test_interpolation_aligns_both_ends(given, wanted):
    values = noise(2, given, 3)
    found = interpolate_frames(values, wanted)
    place = np.linspace(0, given - 1, wanted) if wanted > 1 else [0]
    for column in range(3):
        line = np.interp(place, np.arange(given), values[1, :, column])
        np.testing.assert_allclose(found[1, :, column], line, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "widths"),
    [
        (dict(N=256, fb_ratio=0.5), (128, 128)),
        (dict(N=440, fb_ratio=0.75), (110, 330)),
        (dict(N=440, fb_ratio=0.0), (440, 0)),
        (dict(N=440, fb_ratio=1.0), (0, 440)),
        (dict(N=440, branch_width="quarter"), (110, 110)),
        (dict(N=440, branch_width="quarter", fb_ratio=0.0), (110, 0)),
    ],
)
def test_branch_widths(fields, widths):
    assert branch_widths(TasNetConfig(**fields)) == widths


def encoder_shapes(**fields):
    model = make_model(**SMALL, **fields)
    tree = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2000)))
    return jax.tree.map(lambda leaf: leaf.shape, tree["params"]["encoder"])


def test_kernels_double_but_the_spectrogram_occurs_once():
    found = encoder_shapes(filters=2, fb_type="stft")
    assert found["convolutions_1"]["kernel"] == (40, 8)
    assert [name for name in found if "filterbanks" in name] == ["filterbanks_0"]
    assert found["bottleneck_1"]["kernel"] == (2 * 8 + 8, 16)
    found = encoder_shapes(filters=2)
    assert found["bottleneck_1"]["kernel"] == (2 * 16, 16)


def test_post_convolution_stands_behind_the_filterbank_alone():
    plain, found = encoder_shapes(), encoder_shapes(fb_post_conv=True)
    assert set(found) - set(plain) == {"post_0"}
    assert found["post_0"] == {"kernel": (8, 8), "bias": (8,)}


def encoded(model):
    return jax.jit(functools.partial(model.apply, method=lambda m, x: m.encoder(x)))


def test_filterbank_activation():
    wave = noise(1, 2000)

    def encode(**fields):
        config = config_of(**SMALL, encoding="filterbanks", **fields)
        model = model_of(config)
        variables = jax.jit(model.init)(jax.random.key(0), wave)
        return encoded(model)(variables, wave)

    signed = encode()
    assert float(signed.min()) < 0
    np.testing.assert_array_equal(encode(fb_act="relu"), jnp.maximum(signed, 0))


def test_activation_in_a_hybrid_is_that_of_its_filterbanks():
    wave = noise(1, 2000)
    found = []
    for activation in ("none", "relu"):
        model = make_model(**SMALL, fb_act=activation)
        variables = jax.jit(model.init)(jax.random.key(0), wave)
        # The first bottleneck passes the eight filters on, with their sign turned.
        turned = -jnp.eye(16)[:, ::-1]
        variables["params"]["encoder"]["bottleneck_1"]["kernel"] = turned
        found.append(np.abs(encoded(model)(variables, wave)).max())
    # Turned, what was rectified is negative, and the bottleneck's ReLU removes it.
    assert found[0] > 0.1
    assert found[1] == 0


def test_above_the_floor_silence_has_no_features():
    silent = jnp.zeros((1, 2000))
    for above, expected in ((True, 0.0), (False, None)):
        branch = SpectrogramBranch(4, stride=20, sample_rate=8000, above_floor=above)
        loud = jax.random.normal(jax.random.key(1), (1, 2000))
        variables = jax.jit(branch.init)(jax.random.key(0), loud)
        apply, params = jax.jit(branch.apply), {"params": variables["params"]}
        assert (np.abs(apply(params, silent)).max() == 0) == (expected == 0.0)
        assert np.abs(apply(params, loud)).max() > 1


def branches_of(name, sample_rate=8000, **fields):
    """A model, its parameters, and what its encoders sow of their branches."""
    model = make_model(name, sample_rate=sample_rate, **SMALL | fields)
    wave = noise(2, 640)
    params = jax.jit(model.init)(jax.random.key(0), wave)["params"]

    @jax.jit
    def observe(wave):
        variables = {"params": params}
        latent = model.apply(variables, wave, method="observe")
        kept = [contract.BRANCHES]
        _, found = model.apply(variables, wave, method="observe", mutable=kept)
        return latent, found.get(contract.BRANCHES, {})

    return params, *observe(wave)


@pytest.mark.parametrize(
    ("name", "fields", "names"),
    [
        ("tasnet", dict(filters=2, fb_post_conv=True), "conv conv filters filters"),
        ("tasnet", dict(fb_type="stft", filters=2), "conv conv stft"),
        ("tasnet", dict(fb_ratio=1.0), "filters"),
        ("meta_tasnet", dict(filters=3, B=8, H=8), "conv conv conv stft"),
    ],
)
def test_branches_are_all_that_the_bottleneck_hears(name, fields, names):
    params, latent, found = branches_of(name, **fields)
    if name == "meta_tasnet":  # its channels are interleaved
        params, found = params["stages_0"], found["stages_0"]
        (latent,) = latent
    branches = {key: pair for key, (pair,) in found["encoder"].items()}
    assert [key.split("_")[0] for key in sorted(branches)] == names.split()
    heard = sum(np.asarray(x) @ np.asarray(w) for x, w in branches.values())
    last = params["encoder"]["bottleneck_2"]["kernel"]
    expected = np.maximum(heard, 0) @ last
    scale = np.abs(latent).max()
    np.testing.assert_allclose(latent, expected, rtol=0, atol=1e-5 * scale)
    rows = sum(len(branch.weights) for branch in branches.values())
    assert rows == len(params["encoder"]["bottleneck_1"]["kernel"])


def test_other_encoders_have_no_branches():
    for encoding in ("simple", "filterbanks", "deep"):
        assert not branches_of("tasnet", encoding=encoding)[-1]
