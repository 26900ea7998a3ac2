"""Deezer's released 2stems weights on real music: TensorFlow's output, its scores.

They are fetched if they are not in the cache; without network this skips.
"""

import json

import jax
import numpy as np
import pytest
import soundfile

import sepjax
from sepjax.download import DownloadError
from sepjax.evaluation.metrics import si_sdr
from sepjax.models.build import model_of
from tests.weights.vectors import assert_near

pytestmark = pytest.mark.slow
NAMES = ("vocals", "accompaniment")


@pytest.fixture(scope="module")
def released():
    try:
        return sepjax.load("spleeter:2stems")
    except (DownloadError, OSError) as error:
        pytest.skip(f"no released weights: {error}")


def vectors(shared_data, name):
    path = shared_data / f"spleeter_ref/evr_sodium_189_{name}.npz"
    with np.load(path) as data:
        return {key: data[key] for key in data.files}


def estimated(released, wave, **fields):
    """Stems of a whole wave, by a variant of the model."""
    _, variables, config = released
    for name, value in fields.items():
        setattr(config.model, name, value)
    model = model_of(config)
    estimates = jax.jit(model.apply)(variables, wave.T[None]).estimates[0]
    for name in fields:
        setattr(config.model, name, getattr(type(config.model)(), name))
    return dict(zip(NAMES, np.asarray(estimates).swapaxes(1, 2)))


def test_short_runs_of_every_variant(shared_data, released):
    stored = vectors(shared_data, "short")
    wave = stored["in/x_int16"].astype(np.float32) / 32768
    plain, more = (
        vectors(shared_data, "short_plain"),
        vectors(shared_data, "short_variants"),
    )
    padded = estimated(released, wave)
    for name in NAMES:
        assert_near(padded[name], stored[f"out/{name}"], 3e-5)
    first = estimated(released, wave, padded=False)
    for name in NAMES:
        expected = plain[f"out/{name}"]
        assert_near(first[name][: len(expected)], expected, 3e-5)
    variants = {"f1536": dict(bins=1536), "average": dict(extension="average")}
    for variant, fields in variants.items():
        stems = estimated(released, wave, **fields)
        for name in NAMES:
            expected = more[f"out/{variant}/{name}"]
            assert_near(stems[name][30000:46384], expected, 3e-5)


def test_across_the_border_of_two_patches(shared_data, released):
    model, variables, _ = released
    path = shared_data / "stems44/evr_sodium_189/mixture.flac"
    wave, rate = soundfile.read(path, frames=529200, dtype="float32")
    options = dict(sample_rate=rate, normalize=False, rescale=False)
    stems = sepjax.separate(model, variables, wave, **options)
    stored = vectors(shared_data, "12s_tail")
    for name in NAMES:
        assert_near(stems[name][463050:], stored[f"out/{name}"], 3e-5)
        path = shared_data / f"spleeter_ref/evr_sodium_189_12s_{name}.flac"
        rounded, _ = soundfile.read(path, dtype="float32")
        assert np.abs(stems[name] - rounded).max() < 5e-5  # half a step, and rounding


def test_scores_on_songs_with_vocals(shared_data, released):
    model, variables, _ = released
    table = json.loads((shared_data / "spleeter_ref/si_sdr.json").read_text())
    for row in table:
        folder = shared_data / "stems44" / row["song"]
        mixture, rate = soundfile.read(folder / "mixture.flac", dtype="float32")
        vocals, _ = soundfile.read(folder / "vocals.flac", dtype="float32")
        options = dict(sample_rate=rate, normalize=False, rescale=False)
        stems = sepjax.separate(model, variables, mixture, **options)
        truth = {"vocals": vocals, "accompaniment": mixture - vocals}
        for name in NAMES:
            score = float(si_sdr(truth[name].ravel(), stems[name].ravel()))
            assert abs(score - row[name]) < 0.05, (row["song"], name, score)
