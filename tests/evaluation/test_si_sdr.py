"""Scores against the formulas in NumPy, their invariances, and stored vectors."""

from pathlib import Path

import numpy as np
import pytest

from sepjax.evaluation import si_sdr, usdr

VECTORS = Path(__file__).parents[2] / "../shared/data/bss_ref"


def formula(reference, estimate):
    scale = np.vdot(estimate, reference) / np.vdot(reference, reference)
    target = scale * reference
    error = target - estimate
    return 10 * np.log10(np.vdot(target, target) / np.vdot(error, error))


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(3, 4000, 2))
    return reference, 0.7 * reference + 0.3 * rng.normal(size=(3, 4000, 2))


def test_si_sdr_is_the_formula_on_all_channels_at_once(pair):
    expected = [formula(*waves) for waves in zip(*pair)]
    np.testing.assert_allclose(si_sdr(*pair), expected, atol=1e-10)


def test_si_sdr_takes_float32_and_computes_in_float64(pair):
    reference, estimate = (wave.astype(np.float32) for wave in pair)
    scores = si_sdr(reference, estimate)
    assert scores.dtype == np.float64
    exact = [formula(*waves) for waves in zip(*map(np.float64, (reference, estimate)))]
    np.testing.assert_allclose(scores, exact, atol=1e-10)


@pytest.mark.parametrize("scale", [-2.0, 1e-6, 1e4])
def test_si_sdr_ignores_the_scale_of_the_estimate_and_usdr_does_not(pair, scale):
    reference, estimate = pair
    np.testing.assert_allclose(
        si_sdr(reference, scale * estimate), si_sdr(reference, estimate), atol=1e-9
    )
    moved = usdr(reference, scale * estimate) - usdr(reference, estimate)
    assert np.all(np.abs(moved) > 0.1)


def test_mean_over_channels_fits_each_channel_alone(pair):
    reference, estimate = pair
    turned_down = estimate * [1.0, 0.01]
    expected = np.mean(
        [si_sdr(reference[..., [c]], estimate[..., [c]]) for c in range(2)], axis=0
    )
    scores = si_sdr(reference, turned_down, channels="mean")
    np.testing.assert_allclose(scores, expected, atol=1e-9)
    assert np.all(si_sdr(reference, turned_down) < scores - 1)


def test_zero_mean_forgives_an_offset(pair):
    reference, estimate = pair
    plain = si_sdr(reference, estimate, zero_mean=True)
    offset = si_sdr(reference, estimate + 5.0, zero_mean=True)
    np.testing.assert_allclose(offset, plain, atol=1e-9)
    assert np.all(si_sdr(reference, estimate + 5.0) < plain - 10)


def test_silence(pair):
    reference, estimate = pair
    silent = np.zeros_like(reference)
    assert np.isnan(si_sdr(silent, estimate)).all()
    assert np.isnan(si_sdr(silent, silent)).all()
    assert np.all(si_sdr(reference, silent) == -np.inf)
    half = reference * [1.0, 0.0]
    scores = si_sdr(half, estimate, channels="mean")
    alone = si_sdr(reference[..., :1], estimate[..., :1])
    np.testing.assert_allclose(scores, alone, atol=1e-9)
    np.testing.assert_allclose(usdr(silent[0], silent[0]), 0.0)


def test_one_channel_in_one_dimension(pair):
    reference, estimate = (wave[0, :, 0] for wave in pair)
    assert si_sdr(reference, estimate).shape == ()
    assert si_sdr(reference, estimate) == pytest.approx(formula(reference, estimate))


def test_bad_input_is_refused(pair):
    reference, estimate = pair
    with pytest.raises(ValueError, match=r"\(3, 4000, 2\).*\(3, 3999, 2\)"):
        si_sdr(reference, estimate[:, 1:])
    with pytest.raises(ValueError, match="'sum'"):
        si_sdr(reference, estimate, channels="sum")
    with pytest.raises(ValueError, match="nothing to score"):
        usdr(np.zeros((0, 2)), np.zeros((0, 2)))


@pytest.mark.skipif(not VECTORS.exists(), reason="reference vectors are not here")
def test_stored_vectors():
    files = sorted(VECTORS.glob("*.npz"))
    assert files
    for file in files:
        case = np.load(file)
        scores = si_sdr(case["ref"], case["est"]), usdr(case["ref"], case["est"])
        for score, name in zip(scores, ("si_sdr", "usdr")):
            # Both are sums in float64; 1e-6 dB is what a reader could ever see.
            np.testing.assert_allclose(score, case[name], atol=1e-6, err_msg=file.name)
