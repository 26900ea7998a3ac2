"""Decimation as a filter ought to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soxr

from sepjax.functional.resample import decimate, windowed_sinc
from tests.support.annotations import unchecked
from tests.support.signals import noise_array as noise

EDGE = 200  # decimated samples, beyond the reach of the taps: 64 zero crossings


def decibels(gain):
    return 20 * np.log10(np.maximum(gain, 1e-30))


def tone(pitch, factor, time=8192, phase=0.3):
    """A sine at ``pitch`` times the Nyquist frequency after decimation."""
    return np.sin(np.pi * pitch / factor * np.arange(time) + phase).astype(np.float32)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_pass_band_is_flat_and_stop_band_is_silent(factor):
    taps = windowed_sinc(factor)
    assert len(taps) == 128 * factor + 1
    np.testing.assert_array_equal(taps, taps[::-1])
    gain = np.abs(np.fft.rfft(taps, 1 << 16))
    pitch = np.linspace(0, factor, len(gain))
    assert gain[0] == pytest.approx(1, abs=1e-15)
    np.testing.assert_allclose(gain[pitch < 0.87], 1, atol=1e-7)
    half = np.interp(0.9475937167399596, pitch, gain)
    assert half == pytest.approx(0.5, abs=1e-3)
    assert decibels(gain[pitch > 1.02].max()) < -126
    assert decibels(gain[pitch >= 1].max()) < -55


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("pitch", [0.0, 0.01, 0.5, 0.86])
def test_tones_below_the_cutoff_keep_amplitude_and_phase(factor, pitch):
    wave = tone(pitch, factor)
    found = decimate(jnp.asarray(wave), factor)
    # Sums of 512 float32 products.
    inner = slice(EDGE, -EDGE)
    np.testing.assert_allclose(found[inner], wave[::factor][inner], atol=2e-6)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("pitch", [1.02, 1.3, 1.9])
def test_tones_above_the_new_nyquist_do_not_alias(factor, pitch):
    found = decimate(jnp.asarray(tone(pitch, factor)), factor)[EDGE:-EDGE]
    # -126 dB by the taps; float32 leaves about -130 dB.
    assert decibels(np.abs(found).max()) < -115


@pytest.mark.parametrize("factor", [2, 4])
def test_noise_agrees_with_soxr(factor):
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=32768))
    spectrum[int(0.85 * len(spectrum) / factor) :] = 0
    wave = np.fft.irfft(spectrum)
    wave /= np.abs(wave).max()
    found = decimate(jnp.asarray(wave, jnp.float32), factor)
    known = soxr.resample(wave, 8000 * factor, 8000, quality="VHQ")
    assert found.shape == known.shape
    # 8e-7 of the peak was seen, the rounding of float32.
    error = np.abs(found - known)[EDGE:-EDGE].max()
    assert error < 3e-6 * np.abs(known).max()


@pytest.mark.parametrize("time", [1, 7, 256, 1001, 1024])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_output_is_the_sum_of_its_formula(time, factor):
    wave, taps = np.asarray(noise(2, time)), windowed_sinc(factor)
    reach = len(taps) // 2
    padded = np.pad(wave, [(0, 0), (reach, reach)]).astype(np.float64)
    whole = [np.convolve(row, taps, "valid")[::factor] for row in padded]
    expected = wave if factor == 1 else np.stack(whole)
    found = decimate(jnp.asarray(wave), factor)
    assert found.shape == (2, -(-time // factor))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_linear_under_jit_vmap_and_grad():
    one, two = noise(3, 900), noise(3, 900, seed=1)
    apply = jax.jit(decimate, static_argnums=1)
    both = apply(one, 2) + apply(two, 2)
    np.testing.assert_allclose(apply(one + two, 2), both, atol=2e-6)
    each = jax.vmap(lambda wave: decimate(wave, 2))(one)
    np.testing.assert_allclose(each, apply(one, 2), atol=2e-6)
    # The gradient is the adjoint: <decimate(a), b> = <a, gradient>.
    weights = noise(3, 450, seed=2)
    gradient = jax.grad(lambda wave: jnp.sum(decimate(wave, 2) * weights))(one)
    product = float(jnp.sum(apply(two, 2) * weights))
    assert float(jnp.sum(gradient * two)) == pytest.approx(product, abs=1e-3)
    assert apply(one.astype(jnp.bfloat16), 2).dtype == jnp.bfloat16


@pytest.mark.parametrize("factor", [0, -2, 1.5])
@unchecked()
def test_factor_is_a_positive_integer(factor):
    with pytest.raises(ValueError, match="positive integer"):
        decimate(jnp.ones(9), factor)
