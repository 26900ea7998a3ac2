"""Every model that separates streams does so as it separates the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.inference.separate import separate
from sepjax.inference.steps import Steps, streamable
from sepjax.models import contract
from sepjax.models.build import model_of
from sepjax.models.registry import MODELS
from tests.support.families import FAMILIES, family_config
from tests.support.models import make_model
from tests.support.signals import noise

CAUSAL = dict(causal=True, norm="cumulative", input_norm="cumulative")
TCN = dict(N=8, L=16, W=8, B=4, H=8, layers=2, stack=2, encoding="simple", **CAUSAL)
UNMIX = dict(name="open_unmix", hidden=4, layers=2, bandwidth=3000.0, n_fft=32, hop=8)
UNMIX |= dict(wiener_iterations=0, bidirectional=False)
STEREO = dict(audio_channels=2)
MODELS_OF_STREAMS = {
    "hybrid": TCN | dict(encoding="hybrid", filters=2, L=13),
    "stereo": TCN | STEREO | dict(consistency=True, L=20, input_norm="frame"),
    "lstm": TCN | dict(separator="lstm", lstm_hidden=4, lstm_layers=4),
    "unmix": UNMIX | STEREO | dict(wiener_residual=True),
    # Longer than a song of the quick tests:
    "frame": TCN | dict(norm="frame", input_norm="frame", kernel=4, skip=False),
    "prelu": TCN | dict(skip=False, output_prelu=True, bias=False, kernel=1),
    "gated": TCN | dict(encoder_act="gated", mask_act="softmax"),
    "relu": TCN | dict(encoder_act="relu", mask_act="relu", L=8),
    "gammatones": TCN | dict(encoding="filterbanks", fb_type="pmpgtf"),
    "sinc": TCN | dict(encoding="filterbanks", fb_type="param_sinc", L=17),
    "odd": TCN | dict(encoding="filterbanks", fb_type="param_sinc", force_odd=True),
    "dec": TCN | dict(encoding="filterbanks", who_is_pinv="dec"),
    "enc": TCN | dict(encoding="filterbanks", who_is_pinv="enc"),
    "hybrid-hybrid": TCN | dict(encoding="hybrid", decoder="hybrid"),
    "hybrid-post": TCN | dict(encoding="hybrid", fb_post_conv=True, fb_act="relu"),
    "per-source": TCN | dict(large_tcn=True, mask_act="softmax"),
    "none": TCN | dict(padding="none", L=20),
    "naplab": TCN | dict(padding="naplab"),
    "naplab-L=W": TCN | dict(padding="naplab", L=8),
    "torchaudio": TCN | dict(padding="torchaudio", L=17),
    "soft-mask": UNMIX | dict(wiener_softmask=True, n_fft=50, hop=20, layers=1),
}
QUICK = ("hybrid", "stereo", "lstm", "unmix")
ALL = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in MODELS_OF_STREAMS
]
TIME = 500


@functools.cache
def parts(name):
    """The model, random variables, and itself as a compiled function of the whole."""
    fields = dict(sources=("one", "two"), sample_rate=1000) | MODELS_OF_STREAMS[name]
    model = make_model(**fields)
    shape = jax.eval_shape(model.init, jax.random.key(0), wave_of(name))
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        """Matrices have both signs; others, as variances are, are positive."""
        matrix = path[-1].key in ("kernel", "input", "state")
        signs = rng.choice([-0.5, 0.5], leaf.shape) if matrix else 1
        return np.float32(rng.uniform(0.1, 1, leaf.shape) * signs)

    variables = jax.tree.map_with_path(draw, shape)
    return model, variables, jax.jit(model.apply)


def wave_of(name, time=TIME, items=2):
    channels = (2,) if MODELS_OF_STREAMS[name].get("audio_channels") else ()
    return noise(items, *channels, time, seed=time)


def whole(name, wave):
    """(time, sources, channels) of the model at once; items are channels."""
    model, variables, apply = parts(name)
    estimates = np.asarray(apply(variables, wave).estimates)
    assert estimates.shape[1] == len(model.sources)
    estimates = estimates.reshape(*estimates.shape[:2], -1, wave.shape[-1])
    return np.moveaxis(estimates, (3, 1, 0, 2), (0, 1, 2, 3)).reshape(
        wave.shape[-1], len(model.sources), -1
    )


def streamed(name, wave, cuts, size):
    model, variables, _ = parts(name)
    rows = wave.reshape(-1, wave.shape[-1]).T
    steps = Steps(model, variables, rows.shape[1], size)
    blocks = [steps.push(block) for block in np.split(rows, cuts)]
    return np.concatenate([*blocks, steps.finish()])


def error(found, expected):
    assert found.shape == expected.shape
    assert np.isfinite(expected).all()
    return np.abs(found - expected).max() / np.abs(expected).max()


def check_partitions(name, wave, count, size, seed=0):
    rng, time, expected = np.random.default_rng(seed), wave.shape[-1], whole(name, wave)
    worst = 0.0
    for _ in range(count):
        cuts = np.sort(rng.integers(0, time + 1, rng.integers(0, 40)))
        worst = max(worst, error(streamed(name, wave, cuts, size), expected))
    assert worst <= 1e-5, (name, worst)
    return worst


@pytest.mark.parametrize("name", ALL)
def test_a_stream_is_the_whole_in_any_partition(name):
    check_partitions(name, wave_of(name), 3, size=24)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS_OF_STREAMS)
def test_two_hundred_partitions_of_signals_of_any_length(name):
    worst = [check_partitions(name, wave_of(name), 150, size=24)]
    for time in (1, 5, 16, 17, 24, 240, 1999):
        for size in (8, 24, 960):
            worst.append(check_partitions(name, wave_of(name, time), 4, size, time))
    print(f"{name:14} worst error of {150 + 7 * 3 * 4} partitions: {max(worst):.1e}")


@pytest.mark.parametrize("name", ALL)
def test_latency_is_what_an_impulse_shows(name):
    """Nothing changes earlier than so many samples before, and something does then."""
    model, variables, apply = parts(name)
    wave, earliest = wave_of(name, items=1), 0
    before = np.asarray(apply(variables, wave).estimates)
    for place in range(200, 200 + model.streaming.block):
        changed = wave.copy()
        changed[..., place] += 10
        after = np.asarray(apply(variables, changed).estimates)
        first = np.flatnonzero((before != after).any((0, 1, *range(2, after.ndim - 1))))
        earliest = max(earliest, place - first[0])
    assert earliest == model.streaming.latency


def test_a_step_takes_what_its_contract_says():
    model, variables, _ = parts("hybrid")
    assert isinstance(model, contract.Model)
    variables = jax.tree.map(jnp.asarray, variables)
    state = model.init_state(2)
    with pytest.raises(ValueError, match="no multiple of 8"):
        model.apply(variables, state, jnp.zeros((2, 12)), method="step")
    step = jax.eval_shape(
        lambda block: model.apply(variables, state, block, method="step"),
        jax.ShapeDtypeStruct((2, 16), jnp.float32),
    )
    # Of the same shapes and types, so that one program serves all steps.
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), step[0]) == (
        jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state)
    )
    assert step[1].shape == (2, 2, 16)


def test_every_family_separates_streams_or_says_why_not():
    assert {family_config(family).model.name for family in FAMILIES} <= set(MODELS)
    for family in FAMILIES:
        model = model_of(family_config(family))
        assert (model.streaming is None) == bool(model.offline), family
        if model.streaming is None:
            with pytest.raises(ValueError, match="does not separate streams") as told:
                model.init_state(1)
            assert model.offline in str(told.value)
    kinds = {parts(name)[0].__class__ for name in MODELS_OF_STREAMS}
    assert len(kinds) == 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (dict(), "model.causal=True"),
        (CAUSAL | dict(norm="global"), "model.norm='global'"),
        (CAUSAL | dict(input_norm="global"), "model.input_norm='global'"),
        (CAUSAL | dict(encoding="deep", L=16, W=8), "model.encoding='deep'"),
        (CAUSAL | dict(encoding="hybrid", fb_type="stft"), "'stft'"),
        (CAUSAL | dict(ideal_mask=True), "true sources"),
        (dict(name="open_unmix"), "model.bidirectional=False"),
        (dict(name="open_unmix", bidirectional=False), "wiener_iterations=0"),
    ],
)
def test_the_reason_names_what_would_stream(fields, reason):
    model = make_model(**fields)
    assert model.streaming is None
    assert reason in model.offline


def test_without_its_filter_of_whole_songs_a_model_streams():
    model = make_model(**UNMIX | dict(wiener_iterations=1))
    assert model.streaming is None
    assert streamable(model).streaming.block == 8
    assert streamable(make_model("demucs")) is None


def test_separate_hears_the_whole_song():
    """Shifts and mirrors are means of what the model says of the whole."""
    model, variables, _ = parts("stereo")
    items = wave_of("stereo")
    wave, expected = items.reshape(-1, TIME).T, whole("stereo", items)
    options = dict(normalize=False, rescale=False, sample_rate=1000, chunk=0.024)
    stems = separate(model, variables, wave, **options)
    assert error(np.stack([*stems.values()], 1), expected) < 1e-5
    options["augment"] = ["polarity", "swap"]
    stems = separate(model, variables, wave, **options)
    swapped = whole("stereo", items[:, ::-1])[..., [1, 0, 3, 2]]
    expected = expected + swapped - whole("stereo", -items)
    expected = expected - whole("stereo", -items[:, ::-1])[..., [1, 0, 3, 2]]
    assert error(np.stack([*stems.values()], 1), expected / 4) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lstm", "unmix", "hour"])
def test_an_hour_does_not_drift(name):
    """Loud for half of it, so that the sums are large beside what comes later."""
    small = TCN | dict(L=64, W=32, layers=1, H=4, N=4)
    longer = {"hour": small, "lstm": small | MODELS_OF_STREAMS["lstm"] | small}
    longer["lstm"] |= dict(lstm_layers=2)
    longer["unmix"] = UNMIX | dict(n_fft=256, hop=128, hidden=4, bandwidth=500.0)
    MODELS_OF_STREAMS["long"] = longer[name]
    parts.cache_clear()
    rng, rate, time = np.random.default_rng(0), 8000, 3600 * 8000
    wave = rng.standard_normal((1, time), np.float32)
    wave[:, : time // 2] *= 10
    expected = whole("long", wave)
    found = streamed("long", wave, range(0, time, 1 << 18), size=rate // 4)
    last = slice(time - 60 * rate, None)
    print(f"{name}: last minute {error(found[last], expected[last]):.1e}")
    assert error(found[last], expected[last]) <= 1e-5
    assert error(found, expected) <= 1e-5
