"""Metrics by name: values of the new ones, and one that a user adds."""

import numpy as np
import pytest
import scipy.signal

from sepjax.evaluation.metrics import METRICS, measure
from sepjax.evaluation.perceptual import bleeding, log_wmse, multi_mel_snr
from sepjax.evaluation.whole_track import si_sdr, usdr
from sepjax.functional.hearing import hearing, mel_bank


def music(rate, time):
    """Tones and noise, a leaky estimate of them, and their mixture."""
    rng, seconds = np.random.default_rng(7), np.arange(time) / rate
    tone = 0.3 * np.sin(2 * np.pi * 220 * seconds) + 0.05 * rng.normal(size=time)
    beats = np.sin(2 * np.pi * 1300 * seconds) * np.exp(-2 * (seconds % 0.5))
    reference = np.stack([tone, 0.2 * beats + 0.02 * rng.normal(size=time)], 1)
    noise = 0.05 * rng.normal(size=(time, 2))
    other = scipy.signal.lfilter([1], [1, -0.9], noise, axis=0)
    estimate = 0.8 * reference + 0.2 * other + 0.01 * rng.normal(size=(time, 2))
    return reference, estimate, reference + other


# By torch-log-wmse 1.1.0 (LogWMSE, p = 0); by torch.stft, torchaudio 2.11.1 and
# librosa 0.11.0 after the definition of Music-Source-Separation-Training; by
# torchaudio's MelSpectrogram after that of MSRBench. All in float64.
PUBLISHED = {
    44100: (12.677918853536507, 13.436373510780411, 32.49350002825672, 19.27456164),
    48000: (12.73784061184308, 13.235432554595402, 32.47571605485224, 19.45938494),
    8000: (12.408134651562204, 19.338643373823245, 34.861029388679135, 20.09458153),
}


@pytest.mark.parametrize("rate", PUBLISHED)
def test_values_are_those_of_the_published_programs(rate):
    reference, estimate, mixture = music(rate, 20000 if rate == 8000 else 60000)
    log, bleedless, fullness, mel = PUBLISHED[rate]
    score = log_wmse(reference, estimate, mixture=mixture, sample_rate=rate)
    # Theirs has a filter of 4000 taps, and at 8 kHz one that was resampled.
    assert score == pytest.approx(log, abs=0.1 if rate == 8000 else 1e-3)
    pair = bleeding(reference, estimate, sample_rate=rate)
    assert pair == pytest.approx((bleedless, fullness), rel=1e-12)
    score = multi_mel_snr(reference, estimate, sample_rate=rate)
    assert score == pytest.approx(mel, abs=1e-5)  # their bands are float32


def test_weights_are_those_of_the_filters_of_which_they_are_made():
    frequency = np.geomspace(20, 20000, 200)
    high = scipy.signal.butter(2, 120, "high", fs=44100)
    low = scipy.signal.butter(1, 10000, fs=44100)
    response = np.ones(200, complex)
    for taps, power in ((high, 1), (low, 2), (shelf(), 1), (peak(), 1)):
        response *= scipy.signal.freqz(*taps, frequency, fs=44100)[1] ** power
    np.testing.assert_allclose(hearing(frequency), np.abs(response) ** 2, rtol=1e-9)
    assert hearing(np.array([0.0, 22050.0, 24000.0])).tolist() == [0, 0, 0]


def angles(frequency, q):
    angle = 2 * np.pi * frequency / 44100
    return np.cos(angle), np.sin(angle) / (2 * q)


def shelf():
    """High shelf of the audio equalizer cookbook (R. Bristow-Johnson)."""
    (c, alpha), a = angles(1500, 0.5**0.5), 10 ** (5 / 40)
    r, p, m = 2 * a**0.5 * alpha, a + 1, a - 1
    b = a * np.array([p + m * c + r, -2 * (m + p * c), p + m * c - r])
    return b, [p - m * c + r, 2 * (m - p * c), p - m * c - r]


