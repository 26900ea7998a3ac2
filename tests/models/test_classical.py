"""Classical systems: what they separate, on odd music, by name, and learned."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from scipy import ndimage, signal

from sepjax.commands import cli
from sepjax.config import MODEL_CONFIGS, Config, from_dict, to_dict
from sepjax.config.rules import problems
from sepjax.inference.separate import separate
from sepjax.losses import source_si_sdr
from sepjax.models.build import build_model, model_of
from sepjax.models.classical.config import KernelConfig, MedianConfig
from sepjax.models.classical.masks import METHODS, melody
from sepjax.train.load import load, ready_config
from tests.support.toy import run, toy_config, toy_excerpt

RATE = 4000
LENGTH = 375 * 64 - 1  # a sample less than whole hops; one program for all tests
NAMES = sorted(METHODS)
SMALL = {  # quick to compile
    "window": 0.032,
    "steps": 8,
    "iterations": 1,
    "count": 9,
    "distance": 0.4,
    "period_low": 0.3,
    "period_high": 0.8,
    "harmonic_seconds": 0.1,
}


@functools.cache
def system(name, channels=1):
    config = ready_config(name).model
    for field, value in (SMALL | {"audio_channels": channels}).items():
        if hasattr(config, field):
            setattr(config, field, value)
    return build_model(config, sources=config.parts, sample_rate=RATE)


def noise(time, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.normal(size=(time, channels))).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_parts_of_odd_music_sum_to_the_mixture(name):
    """An odd length, less than a window, silence: one program, padded chunks."""
    for wave in (noise(LENGTH), noise(3), np.zeros((50, 1), np.float32)):
        options = dict(sample_rate=RATE, chunk=LENGTH / RATE, rescale=False)
        stems = separate(system(name), {}, wave, **options)
        assert tuple(stems) == system(name).sources
        assert all(stem.shape == wave.shape for stem in stems.values())
        peaks = [np.abs(stem).max(initial=0) for stem in stems.values()]
        assert max(peaks) <= 2 * np.abs(wave).max()  # the end is not blown up
        np.testing.assert_allclose(sum(stems.values()), wave, atol=1e-6)
    assert all(np.isfinite(stem).all() for stem in stems.values())


def test_stereo_has_the_same_masks_on_both_sides():
    wave = noise(6000) * np.array([1.0, -0.5], np.float32)
    options = dict(sample_rate=RATE, chunk=2.0, rescale=False)
    stems = separate(system("hpss", 2), {}, wave, **options)
    for stem in stems.values():
        np.testing.assert_allclose(stem[:, 1], -0.5 * stem[:, 0], atol=1e-6)


def clicks_and_tones(length=LENGTH):
    time = np.arange(length) / RATE
    tones = 0.1 * sum(np.sin(2 * np.pi * f * time) for f in (440, 660, 990))
    clicks = np.zeros_like(time)
    clicks[1000::2000] = 1.0
    burst = np.random.default_rng(0).normal(size=40) * np.hanning(40)
    return np.convolve(clicks, burst, "same"), tones


def quality(reference, estimate):
    pair = (jnp.asarray(x, jnp.float32)[None, None] for x in (reference, estimate))
    return float(source_si_sdr(*pair)[0, 0])


def improvement(name, references, model=None):
    """The least gain in SI-SDR of a part over the mixture, dB."""
    mixture = sum(references).astype(np.float32)
    model = model or system(name)
    options = dict(sample_rate=RATE, chunk=len(mixture) / RATE, rescale=False)
    stems = separate(model, {}, mixture[:, None], **options).values()
    pairs = list(zip(references, stems))
    return min(quality(r, s[:, 0]) - quality(r, mixture) for r, s in pairs)


@pytest.mark.parametrize("name", ["hpss", "projective_nmf"])
def test_clicks_and_tones_come_apart(name):
    assert improvement(name, clicks_and_tones()) > 4


def test_kernels_tell_clicks_from_tones():
    config = KernelConfig(kernels=("percussive", "harmonic"), window=0.032)
    model = build_model(config, sources=("percussive", "harmonic"), sample_rate=RATE)
    assert improvement("kam", clicks_and_tones(), model) > 6


def loop_and_voice():
    """Noise that repeats every half second, and tones that do not."""
    rng = np.random.default_rng(1)
    one = signal.lfilter([1], [1, -0.6], rng.normal(size=RATE // 2))
    loop = 0.1 * np.tile(one, 12)[:LENGTH]
    time = np.arange(len(loop)) / RATE
    pitches = rng.uniform(180, 500, 30)[(time / 0.35).astype(int)]
    phase = 2 * np.pi * np.cumsum(pitches) / RATE
    return 0.1 * sum(np.sin(n * phase) / n for n in range(1, 4)), loop


@pytest.mark.parametrize("name", ["repet", "adaptive_repet", "repet_sim", "kam"])
def test_a_voice_over_a_loop(name):
    assert improvement(name, loop_and_voice()) > 1


def test_source_filter_hears_the_voice():
    assert improvement("source_filter_nmf", loop_and_voice()) > 2


def test_melody_follows_the_best_path():
    path = np.repeat([3, 4, 9], [10, 10, 10])
    heights = np.full((30, 12), 1e-3, np.float32)
    heights[np.arange(30), path] = 1
    heights[5, [3, 11]] = 0.1, 1  # one frame's leap does not pay
    near = jax.jit(melody, static_argnums=1)(jnp.asarray(heights), 1)
    np.testing.assert_array_equal(near.argmax(1), np.maximum(path - 1, 0))
    assert float(near.sum(1).max()) == 3


@pytest.mark.filterwarnings("ignore:NOLA")
def test_hpss_is_that_of_its_paper():
    """Against SciPy's transform and medians; the margin leaves a residual."""
    config = MedianConfig(margin=2.0, window=0.032, power=2.0)
    names = ("percussive", "harmonic", "residual")
    model = build_model(config, sources=names, sample_rate=RATE)
    wave, grid = noise(4096)[:, 0], model.grid
    found = jax.jit(model.apply)({}, wave[None]).estimates[0]
    how = dict(nperseg=grid.n_fft, noverlap=grid.n_fft - grid.hop)
    edges = (grid.n_fft // 2,) * 2
    padded = np.pad(wave, edges, mode="reflect")
    spectra = signal.stft(padded, boundary=None, padded=False, **how)[2]
    v = np.abs(spectra)
    # Frames come every 8 ms and bins every 31.25 Hz.
    h = ndimage.median_filter(v, size=(1, 75), mode="reflect")
    p = ndimage.median_filter(v, size=(11, 1), mode="reflect")
    masks = [p**2 / (p**2 + 4 * h**2), h**2 / (h**2 + 4 * p**2)]
    for mask, estimate in zip([*masks, 1 - sum(masks)], found):
        expected = signal.istft(spectra * mask, boundary=False, **how)[1]
        inner = slice(grid.n_fft, -grid.n_fft)  # scipy's ends are not reflected
        expected = expected[edges[0] :][: len(wave)][inner]
        np.testing.assert_allclose(estimate[inner], expected, atol=2e-5)


def test_by_name_with_changes():
    model, variables, config = load("hpss", changes=["data.sample_rate=8000"])
    assert (model.sample_rate, variables) == (8000, {})
    assert model.sources == ("percussive", "harmonic")
    assert ready_config("nmf") is None
    assert from_dict(to_dict(config)) == config
    for change, text in {
        "model.margn=2": "margin",
        "model.margin=2": "third one",
        "margin=2": "SECTION.FIELD",
    }.items():
        with pytest.raises(ValueError, match=text):
            ready_config("hpss", [change])
    for name, change, text in (
        ("repet", "model.period_low=9", "below model.period_high"),
        ("kam", "model.period_low=9", "below model.period_high"),
        ("source_filter_nmf", "model.lowest=900", "below model.highest"),
    ):
        with pytest.raises(ValueError, match=text):
            ready_config(name, [change])
    with pytest.raises(ValueError, match="works without training"):
        ready_config("runs/mine", ["model.margin=2"])


def oracle_of(folder, *options):
    """The sums and classes that the oracle says it has measured."""
    out = folder / "oracle"
    assert cli.main(["oracle", str(folder / "songs"), *options, "-o", str(out)]) == 0
    definition = json.loads((out / "oracle.json").read_text())["definition"]
    return definition.get("sums"), definition["classes"]


def test_commands_by_name(tmp_path, monkeypatch, capsys):
    """Songs of a folder are scored, one is separated, and the scores make a table."""
    monkeypatch.setenv("SEPJAX_CACHE", str(tmp_path / "cache"))
    clicks, tones = clicks_and_tones(2 * RATE)
    for song in "abc":
        (tmp_path / "songs" / song).mkdir(parents=True)
        for name, wave in {"drums": clicks, "vocals": tones}.items():
            soundfile.write(tmp_path / "songs" / song / f"{name}.wav", wave, RATE)
    changes = ["--set", f"data.sample_rate={RATE}"]
    run, out = ["hpss", "--root", str(tmp_path / "songs")], str(tmp_path / "scores")
    scores = ["evaluate", *run, *changes, "--metrics", "si_sdr", "-o", out]
    assert cli.main(scores) == 0
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    assert results["improvement"]["harmonic"]["si_sdr"] > 3
    sums = ["percussive=drums", "harmonic=vocals"]  # there is no bass, nothing else
    assert oracle_of(tmp_path, "-n", "hpss") == (sums, ["percussive", "harmonic"])
    given = ["--sources", "vocals,beat=drums"]
    assert oracle_of(tmp_path, *given) == (["beat=drums"], ["vocals", "beat"])
    assert oracle_of(tmp_path, "--sources", "vocals,drums")[0] is None
    capsys.readouterr()
    for options, text in (
        (["-n", "hpss", "--sources", "drums"], "give one"),
        (["-n", "umxse"], "no song in"),
        (["--sources", "drums,all=drums+vocals"], "'drums' is part of two classes"),
    ):
        assert cli.main(["oracle", str(tmp_path / "songs"), *options]) == 1
        assert text in capsys.readouterr().err
    assert cli.main(["report", "--table", out]) == 0
    assert "percussive" in capsys.readouterr().out
    song = str(tmp_path / "songs" / "a" / "drums.wav")
    stems = ["separate", song, "-n", "hpss", *changes, "-o", str(tmp_path / "out")]
    assert cli.main(stems) == 0
    assert len(list((tmp_path / "out" / "drums").glob("*.wav"))) == 2
    assert cli.main([*scores, "--set", "data.dataset=prepared"]) == 1
    assert "prepared.jsonl" in capsys.readouterr().err
    assert cli.main(["evaluate", "hpss", "--set", "model.margn=2"]) == 1
    assert "did you mean 'margin'" in capsys.readouterr().err


def test_a_folder_of_that_name_is_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hpss").mkdir()
    assert ready_config("hpss") is None


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_classes_is_checked(name):
    config = ready_config(name)
    assert not list(problems(config))
    config.data.sources, config.data.sums = ("a", "b", "c", "d"), ()
    assert len(list(config.model.problems(config))) == 1


def nmf_config(**fields):
    model = dict(model__name="nmf", model__rank=4, model__steps=20)
    rest = dict(data__normalize=False, optim__lr=0.05)
    return toy_config(**model | rest | fields)


@pytest.mark.slow
def test_dictionaries_are_learned(tmp_path):
    """A toy run of the usual loop; then bass and voice come apart."""
    config = nmf_config(train__steps=40, train__eval_every=40, optim__weight_decay=0.0)
    run(tmp_path, config)
    model, variables, _ = load(tmp_path)
    excerpt = toy_excerpt(2, 2, seed=9)
    fresh = model.init(jax.random.key(0), excerpt.mixture)
    apply = jax.jit(model.apply)
    gains = []
    for own in (fresh, variables):
        estimates = apply(own, excerpt.mixture).estimates
        np.testing.assert_allclose(estimates.sum(1), excerpt.mixture, atol=1e-5)
        gains.append(float(source_si_sdr(excerpt.sources, estimates).mean()))
    assert gains[1] > gains[0] + 6


@pytest.mark.slow
def test_an_adapted_class_needs_no_dictionary():
    """Semi-supervised: its own templates make no difference, those of others do."""
    config = nmf_config(model__adapted="vocals")
    model, mixture = model_of(config), toy_excerpt(1, 2).mixture
    variables = model.init(jax.random.key(0), mixture)
    apply = jax.jit(model.apply)
    first = apply(variables, mixture).estimates
    for index, same in ((1, True), (0, False)):
        logits = variables["params"]["logits"].at[index].multiply(-1.0)
        other = apply({"params": {"logits": logits}}, mixture).estimates
        assert np.allclose(first, other, atol=1e-5) == same
    assert list(problems(Config(model=MODEL_CONFIGS["nmf"](adapted="x"))))
