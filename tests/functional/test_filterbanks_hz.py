"""Filters learned in hertz: the same banks, another road."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.filterbanks import (
    gammatone_hz_to_physical,
    gammatone_params_to_physical,
    init_gammatone,
    init_gammatone_hz,
    init_sinc,
    init_sinc_hz,
    sinc_hz_to_bands,
    sinc_params_to_bands,
)


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("spacing", ["mel", "uniform"])
def test_both_forms_start_at_the_same_filters(spacing, rate):
    layout = dict(sample_rate=rate, spacing=spacing)
    hertz = sinc_hz_to_bands(init_sinc_hz(50, **layout), sample_rate=rate)
    logits = sinc_params_to_bands(init_sinc(50, **layout))
    # Logits stop at 1e-4 of their range.
    np.testing.assert_allclose(hertz, logits, rtol=0, atol=1e-4)
    hertz = gammatone_hz_to_physical(init_gammatone_hz(50, **layout), sample_rate=rate)
    logits = gammatone_params_to_physical(init_gammatone(50, **layout))
    np.testing.assert_allclose(hertz, logits, rtol=0, atol=1e-4)


def test_edges_follow_the_formula():
    params = {
        "low_hz": jnp.array([-200.0, 3900.0]),
        "band_hz": jnp.array([-30.0, 90.0]),
    }
    low, high = sinc_hz_to_bands(params, sample_rate=8000, min_low_hz=20, min_band_hz=5)
    np.testing.assert_allclose(low, np.array([220, 3920]) / 8000, rtol=1e-6)
    np.testing.assert_allclose(high, np.array([255, 4000]) / 8000, rtol=1e-6)


def test_a_band_at_nyquist_no_longer_learns_its_width():
    def width(band_hz):
        params = {"low_hz": jnp.array([3000.0]), "band_hz": band_hz}
        low, high = sinc_hz_to_bands(params, sample_rate=8000)
        return (high - low).sum()

    alive, dead = (jax.grad(width)(jnp.array([hz])) for hz in (500.0, 2000.0))
    assert alive[0] == pytest.approx(1 / 8000)
    assert dead[0] == 0


def test_a_step_of_the_learning_rate_is_a_thousandth_of_a_hertz():
    # Why the thesis raised the rate to 0.05 for filters in hertz: Adam's step is the
    # rate itself, here 1e-3 Hz; a logit's step moves the same edge by hertz.
    layout = dict(sample_rate=8000, spacing="mel")
    hertz, logits = init_sinc_hz(220, **layout), init_sinc(220, **layout)
    step = 1e-3
    moved = {
        "hz": sinc_hz_to_bands(
            {name: value + step for name, value in hertz.items()}, sample_rate=8000
        )[0]
        - sinc_hz_to_bands(hertz, sample_rate=8000)[0],
        "logits": sinc_params_to_bands({k: v + step for k, v in logits.items()})[0]
        - sinc_params_to_bands(logits)[0],
    }
    median = {name: 8000 * float(jnp.median(by)) for name, by in moved.items()}
    assert median["hz"] == pytest.approx(1e-3, rel=0.5)  # float32 of a kilohertz
    assert median["logits"] > 100 * median["hz"]
