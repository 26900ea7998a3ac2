"""The ideal ratio mask against SciPy's transforms and stored vectors."""

from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from sepjax.evaluation import ideal_ratio_mask, si_sdr
from sepjax.evaluation.masks import (
    BLOCK_FRAMES,
    fft_size,
    ideal_binary_mask,
    mixture_as_estimate,
)
from sepjax.evaluation.masks_wiener import ideal_wiener_filter

VECTORS = Path(__file__).parents[2] / "../shared/data/umx_ref/oracles.npz"


def scipy_mask(references, mixture, power, n_fft):
    """The definition, one channel after the other (sigsep-mus-oracle)."""
    estimates = np.zeros_like(references)
    for channel in range(mixture.shape[1]):
        _, _, spectra = scipy.signal.stft(references[..., channel], nperseg=n_fft)
        _, _, spectrum = scipy.signal.stft(mixture[:, channel], nperseg=n_fft)
        powers = np.abs(spectra) ** power
        masks = powers / (2.2e-16 + powers.sum(0))
        _, waves = scipy.signal.istft(masks * spectrum, nperseg=n_fft)
        estimates[..., channel] = waves[:, : len(mixture)]
    return estimates


def noise(sources, time, channels, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (sources, time, channels))


# Shorter and longer than a block of 256 * 64 samples, whole and odd.
@pytest.mark.parametrize("time", [700, BLOCK_FRAMES * 64, 20001])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_equals_scipy(time, power):
    references = noise(3, time, 2)
    mixture = references.sum(0)
    estimates = ideal_ratio_mask(references, mixture, power=power, n_fft=128)
    expected = scipy_mask(references, mixture, power, 128)
    np.testing.assert_allclose(estimates, expected, atol=1e-12)


@pytest.mark.parametrize("time", [1, 5, 127, 128, 129, 1000])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_sums_to_the_mixture(time, channels):
    references = noise(2, time, channels)
    mixture = references.sum(0)
    estimates = ideal_ratio_mask(references, mixture, n_fft=128)
    assert estimates.shape == references.shape
    # Powers of 1e-6 beside eps = 2e-16.
    np.testing.assert_allclose(estimates.sum(0), mixture, atol=1e-9)


def test_disjoint_sources_are_separated_and_silence_stays_silent():
    time = np.arange(8000)
    tone = np.sin(2 * np.pi * 0.02 * time)
    other = np.sin(2 * np.pi * 0.2 * time)
    references = np.stack([tone, other, 0 * tone])[..., None].astype(np.float32)
    estimates = ideal_ratio_mask(references, references.sum(0), n_fft=512)
    assert estimates.dtype == np.float32
    assert np.all(si_sdr(references[:2], estimates[:2]) > 40)
    assert not estimates[2].any()


def test_a_narrower_hop_also_reconstructs():
    references = noise(2, 3000, 1)
    estimates = ideal_ratio_mask(references, references.sum(0), n_fft=256, hop=64)
    np.testing.assert_allclose(estimates.sum(0), references.sum(0), atol=1e-9)


def test_bad_arguments_are_refused():
    references = noise(2, 300, 2)
    with pytest.raises(ValueError, match="must divide"):
        ideal_ratio_mask(references, references.sum(0), n_fft=128, hop=50)
    with pytest.raises(ValueError, match=r"\(300, 1\)"):
        ideal_ratio_mask(references, references.sum(0)[:, :1])


def test_window_lasts_as_long_at_every_rate():
    for rate in (8000, 16000, 22050, 32000, 44100, 48000, 96000):
        ratio = (fft_size(rate) / rate) / (2048 / 44100)
        assert 2**-0.5 <= ratio <= 2**0.5, rate


@pytest.mark.skipif(not VECTORS.exists(), reason="reference vectors are not here")
@pytest.mark.parametrize("power", [1, 2])
def test_stored_vectors(power):
    case = np.load(VECTORS)
    references = case["sources"]
    estimates = ideal_ratio_mask(references, references.sum(0), power=float(power))
    np.testing.assert_allclose(estimates, case[f"irm{power}"], atol=1e-10)
    estimates = ideal_binary_mask(references, references.sum(0), power=float(power))
    np.testing.assert_allclose(estimates, case[f"ibm{power}"], atol=1e-10)


@pytest.mark.skipif(not VECTORS.exists(), reason="reference vectors are not here")
@pytest.mark.parametrize(("name", "bug"), [("mwf", True), ("mwf_fixed_trace", False)])
def test_stored_vectors_of_the_wiener_filter(name, bug):
    case = np.load(VECTORS)
    references = case["sources"]
    found = ideal_wiener_filter(references, references.sum(0), sisec18_bug=bug)
    # Every bin counts alike in a covariance, however faint; there, transforms of two
    # libraries differ by 1e-9 of it.
    np.testing.assert_allclose(found, case[name], rtol=0, atol=1e-6)


# Several blocks of 256 * 64 samples, and sources that are mono, stereo and more.
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_wiener_filter_sums_to_the_mixture_over_blocks(channels):
    references = noise(2, 2 * BLOCK_FRAMES * 64 + 77, channels)
    mixture = references.sum(0)
    estimates = ideal_wiener_filter(references, mixture, n_fft=128)
    # Its gains sum to one but for an epsilon beside determinants; the last frame holds
    # a few samples only, and its are faint.
    whole = estimates.sum(0)[:-128]
    np.testing.assert_allclose(whole, mixture[:-128], rtol=0, atol=1e-6)
    assert np.all(si_sdr(references, estimates) > si_sdr(references, [mixture] * 2))


def test_wiener_filter_beats_the_ratio_mask_where_directions_differ():
    wave = noise(2, 8000, 1)
    panned = np.concatenate([wave * [[[1.0]], [[0.2]]], wave * [[[0.2]], [[1.0]]]], -1)
    mixture = panned.sum(0)
    masked = ideal_ratio_mask(panned, mixture, n_fft=256)
    filtered = ideal_wiener_filter(panned, mixture, n_fft=256)
    assert np.all(si_sdr(panned, filtered) > si_sdr(panned, masked) + 10)


def test_a_silent_source_stays_silent_in_all_oracles():
    references = noise(3, 3000, 2)
    references[1] = 0
    mixture = references.sum(0)
    for oracle in (ideal_ratio_mask, ideal_binary_mask, ideal_wiener_filter):
        estimates = oracle(references, mixture, n_fft=128)
        assert np.isfinite(estimates).all()
        assert np.abs(estimates[1]).max() < 1e-9


def test_binary_masks_take_all_or_nothing():
    references = noise(1, 1000, 1)
    same = ideal_binary_mask(references, references[0], n_fft=128)
    np.testing.assert_allclose(same, references, atol=1e-12)
    nothing = ideal_binary_mask(references, 10 * references[0], n_fft=128)
    assert not nothing.any()
    shared = mixture_as_estimate(np.zeros((4, 1000, 1)), references[0])
    np.testing.assert_array_equal(shared[3], references[0] / 4)
