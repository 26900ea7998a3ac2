"""Chapter 3's networks: sizes, lengths, and the same numbers computed without jax."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate
from scipy.special import expit, softmax

from sepjax.config import from_dict, resolve, to_dict
from sepjax.config.rules import validate
from sepjax.configs.networks import NAMES, get_config
from sepjax.functional.spectral import stft
from sepjax.models.build import model_of
from sepjax.models.mm_dense_lstm.config import parse_network
from sepjax.models.wave_u_net.model import valid_length
from sepjax.models.wavenet.model import gated_blocks
from tests.support.models import config_of, make_model
from tests.support.signals import noise

SMALL = {
    "tasnet": dict(encoding="simple", encoder_act="gated", N=6, L=8, W=4)
    | dict(separator="lstm", lstm_hidden=3, mask_act="softmax", input_norm="frame"),
    "wave_u_net": dict(levels=2, filters=3, down_kernel=5, up_kernel=3),
    "wavenet": dict(layers=2, stack=2, channels=3, skip=4, hidden=5, last=4),
    "mm_dense_lstm": dict(bands=(1500.0,), n_fft=32, hop=8, first=2, final="2: 1")
    | dict(networks=("2: 1 1+4 1", "3: 2", "2: 1 1 1")),
}


SLOW = pytest.mark.slow
LONG = ("tasnet", "mm_dense_lstm")  # to compile


def built(family, time=301, **fields):
    model = make_model(family, **SMALL[family] | fields)
    channels = (2,) if model.audio_channels == 2 else ()
    return model, jax.jit(model.init)(jax.random.key(0), noise(1, *channels, time))


def as_arrays(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("blstm_tasnet", 24_095_000),  # four sources; the paper's two: see below
        ("wave_u_net", 10_263_498),
        ("wavenet", 3_277_763),
        ("mm_dense_lstm", 4 * (1_371_909 + 2 * 2049)),
    ],
)
def test_sizes_of_the_papers(name, weights):
    config = resolve(get_config(name))
    wave = jnp.zeros((1, *(2,) * (config.model.audio_channels == 2), 5000))
    shapes = jax.eval_shape(model_of(config).init, jax.random.key(0), wave)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == weights


@pytest.mark.parametrize(
    ("name", "weights", "printed"),
    [("blstm_tasnet", 23_094_000, 23.6e6), ("lstm_tasnet", 31_094_000, 32.0e6)],
)
def test_tasnets_of_two_speakers_are_nearly_as_large_as_printed(name, weights, printed):
    config = get_config(name)
    config.data.sources = ("first", "second")
    wave = jnp.zeros((1, 800))
    shapes = jax.eval_shape(model_of(config).init, jax.random.key(0), wave)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == weights
    assert 0.97 * printed < weights < printed


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_valid_and_come_back(name):
    config = resolve(get_config(name))
    assert config.name == name
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    other = get_config(name)
    other.model.compute_dtype = "bfloat16"
    assert get_config(name).model.compute_dtype == "float32"


@pytest.mark.parametrize("stereo", [False, True])
@pytest.mark.parametrize("family", SMALL)
def test_any_length_comes_back(family, stereo):
    model = make_model(family, **SMALL[family], audio_channels=1 + stereo)
    channels = (2,) * stereo
    known = None
    for time in (1, 100) if family in LONG else (1, 2, 17, 100, 301):
        wave = jax.ShapeDtypeStruct((3, *channels, time), jnp.float32)
        found, own = jax.eval_shape(model.init_with_output, jax.random.key(0), wave)
        assert found.estimates.shape == (3, 4, *channels, time)
        assert found.estimates.dtype == jnp.float32
        assert known is None or known == own  # no parameter depends on the length
        known = own


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=SLOW) if f in LONG else f for f in SMALL]
)
def test_gradients_reach_every_part_and_are_finite(family):
    model, variables = built(family)
    wave = np.concatenate([noise(1, 301), np.zeros((1, 301), np.float32)])
    wave[0, 200:] = 0
    params = dict(variables)

    def power(own):
        found = model.apply(params | {"params": own}, wave)
        return jnp.sum(jnp.square(found.estimates))

    slopes = jax.jit(jax.grad(power))(variables["params"])
    flat = jax.tree_util.tree_leaves_with_path(slopes)
    assert all(np.isfinite(leaf).all() for _, leaf in flat)
    dead = [jax.tree_util.keystr(path) for path, leaf in flat if not leaf.any()]
    # The last block's residual is read by nobody, but shares an array with its skip.
    assert not dead


# The same in numpy.


def lstm(params, x):
    """(frames, inputs) -> (frames, directions * hidden)."""
    outputs = []
    for index in range(len(params["input"])):
        frames = x if index == 0 else x[::-1]
        hidden = cell = np.zeros(params["state"].shape[1])
        bias = params["input_bias"][index] + params["state_bias"][index]
        states = []
        for frame in frames:
            gates = frame @ params["input"][index] + hidden @ params["state"][index]
            i, f, g, o = np.split(gates + bias, 4)
            cell = expit(f) * cell + expit(i) * np.tanh(g)
            hidden = expit(o) * np.tanh(cell)
            states.append(hidden)
        outputs.append(states if index == 0 else states[::-1])
    return np.concatenate(outputs, axis=1)


@pytest.mark.parametrize("causal", [False, pytest.param(True, marks=SLOW)])
def test_recurrent_separator(causal):
    model, variables = built("tasnet", causal=causal)
    wave = noise(1, 41)
    found = jax.jit(model.apply)(variables, wave)
    params = as_arrays(variables["params"])
    padded = np.pad(wave[0].astype(float), (2, 20))
    frames = np.stack([padded[4 * k : 4 * k + 8] for k in range(11)])
    both = frames @ params["encoder"]["bank"]["kernel"]
    latent = np.maximum(both[:, :6], 0) * expit(both[:, 6:])
    np.testing.assert_allclose(found.latent[0], latent, atol=1e-5)
    own = params["separator"]
    x = (latent - latent.mean(1)[:, None]) / np.sqrt(latent.var(1)[:, None] + 1e-8)
    two = lstm(own["lstm_1"], lstm(own["lstm_0"], x))
    four = lstm(own["lstm_3"], lstm(own["lstm_2"], two)) + two
    logits = four @ own["mask"]["kernel"] + own["mask"]["bias"]
    masks = softmax(logits.reshape(11, 4, 6), axis=1)
    np.testing.assert_allclose(found.masks[0], np.swapaxes(masks, 0, 1), atol=2e-5)
    assert np.std(masks) > 1e-3


@SLOW
def test_a_causal_recurrent_separator_hears_no_future():
    model, variables = built("tasnet", causal=True, L=4)
    wave = noise(1, 80)
    later = wave.copy()
    later[:, 40:] += 1
    run = jax.jit(lambda wave: model.apply(variables, wave).estimates)
    change = np.abs(run(wave) - run(later))
    assert change[..., :40].max() == 0
    assert change[..., 40:].max() > 0


def convolve(params, x):
    """Valid, (time, inputs) -> (shorter, outputs)."""
    kernel = params["kernel"]
    size = len(x) - len(kernel) + 1
    taps = (x[i : i + size] @ tap for i, tap in enumerate(kernel))
    return sum(taps) + params.get("bias", 0)


def middle(x, size):
    start = (len(x) - size) // 2
    return x[start : start + size]


@pytest.mark.parametrize("difference", [True, pytest.param(False, marks=SLOW)])
def test_wave_u_net(difference):
    model, variables = built("wave_u_net", audio_channels=2, difference=difference)
    wave = noise(1, 2, 37)
    found = jax.jit(model.apply)(variables, wave).estimates[0]
    params = as_arrays(variables["params"])
    missing = valid_length(37, 2, 5, 3) - 37
    ends = (missing // 2, missing - missing // 2)
    x = mixture = np.pad(wave[0].astype(float).T, (ends, (0, 0)))
    seen = []

    def layer(name, x):
        y = convolve(params[name], x)
        return np.where(y > 0, y, 0.2 * y)

    for level in range(2):
        seen.append(layer(f"down_{level}", x))
        x = seen[-1][::2]
    x = layer("bottom", x)
    for level in (1, 0):
        longer = np.zeros((2 * len(x) - 1, x.shape[1]))
        longer[::2], longer[1::2] = x, (x[1:] + x[:-1]) / 2
        side = middle(seen[level], len(longer))
        x = layer(f"up_{level}", np.concatenate([side, longer], axis=1))
    assert len(x) >= 37
    x = middle(np.concatenate([middle(mixture, len(x)), x], axis=1), 37)
    y = np.tanh(x @ params["output"]["kernel"] + params["output"]["bias"])
    sources = y.reshape(37, -1, 2)
    if difference:
        rest = wave[0].T[:, None] - sources.sum(1, keepdims=True)
        sources = np.concatenate([sources, rest], axis=1)
    np.testing.assert_allclose(found, np.moveaxis(sources, 0, -1), atol=1e-5)


@pytest.mark.parametrize("taps", [(15, 5), (5, 3), (4, 2)])
@pytest.mark.parametrize("levels", [1, 3, 12])
def test_valid_lengths_are_enough_and_no_longer_than_needed(levels, taps):
    down, up = taps

    def yielded(size):
        for _ in range(levels):
            size = (size - down + 1 + 1) // 2
        size -= down - 1
        for _ in range(levels):
            size = 2 * size - 1 - (up - 1)
        return size

    for time in (1, 2, 1000, 16_389):
        size = valid_length(time, levels, down, up)
        assert yielded(size) >= time > yielded(size - 2**levels)


def test_a_lone_source_is_estimated_and_not_what_is_left():
    for family in ("wave_u_net", "wavenet"):
        model, variables = built(family, sources=("voice",))
        wave = noise(1, 301)
        (found,) = jax.jit(model.apply)(variables, wave).estimates[0]
        assert np.abs(found - wave[0]).max() > 0.1


@pytest.mark.parametrize("taps", [3, 2])
def test_gated_blocks(taps):
    dilated = noise(4, taps, 3, 6, seed=1)
    output = noise(4, 3, 5, seed=2)
    wave = noise(1, 20, 3, seed=3)
    found = jax.jit(gated_blocks, static_argnames="layers")(
        dilated, output, wave, layers=2
    )
    x, skips = wave[0].astype(float), 0.0
    for block, dilation in enumerate((1, 2, 1, 2)):
        gates = np.zeros((20, 6))
        for time in range(20):
            for tap in range(taps):
                place = time + (tap - (taps - 1) // 2) * dilation
                if 0 <= place < 20:
                    gates[time] += x[place] @ dilated[block, tap].astype(float)
        both = (np.tanh(gates[:, :3]) * expit(gates[:, 3:])) @ output[block]
        x, skips = x + both[:, :3], skips + both[:, 3:]
    np.testing.assert_allclose(found[0], skips, rtol=1e-4, atol=1e-4)


def test_wavenet_around_its_blocks():
    model, variables = built("wavenet")
    wave = noise(1, 30)
    found = jax.jit(model.apply)(variables, wave).estimates[0]
    params = as_arrays(variables["params"])

    def same(name, x):
        return convolve(params[name], np.pad(x, ((1, 1), (0, 0))))

    x = same("input", wave.T.astype(float))
    kernels = variables["params"]["blocks"]
    x = gated_blocks(**kernels, x=jnp.asarray(x[None], jnp.float32), layers=2)[0]
    x = same("hidden", np.maximum(np.asarray(x, float), 0))
    x = same("last", np.maximum(x, 0))
    three = (x @ params["output"]["kernel"] + params["output"]["bias"]).T
    expected = np.concatenate([three, wave - three.sum(0)])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def images(params, x):
    """3x3 or 1x1 convolution, (frames, bins, inputs) -> (frames, bins, outputs)."""
    kernel = params["kernel"]
    padded = np.pad(x, [(len(kernel) // 2,) * 2] * 2 + [(0, 0)])
    planes = [correlate(padded, k, "valid")[..., 0] for k in np.moveaxis(kernel, -1, 0)]
    return np.stack(planes, -1) + params["bias"]


class Reference:
    """The network of a source in numpy, as it runs in inference."""

    def __init__(self, params, stats):
        self.params, self.stats = params, stats

    def norm(self, name, x):
        own, stats = self.params[name], self.stats[name]
        return (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * own["scale"] + own[
            "bias"
        ]

    def dense(self, x, layers, units, name):
        for layer in range(layers):
            normed = np.maximum(self.norm(f"{name}_norm_{layer}", x), 0)
            new = images(self.params[f"{name}_conv_{layer}"], normed)
            x = np.concatenate([x, new], -1)
        if not units:
            return new
        one = images(self.params[f"{name}_squeeze"], new)[..., 0]
        back = self.params[f"{name}_back"]
        states = lstm(self.params[f"{name}_lstm"], one) @ back["kernel"] + back["bias"]
        return np.concatenate([new, states[..., None]], -1)

    def hourglass(self, x, text, name):
        _, layers, units = parse_network(text)
        depth, seen = len(layers) // 2, []
        x = images(self.params[f"{name}_first"], x)
        for index in range(len(layers)):
            if index > depth:
                up, other = self.params[f"{name}_up_{index}"], seen.pop()
                longer = np.zeros((2 * x.shape[0], 2 * x.shape[1], x.shape[2]))
                for i in (0, 1):
                    for j in (0, 1):
                        longer[i::2, j::2] = x @ up["kernel"][1 - i, 1 - j]
                x = (longer + up["bias"])[: other.shape[0], : other.shape[1]]
                x = np.concatenate([x, other], -1)
            x = self.dense(x, layers[index], units[index], f"{name}_{index}")
            if index < depth:
                seen.append(x)
                x = halved(images(self.params[f"{name}_down_{index}"], x))
        return x


def halved(x):
    """Means of 2x2, of what is there of them."""
    ends = [(0, size % 2) for size in x.shape[:2]]
    padded = np.pad(x, [*ends, (0, 0)], constant_values=np.nan)
    shape = (padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, -1)
    return np.nanmean(padded.reshape(shape), axis=(1, 3))


def test_mm_dense_lstm():
    model, variables = built("mm_dense_lstm", sources=("a", "b"))
    # Each source draws parameters of its own; all are computed apart below.
    kernels = variables["params"]["networks"]["full_first"]["kernel"]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1
    shapes = jax.tree.map(jnp.shape, variables)
    leaves, structure = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
    drawn = [0.5 * noise(*leaf, seed=seed) for seed, leaf in enumerate(leaves)]
    drawn = jax.tree.unflatten(structure, drawn)
    drawn["batch_stats"] = jax.tree.map(np.abs, drawn["batch_stats"])
    x = np.abs(noise(1, 7, 1, 17))
    found = jax.jit(lambda v: model.apply(v, x, method="magnitudes"))(drawn)[0]
    for index in (0, 1):
        own = as_arrays(jax.tree.map(lambda leaf, i=index: leaf[i], drawn))
        params, stats = own["params"], own["batch_stats"]["networks"]
        net = Reference(params["networks"], stats)
        heard = (x[0, :, 0] + params["input_mean"]) * params["input_scale"]
        heard = heard[..., None]
        edge = 7  # bins up to 1500 Hz of 250 Hz each: 0 to 1500
        one, two, whole = SMALL["mm_dense_lstm"]["networks"]
        low = net.hourglass(heard[:, :edge], one, "band_0")
        high = net.hourglass(heard[:, edge:], two, "band_1")
        low, high = (
            images(net.params[f"band_{i}_width"], band)
            for i, band in enumerate((low, high))
        )
        full = net.hourglass(heard, whole, "full")
        y = np.concatenate([np.concatenate([low, high], 1), full], -1)
        y = np.maximum(net.norm("norm", net.dense(y, 1, 0, "final")), 0)
        mask = np.maximum(1 + images(net.params["output"], y)[..., 0], 0)
        np.testing.assert_allclose(found[index, :, 0], mask * x[0, :, 0], atol=2e-4)
        assert 0.05 < mask.std()


def test_bands_beyond_the_audio_are_left_out():
    shapes = [
        jax.eval_shape(
            make_model("mm_dense_lstm", **SMALL["mm_dense_lstm"] | fields).init,
            jax.random.key(0),
            jnp.zeros((1, 100)),
        )
        for fields in (
            dict(bands=(1500.0, 9000.0), networks=("2: 1", "3: 1", "9: 9", "2: 1")),
            dict(networks=("2: 1", "3: 1", "2: 1")),
        )
    ]
    assert shapes[0] == shapes[1]


@SLOW
def test_training_moves_a_tenth_of_the_statistics():
    model, variables = built("mm_dense_lstm", sources=("a", "b"))
    mixture = noise(2, 301)
    sources = np.stack([mixture / 2] * 2, 1)
    options = dict(method="spectra", mutable=["batch_stats"])
    run = jax.jit(lambda v: model.apply(v, mixture, sources, train=True, **options))
    spectra, new = run(variables)
    frames = (301 - 32) // 8 + 1
    assert spectra["spectra"].shape == (2, 2, frames, 17, 1)
    np.testing.assert_allclose(
        2 * spectra["source_spectra"][:, 0], spectra["source_spectra"].sum(1), rtol=1e-5
    )
    tree = variables["params"]["networks"]["full_first"]
    spectrum = stft(jnp.asarray(mixture), n_fft=32, hop=8, center=False)
    heard = np.abs(np.asarray(spectrum, complex))
    for index in (0, 1):
        own = as_arrays(jax.tree.map(lambda leaf, i=index: leaf[i], tree))
        planes = np.stack([images(own, item[..., None]) for item in heard])
        stats = new["batch_stats"]["networks"]["full_0_norm_0"]
        mean, var = planes.mean((0, 1, 2)), planes.var((0, 1, 2))
        np.testing.assert_allclose(
            stats["mean"][index], 0.1 * mean, rtol=1e-3, atol=1e-5
        )
        np.testing.assert_allclose(stats["var"][index], 0.9 + 0.1 * var, rtol=1e-3)


@pytest.mark.parametrize(
    ("family", "fields", "message"),
    [
        ("tasnet", dict(large_tcn=True), "excludes large_tcn"),
        ("tasnet", dict(ideal_mask=True), "excludes large_tcn"),
        ("tasnet", dict(causal=True, input_norm="global"), "needs norm and input_norm"),
        ("tasnet", dict(separator="gru"), "Known: auto, lstm, tcn"),
        ("wave_u_net", dict(levels=21), "must be at most 20"),
        ("wavenet", dict(layers=0), "must be positive"),
        ("mm_dense_lstm", dict(bands=(0.0,)), "must rise from 0"),
        ("mm_dense_lstm", dict(bands=(2000.0, 2010.0)), "must rise"),
        ("mm_dense_lstm", dict(bands=()), "needs 2: one for each band"),
        ("mm_dense_lstm", dict(final="12 3"), "'12 3' is no network"),
        ("mm_dense_lstm", dict(final="12: 3 3"), "odd number of blocks"),
        ("mm_dense_lstm", dict(final="12: 3 3 3"), "final='12: 3 3 3' is one block"),
        ("mm_dense_lstm", dict(final="0: 3"), "above 0"),
        ("mm_dense_lstm", dict(final="2: 3+5"), "halved for two directions"),
    ],
)
def test_rules(family, fields, message):
    with pytest.raises(ValueError, match=message):
        validate(config_of(family, **SMALL[family] | fields))
    validate(config_of(family, **SMALL[family]))


def test_a_causal_lstm_needs_no_norm_of_the_tcn():
    validate(config_of("tasnet", **SMALL["tasnet"], causal=True))
