"""sepjax.Separator: arrays and files in, stems out, threads, and an end at any time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

import sepjax
from sepjax.inference import stream

RATE = 8000
MODEL = Path(__file__).parent / "fixtures/b054c28/weights"


def noise(time, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (time, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def separator():
    return sepjax.Separator(MODEL, chunk=0.5)


def test_it_separates_as_the_function_does(separator):
    model, variables, config = sepjax.load(MODEL)
    wave = noise(9000)
    how = dict(normalize=config.data.normalize, rescale=config.eval.rescale)
    how |= dict(chunk=0.5, overlap=config.eval.overlap, sample_rate=RATE)
    expected = sepjax.separate(model, variables, wave, **how)
    stems = separator(wave, RATE)
    assert tuple(stems) == separator.sources == model.sources
    assert separator.sample_rate == model.sample_rate
    for name, stem in stems.items():
        np.testing.assert_array_equal(stem, expected[name])


def test_stems_have_the_shape_and_the_kind_of_the_audio(separator):
    wave = noise(3000)
    expected = separator(wave, RATE)["voice"]
    for audio, layout, turned in (
        (wave.T, "auto", True),
        (wave.T, "channels_time", True),
        (wave, "time_channels", False),
        (wave.astype(np.float64), "auto", False),
        (jnp.asarray(wave.T), "auto", True),
    ):
        stem = separator(audio, RATE, layout=layout)["voice"]
        assert stem.shape == audio.shape
        assert isinstance(stem, jax.Array) == isinstance(audio, jax.Array)
        assert stem.dtype == np.float32
        np.testing.assert_array_equal(stem.T if turned else stem, expected)
    assert separator(wave[:, 0], RATE)["voice"].shape == (3000,)
    half = jnp.asarray(wave, jnp.bfloat16)
    np.testing.assert_allclose(separator(half, RATE)["voice"], expected, atol=0.02)


@pytest.mark.parametrize(
    ("audio", "layout", "message"),
    [
        (np.ones((2, 2), np.float32), "auto", "two equal axes"),
        (np.ones((100, 2), np.int16), "auto", "int16.*divide it by 32768"),
        (jnp.ones((100, 2), jnp.int32), "auto", "int32.*floats"),
        ([[0.0, 1.0]], "auto", "a builtins.list: give an array of NumPy or JAX"),
        (np.ones((1, 2, 100), np.float32), "auto", r"must be \(time, channels\)"),
        (np.full((100, 1), np.nan, np.float32), "auto", "100 of 100 samples are NaN"),
        (np.ones((100, 2), np.float32), "channels", "layout='channels' must be one of"),
    ],
)
def test_what_is_no_audio_is_told(separator, audio, layout, message):
    with pytest.raises(ValueError, match=message):
        separator(audio, RATE, layout=layout)


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ("hpss", {"device": "abacus"}, "no device 'abacus' here, but .*"),
        ("hpss", {"device": "cpu:99"}, "no device 'cpu:99'"),
        ("hpss", {"chunk": -1.0}, "chunk=-1.0"),
        ("hpss", {"augment": ["swop"]}, "did you mean 'swap'"),
        (["hpss", "hpss"], {"weights": [1]}, "one number for each model, 2 in all"),
        (["hpss", "hpss"], {"weights": 2}, "one number for each model, 2 in all"),
        ("hpss", {"shifts": 2.5}, "shifts=2.5 must be a whole number"),
        ("hpss", {"stems": "voice"}, "unknown stem 'voice'"),
        ("hpss", {"augment": "swop"}, "unknown augmentation 'swop'"),
    ],
)
def test_what_cannot_separate_is_told(models, options, message):
    with pytest.raises(ValueError, match=message):
        sepjax.Separator(models, **options)


def test_several_models_and_recipes():
    both = sepjax.Separator(
        [MODEL, MODEL], chunk=0.5, two_stems="voice", total="exact", device="cpu"
    )
    assert both.sources == ("voice", "no_voice")
    wave = noise(5000)
    stems = both(wave, RATE)
    np.testing.assert_allclose(sum(stems.values()), wave, atol=1e-7)


def test_progress_grows_from_nothing_to_all(separator):
    shares = []
    separator(noise(20_000), RATE, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert len(set(shares)) > 4


@pytest.mark.parametrize("at", [0.0, 0.4, 1.0])
def test_a_cancelled_separation_ends_and_leaves_nothing(separator, tmp_path, at):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(20_000), RATE)
    event, shares = threading.Event(), []

    def progress(share):
        shares.append(share)
        if share >= at:
            event.set()

    for run in (
        lambda: separator.separate_file(
            path, tmp_path / "out", progress=progress, cancel=event
        ),
        lambda: separator(noise(20_000), RATE, progress=progress, cancel=event.is_set),
    ):
        event.clear()
        shares.clear()
        with pytest.raises(sepjax.Cancelled, match="nothing of it is left"):
            run()
        assert max(shares) < at + 0.3
        assert sum(share >= at for share in shares) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["a.wav"]


def test_files_are_those_of_arrays(separator, tmp_path):
    wave = noise(9000)
    soundfile.write(tmp_path / "a.wav", wave, RATE, "FLOAT")
    files = separator.separate_file(tmp_path / "a.wav", tmp_path / "new" / "out")
    assert files.keys() == {"rest", "voice"}
    for name, stem in separator(wave, RATE).items():
        np.testing.assert_allclose(soundfile.read(files[name])[0], stem, atol=1e-6)


def test_the_current_folder_is_one_for_stems(separator, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise(4000), RATE)
    (tmp_path / "out" / "in").mkdir(parents=True)
    for folder, place in ((".", "out/in"), ("..", "out")):
        monkeypatch.chdir(tmp_path / "out" / "in")
        files = separator.separate_file(tmp_path / "a.wav", folder)
        assert {path.resolve().parent for path in files.values()} == {tmp_path / place}
        assert all(path.exists() for path in files.values())


def test_files_may_have_any_format_that_is_known(separator, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(9000), RATE)
    files = separator.separate_file(tmp_path / "a.wav", tmp_path / "out", kind="flac")
    assert {soundfile.info(path).format for path in files.values()} == {"FLAC"}
    with pytest.raises(ValueError, match="clip mode 'clip': did you mean 'clamp'"):
        separator.separate_file(tmp_path / "a.wav", tmp_path, clip_mode="clip")
    with pytest.raises(ValueError, match="unknown format 'mpx': did you mean 'mp3'"):
        separator.separate_file(tmp_path / "a.wav", tmp_path / "out", kind="mpx")


def test_threads_share_what_is_compiled(separator, monkeypatch):
    waves = [noise(6000, seed=seed) for seed in range(4)]
    expected = [separator(wave, RATE) for wave in waves]
    programs = stream.estimate_batch._cache_size()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda wave: separator(wave, RATE), waves))
    again = sepjax.Separator(MODEL, chunk=0.5)
    found.append(again(waves[0], RATE))
    for stems, others in zip(found, [*expected, expected[0]]):
        for name in stems:
            np.testing.assert_array_equal(stems[name], others[name])
    assert stream.estimate_batch._cache_size() == programs
