"""What sinc and gammatone filters are, and what their parameters may never do."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from sepjax.functional import filterbanks as fb
from sepjax.functional.framing import analyze, synthesize
from sepjax.functional.inverse import pinv_kernel

# One compilation for each bank, not one for each operation in it.
BANK = ("filters", "length", "spacing")


@functools.partial(jax.jit, static_argnames=(*BANK, "phase"))
def sinc_bank(filters, length, spacing="mel", phase="analytic"):
    params = fb.init_sinc(filters, sample_rate=8000, spacing=spacing)
    return fb.sinc_kernel(*fb.sinc_params_to_bands(params), length, phase=phase)


@functools.partial(jax.jit, static_argnames=BANK)
def gammatone_bank(filters, length, spacing="mel"):
    params = fb.init_gammatone(filters, sample_rate=8000, spacing=spacing)
    return fb.gammatone_kernel(*fb.gammatone_params_to_physical(params), length)


def peaks(kernel, points=8192):
    return np.abs(np.fft.rfft(np.asarray(kernel), points, axis=0)).argmax(0) / points


def reconstruction(kernel, stride, seed=0):
    """Signal-to-error ratio in dB of analysis and pseudo-inverse, inside the signal."""
    wave = np.random.default_rng(seed).normal(size=4000).astype(np.float32)
    back = np.asarray(there_and_back(wave, kernel, stride))
    inside = slice(len(kernel), -len(kernel))
    error = np.sum((wave - back)[inside] ** 2)
    return float(10 * np.log10(np.sum(wave[inside] ** 2) / error))


@functools.partial(jax.jit, static_argnums=2)
def there_and_back(wave, kernel, stride):
    inverse = pinv_kernel(kernel, stride)
    return synthesize(analyze(wave, kernel, stride), inverse, stride, time=len(wave))


@pytest.mark.parametrize("length", [20, 25, 101])
def test_sinc_filters_are_even_and_odd_pairs(length):
    kernel = sinc_bank(16, length)
    even, odd = kernel[:, :16], kernel[:, 16:]
    np.testing.assert_allclose(even, even[::-1], atol=1e-6)
    np.testing.assert_allclose(odd, -odd[::-1], atol=1e-6)
    if length % 2:
        np.testing.assert_allclose(even[length // 2], 1.0, atol=1e-6)


def test_sinc_passes_its_band_and_stops_the_rest():
    low, high = jnp.array([0.1]), jnp.array([0.2])
    kernel = np.asarray(fb.sinc_kernel(low, high, 501, phase="even"))[:, 0]
    response = np.abs(np.fft.rfft(kernel, 8192)) * 2 * 0.1
    frequency = np.arange(len(response)) / 8192
    inside = (frequency > 0.108) & (frequency < 0.192)
    outside = (frequency < 0.092) | (frequency > 0.208)
    # A Hamming window's ripple is -53 dB, that is 0.0022.
    np.testing.assert_allclose(response[inside], 1.0, atol=0.005)
    assert response[outside].max() < 0.005


@pytest.mark.parametrize("length", [20, 25])
def test_the_printed_sinc_filter(length):
    # g[n] = 2 f2 sinc(2 pi f2 n) - 2 f1 sinc(2 pi f1 n) with sinc(x) = sin(x) / x.
    low, high = np.array([0.01, 0.2]), np.array([0.02, 0.45])
    n = np.arange(length)[:, None] - (length - 1) / 2 + 1e-9  # the limit at 0
    ideal = (np.sin(2 * np.pi * f * n) / (np.pi * n) for f in (high, low))
    form = dict(window="none", phase="even", gain="band")
    edges = jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
    found = fb.sinc_kernel(*edges, length, **form)
    np.testing.assert_allclose(found, next(ideal) - next(ideal), rtol=0, atol=1e-6)
    # Only the gain tells it from the filter of unit centre; pairs have it, too.
    plain = fb.sinc_kernel(*edges, length)
    gain = np.tile(2 * (high - low), 2)
    banded = fb.sinc_kernel(*edges, length, gain="band")
    np.testing.assert_allclose(banded, plain * gain[None], rtol=1e-5, atol=1e-7)


def test_sinc_pair_is_a_complex_exponential_under_one_envelope():
    kernel = sinc_bank(8, 64)
    low, high = fb.sinc_params_to_bands(
        fb.init_sinc(8, sample_rate=8000, spacing="mel")
    )
    envelope = jnp.hypot(kernel[:, :8], kernel[:, 8:])
    taps = jnp.arange(64.0)[:, None] - 31.5
    expected = jnp.abs(jnp.sinc((high - low)[None] * taps))
    expected = expected * jnp.asarray(np.hamming(64), jnp.float32)[:, None]
    np.testing.assert_allclose(envelope, expected, atol=1e-5)


def test_mel_and_uniform_spacing_of_sinc_edges():
    # Lower edges lie 50 Hz above their points, upper ones 100 Hz above the next.
    for spacing, warp in (
        ("mel", lambda f: 2595 * np.log10(1 + f / 700)),
        ("uniform", lambda f: f),
    ):
        params = fb.init_sinc(30, sample_rate=8000, spacing=spacing)
        low, high = fb.sinc_params_to_bands(params)
        points = warp(np.asarray(low, float) * 8000 - 50)
        np.testing.assert_allclose(np.diff(points), np.diff(points).mean(), rtol=2e-3)
        np.testing.assert_allclose(low[0] * 8000, 80, rtol=1e-3)
        np.testing.assert_allclose(high[:-1] * 8000, low[1:] * 8000 + 50, rtol=1e-3)


def test_gammatone_peaks_at_its_center():
    center = jnp.array([0.05, 0.1, 0.2, 0.3])
    bandwidth = jnp.full(4, 0.004)
    kernel = fb.gammatone_kernel(center, bandwidth, jnp.zeros(4), 800)
    np.testing.assert_allclose(peaks(kernel), center, rtol=0.01)


def test_gammatone_has_its_envelope_and_unit_power():
    kernel = gammatone_bank(32, 20)
    np.testing.assert_allclose(jnp.mean(kernel**2, 0), 1.0, rtol=1e-3)
    raw = fb.gammatone_kernel(
        jnp.array([0.0]), jnp.array([0.02]), jnp.zeros(1), 50, normalize=False
    )
    taps = np.arange(1, 51)
    expected = taps * np.exp(-2 * np.pi * 0.02 * taps)
    np.testing.assert_allclose(raw[:, 0], expected, rtol=1e-4)


def test_gammatone_bandwidth_is_auditory():
    params = fb.init_gammatone(20, sample_rate=16000, spacing="uniform")
    center, bandwidth, _ = fb.gammatone_params_to_physical(params)
    erb = 24.7 + 0.108 * np.asarray(center, float) * 16000
    np.testing.assert_allclose(bandwidth * 16000, erb * 2 / np.pi, rtol=1e-3)


def test_multiphase_filters_come_with_their_negatives():
    kernel = gammatone_bank(128, 32, spacing="multiphase")
    np.testing.assert_allclose(kernel[:, :64], -kernel[:, 64:], atol=1e-4)


@pytest.mark.parametrize("spacing", ["mel", "uniform", "multiphase"])
def test_an_odd_number_of_gammatones_is_what_it_says(spacing):
    assert gammatone_bank(7, 20, spacing).shape == (20, 7)


@pytest.mark.parametrize("bank", [sinc_bank, gammatone_bank])
@pytest.mark.parametrize("spacing", ["mel", "uniform"])
@pytest.mark.parametrize(("length", "stride"), [(20, 20), (25, 25), (20, 10), (24, 8)])
def test_banks_reconstruct_through_their_inverse(bank, spacing, length, stride):
    filters = 220 if bank is sinc_bank else 440
    assert reconstruction(bank(filters, length, spacing), stride) > 80


def test_even_sinc_filters_alone_do_not_reconstruct():
    # Symmetric filters span half of the space: half of white noise's energy is lost.
    assert reconstruction(sinc_bank(440, 25, phase="even"), 25) < 6


def test_a_tap_at_zero_costs_the_gammatone_bank_a_rank():
    params = fb.init_gammatone(440, sample_rate=8000, spacing="mel")
    physical = fb.gammatone_params_to_physical(params)
    shifted = fb.gammatone_kernel(*physical, 19, normalize=False)
    with_zero = jnp.concatenate([jnp.zeros((1, 440)), shifted])
    assert reconstruction(with_zero, 20) < 15


def test_a_stride_that_does_not_divide_the_length_ripples():
    assert reconstruction(gammatone_bank(440, 25), 10) < 20


@pytest.mark.parametrize("init", [fb.init_sinc, fb.init_gammatone])
def test_no_step_leads_out_of_the_valid_range(init):
    params = init(64, sample_rate=8000, spacing="mel")
    optimizer = optax.adam(0.05)

    def step(carry, key):
        params, state = carry
        keys = dict(zip(params, jax.random.split(key, len(params))))
        grads = {n: jax.random.normal(keys[n], p.shape) for n, p in params.items()}
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    with jax.numpy_dtype_promotion("standard"):
        keys = jax.random.split(jax.random.key(0), 10_000)
        start = (params, optimizer.init(params))
        (params, _), _ = jax.jit(lambda: jax.lax.scan(step, start, keys))()
    if init is fb.init_sinc:
        low, high = fb.sinc_params_to_bands(params)
        assert (low >= fb.SINC_FLOOR).all()
        assert (high > low).all()
        assert (high <= 0.5).all()
    else:
        center, bandwidth, _ = fb.gammatone_params_to_physical(params)
        assert ((center > 0) & (center <= 0.5)).all()
        assert (bandwidth >= fb.GAMMATONE_FLOOR).all()
        assert (bandwidth <= fb.GAMMATONE_CEILING).all()


def test_gradients_are_right_and_alive():
    params = fb.init_sinc(6, sample_rate=8000, spacing="mel")
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(21, 12)), jnp.float32)

    @jax.jit
    def value(params):
        kernel = fb.sinc_kernel(*fb.sinc_params_to_bands(params), 21)
        return jnp.sum(kernel * weights)

    check_grads(value, (params,), 1, modes=["rev"], rtol=2e-2)
    grads = jax.grad(value)(params)
    # The widest band is initialised at Nyquist, where a clipped form has no gradient.
    assert all((jnp.abs(g) > 0).all() for g in grads.values())


@pytest.mark.parametrize("state", ["init", "perturbed"])
@pytest.mark.parametrize("case", ["n16_l16_8k", "n32_l101_44k", "n64_l25_8k"])
def test_sinc_taps_equal_the_reference_implementation(shared_data, case, state):
    """asteroid's ParamSincFB, from its own parameters in hertz."""
    with np.load(shared_data / f"model_ref/fb_param_sinc_{case}.npz") as data:
        prefix = "p/" if state == "init" else "p/perturbed/"
        low, band = (data[f"{prefix}{n}"][:, 0] for n in ("low_hz_", "band_hz_"))
        taps = data[f"out/taps_{state}"][:, 0].T
        rate = json.loads(str(data["meta"]))["kwargs"]["sample_rate"]
    low = 50 + np.abs(low)
    high = np.clip(low + 50 + np.abs(band), 50, rate / 2)
    edges = (jnp.asarray(edge / rate, jnp.float32) for edge in (low, high))
    # The README of the vectors: what a float32 implementation can reach.
    np.testing.assert_allclose(fb.sinc_kernel(*edges, len(taps)), taps, atol=5e-6)
    if state == "init":
        bands = taps.shape[1] // 2
        params = fb.init_sinc(bands, sample_rate=rate, spacing="mel", floor=1e-6)
        found = fb.sinc_params_to_bands(params, floor=1e-6)
        # Initial logits are kept within 1e-4 of the ends of the sigmoid.
        for edge, expected in zip(found, (low, high)):
            np.testing.assert_allclose(edge, expected / rate, atol=2e-4)


