"""Decimation as a filter ought to be, and ``kaiser_best`` as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soxr

from sepjax.functional.resample import decimate, windowed_sinc
from sepjax.functional.resample_kaiser import kaiser_best

EDGE = 200  # decimated samples, beyond the reach of the taps: 64 zero crossings


def decibels(gain):
    return 20 * np.log10(np.maximum(gain, 1e-30))


def tone(pitch, factor, time=8192, phase=0.3):
    """A sine at ``pitch`` times the Nyquist frequency after decimation."""
    return np.sin(np.pi * pitch / factor * np.arange(time) + phase).astype(np.float32)


def noise(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


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
def test_factor_is_a_positive_integer(factor):
    with pytest.raises(ValueError, match="positive integer"):
        decimate(jnp.ones(9), factor)


@pytest.mark.parametrize(
    ("given", "rate", "target", "known"),
    [
        ("in/x_44100", 44100, 8000, "out/kaiser_best_8000"),
        ("in/x_44100", 44100, 16000, "out/kaiser_best_16000"),
        ("in/x_44100", 44100, 32000, "out/kaiser_best_32000"),
        ("out/kaiser_best_8000", 8000, 44100, "out/up_kaiser_best_8000_44100"),
        ("out/kaiser_best_32000", 32000, 44100, "out/up_kaiser_best_32000_44100"),
    ],
)
def test_kaiser_best_is_that_of_librosa(shared_data, given, rate, target, known):
    table = np.load(shared_data / "model_ref" / "resample.npz")
    found = kaiser_best(table[given], rate, target)
    # Both in float64, rounded to float32: equal but for a last digit.
    atol = 2e-7 * np.abs(table[known]).max()
    np.testing.assert_allclose(found, table[known], rtol=0, atol=atol)


def test_kaiser_best_has_the_quirk_of_its_table():
    for target, gain in ((8000, 1.0079), (16000, 1.0027), (32000, 1.0004)):
        found = kaiser_best(np.ones(44100), 44100, target)[EDGE:-EDGE]
        assert found.mean() == pytest.approx(gain, abs=1e-4)
    # Where int(512 s) is exact there is none, and it is the decimation.
    wave = np.asarray(noise(2, 4001))
    inner = slice(EDGE, -EDGE)
    found = kaiser_best(wave, 32000, 16000)
    # Linear interpolation in the table and float32: 2e-6 was seen.
    np.testing.assert_allclose(
        found[:, inner], decimate(jnp.asarray(wave), 2)[:, inner], atol=1e-5
    )


def test_kaiser_best_shapes_types_and_blocks(monkeypatch):
    wave = np.asarray(noise(2, 3, 1001))
    whole = kaiser_best(wave, 44100, 32000)
    assert whole.shape == (2, 3, 727)  # 726.4 rounded up, with a zero at the end
    assert whole.dtype == np.float32
    assert not whole[..., -1].any()
    assert whole[..., -2].all()
    monkeypatch.setattr("sepjax.functional.resample_kaiser.BLOCK", 100)
    np.testing.assert_array_equal(kaiser_best(wave, 44100, 32000), whole)
    same = kaiser_best(wave, 8000, 8000)
    np.testing.assert_array_equal(same, wave)
    assert same is not wave
    assert kaiser_best(wave[..., :0], 44100, 8000).shape == (2, 3, 0)
    assert kaiser_best(wave[..., :1], 44100, 8000).shape == (2, 3, 1)


@pytest.mark.parametrize(("rate", "target"), [(0, 8000), (44100, -1), (44100, 80)])
def test_kaiser_best_refuses_odd_rates(rate, target):
    with pytest.raises(ValueError, match="cannot resample"):
        kaiser_best(np.ones(10), rate, target)