def peak():
    (c, alpha), a = angles(500, 1.5 * 0.5**0.5), 10 ** (2.5 / 40)
    b, d = alpha * a, alpha / a
    return [1 + b, -2 * c, 1 - b], [1 + d, -2 * c, 1 - d]


def test_closed_forms():
    wave = np.random.default_rng(0).normal(size=(9000, 2))
    options = {"mixture": 2 * wave, "sample_rate": 44100}
    # An error at a quarter of the mixture's level: -12.04 dB, whatever the weights.
    score = log_wmse(wave, 0.5 * wave, **options)
    assert score == pytest.approx(-4 * np.log(1 / 16 + 1e-8), abs=1e-9)
    assert log_wmse(wave, wave, **options) == pytest.approx(-4 * np.log(1e-8))
    silence = np.zeros_like(wave)
    assert log_wmse(silence, silence, **options) == pytest.approx(73.68, abs=0.01)
    softer = bleeding(wave, 0.5 * wave, sample_rate=44100)
    assert softer.bleedless == 100
    assert softer.fullness == pytest.approx(100 / (1 + 20 * np.log10(2)))
    assert multi_mel_snr(wave, silence, sample_rate=8000) == pytest.approx(0)
    with pytest.raises(ValueError, match="must be the same"):
        bleeding(wave, wave[:-1], sample_rate=8000)


def test_mel_bands_have_their_peaks_or_areas():
    bank = mel_bank(44100, 4096, 64, slaney=True)
    area = bank.sum(0) * 44100 / 4096
    np.testing.assert_allclose(area[8:], 1, rtol=0.05)  # samples of triangles
    centers = 700 * (10 ** (np.linspace(0, np.log10(1 + 22050 / 700), 66)[1:-1]) - 1)
    peaks = mel_bank(44100, 1 << 16, 64).argmax(0) * 44100 / (1 << 16)
    np.testing.assert_allclose(peaks, centers, atol=0.5)


@pytest.fixture
def _own():
    yield
    METRICS.pop("worst")


@pytest.mark.usefixtures("_own")
def test_a_metric_of_ones_own_is_measured_in_windows_where_it_sounds():
    @METRICS.register("worst", label="worst", definition="largest error", windowed=True)
    def worst(reference, estimate, *, sample_rate):
        return np.abs(estimate - reference).max() * sample_rate

    references = np.ones((2, 10, 1))
    references[1, :4] = 0
    estimates = references * [[[0.5]], [[0.75]]]
    facts = {"window": 4, "sample_rate": 100}
    values = measure(references, estimates, ["worst"], facts)[0]["worst"]
    np.testing.assert_array_equal(values, [[50, 50], [np.nan, 25]])
    with pytest.raises(ValueError, match="registered twice"):
        METRICS.register("worst", label="", definition="")(worst)


def test_metrics_of_one_function_share_its_work_and_silence_has_no_score():
    rng = np.random.default_rng(0)
    references = rng.normal(size=(3, 4000, 2))
    references[2] = 0
    estimates = references + 0.1 * rng.normal(size=references.shape)
    facts = {"window": 2000, "silence": "drop", "filters": 8, "sample_rate": 8000}
    facts |= {"mixture": references.sum(0), "zero_mean": False, "channels": "flatten"}
    values, notes = measure(references, estimates, METRICS, facts)
    assert notes == []
    assert values.keys() == METRICS.keys()
    for name, value in values.items():
        assert value.shape == ((3, 2) if METRICS[name].windowed else (3,))
        scored = METRICS[name].silence
        assert np.isfinite(value[2]).all() == scored
    assert values["si_sdr"][0] == si_sdr(references[0], estimates[0])
    assert values["usdr"][1] == usdr(references[1], estimates[1])
    assert values["leakage_dbfs"][2] == pytest.approx(-20, abs=0.1)
    assert np.isnan(values["leakage_dbfs"][:2]).all()