def test_inverse_of_a_reference_bank(shared_data):
    """asteroid's encoder and pseudo-inverse decoder on its multi-phase gammatones."""
    with np.load(shared_data / "model_ref/fb_pair_mpgtf_dec.npz") as data:
        kernel = jnp.asarray(data["out/encoder_taps"][:, 0].T)
        expected = data["out/decoder_taps"][:, 0]
        wave, latent = data["in/x"][:, 0], data["out/latent"].transpose(0, 2, 1)
        back = data["out/y"][:, 0]
    inverse = pinv_kernel(kernel, 20, ridge=1e-9)
    np.testing.assert_allclose(inverse, expected, atol=1e-5 * np.abs(expected).max())
    found = analyze(jnp.asarray(wave), kernel, 20)
    np.testing.assert_allclose(found, latent, atol=1e-5 * np.abs(latent).max())
    again = synthesize(found, inverse, 20, time=500)
    np.testing.assert_allclose(again, back, atol=1e-5 * np.abs(back).max())


def test_multiphase_layout_equals_the_reference(shared_data):
    """sp-uhh/mp-gtf up to its overall gain, bank by bank."""
    with np.load(shared_data / "model_ref/fb_multiphase_gammatone.npz") as data:
        expected = data["out/mpgtf_128_16_8000"]
        np.testing.assert_array_equal(
            np.bincount(np.searchsorted(data["out/centre_hz"], _centers(128)) % 24),
            2 * data["mid/phase_pairs_128_16_8000"],
        )
    kernel = np.asarray(gammatone_bank(128, 16, spacing="multiphase"))
    norms = [np.linalg.norm(k, axis=axis) for k, axis in ((kernel, 0), (expected, 1))]
    cosine = (kernel / norms[0]).T @ (expected / norms[1][:, None]).T
    # Every filter of one bank is in the other, whatever the order.
    np.testing.assert_allclose(cosine.max(0), 1.0, atol=1e-4)
    np.testing.assert_allclose(cosine.max(1), 1.0, atol=1e-4)


def _centers(filters):
    params = fb.init_gammatone(filters, sample_rate=8000, spacing="multiphase")
    return np.asarray(fb.gammatone_params_to_physical(params)[0]) * 8000 * 0.9999
