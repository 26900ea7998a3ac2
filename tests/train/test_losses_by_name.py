"""Every loss by name: its value by another computation, and split as the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from sepjax.config import LossConfig
from sepjax.functional.augment import Excerpt
from sepjax.functional.hearing import hearing
from sepjax.losses import LOSSES, whole_batch
from sepjax.models import Separation, SeparationModel
from sepjax.train.mesh import AXIS
from sepjax.train.objective import loss_terms, make_objective, reduce_share
from tests.support import signals

RATE = 8000
WAVES = ("si_sdr", "sdr", "l1", "mse", "l1_snr", "log_wmse", "multi_resolution_stft")


noise = functools.partial(signals.noise, dtype=np.float64)


@functools.cache
def excerpt(silent=True):
    """Eight items of two sources; the second is silent in some."""
    sources = 0.1 * noise(8, 2, 1500)
    if silent:
        sources[2:7, 1] = 0
    return sources, sources + 0.03 * noise(8, 2, 1500, seed=1)


def values(name, sources, estimates, mixture):
    known = dict(sources=sources, estimates=estimates, mixture=mixture)
    return np.asarray(value_of(name)(known))


@functools.cache
def value_of(name):
    """The jitted values of a loss, of all that losses of waves may need."""
    loss = LOSSES[name]

    def value(known):
        known = known | dict(sample_rate=RATE)
        return loss.function(**{need: known[need] for need in loss.needs})

    return jax.jit(value)


def by_another_way(name, s, e, x):
    """The value of one source of one item, in float64 and NumPy or SciPy."""
    error = e - s
    if name == "si_sdr":
        target = (e @ s) / (s @ s) * s
        return -10 * np.log10((target @ target) / ((e - target) @ (e - target)))
    if name == "sdr":
        return -10 * np.log10((s @ s) / (error @ error))
    if name == "l1":
        return np.abs(error).mean()
    if name == "mse":
        return error.var() + error.mean() ** 2
    if name == "l1_snr":
        sizes = np.abs(error).mean() + 1e-3, np.abs(s).mean() + 1e-3
        return 10 * np.log10(sizes[0] / sizes[1])
    if name == "log_wmse":
        return log_wmse(error, x)
    total = 0.0
    for n in (2048, 1024, 512, 256):  # 4096 is longer than the signal can reflect
        padded = np.pad(error, n // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, n)[::147]
        window = scipy.signal.get_window("hann", n)
        total += np.abs(np.fft.rfft(frames * window)).mean()
    return total


def log_wmse(error, x):
    """By sampled impulse response and convolution in time."""
    hertz = np.fft.rfftfreq(2**15, 1 / RATE)
    taps = np.fft.fftshift(np.fft.irfft(np.sqrt(hearing(hertz))))
    loud = scipy.signal.fftconvolve(x, taps, "same")
    quiet = scipy.signal.fftconvolve(error, taps, "same") / np.sqrt(np.mean(loud**2))
    quiet[np.abs(quiet) < 10 ** (-68 / 20)] = 0
    return 4 * np.log(np.mean(quiet**2) + 1e-8)


@pytest.mark.parametrize("name", WAVES)
def test_values_are_those_of_another_computation(name):
    sources, estimates = excerpt(silent=False)
    single = [jnp.asarray(x, jnp.float32) for x in (sources, estimates, sources.sum(1))]
    found = values(name, *single)
    assert found.shape == (8, 2)
    expected = [
        [by_another_way(name, s, e, x) for s, e in zip(*pair)]
        for *pair, x in zip(sources, estimates, sources.sum(1))
    ]
    # Convolution of log_wmse ends differently by a sample of its even impulse response.
    tolerance = 2e-2 if name == "log_wmse" else 1e-4
    np.testing.assert_allclose(found, expected, rtol=tolerance)


def test_hearing_is_four_filters_of_scipy():
    hertz = np.array([20.0, 120.0, 500.0, 1500.0, 5000.0, 10_000.0, 20_000.0])
    highpass = scipy.signal.butter(2, 120, "high", fs=44100)
    lowpass = scipy.signal.butter(1, 10_000, fs=44100)
    butter = np.abs(scipy.signal.freqz(*highpass, hertz, fs=44100)[1])
    butter *= np.abs(scipy.signal.freqz(*lowpass, hertz, fs=44100)[1]) ** 2
    rest = np.sqrt(hearing(hertz)) / butter
    # A shelf of 5 dB above 1.5 kHz and a peak of 2.5 dB at 500 Hz, by their corners.
    decibels = 20 * np.log10(rest)
    np.testing.assert_allclose(decibels[[0, -1]], [0, 5], atol=0.02)
    assert decibels[3] == pytest.approx(
        2.5 + 0.28, abs=0.1
    )  # half, and the peak's foot
    assert decibels[2] == pytest.approx(2.5, abs=0.1)


@pytest.mark.parametrize("name", WAVES)
def test_silence_and_perfection_have_finite_values_and_slopes(name):
    wave = jnp.asarray(noise(1, 1, 600), jnp.float32)
    silent = jnp.zeros_like(wave)

    @jax.jit
    def slope(sources, estimates):
        def total(estimates):
            known = dict(sources=sources, mixture=sources[:, 0], estimates=estimates)
            return jnp.sum(value_of(name)(known))

        return jax.value_and_grad(total)(estimates)

    for sources, estimates in (
        (silent, silent),
        (silent, wave),
        (wave, silent),
        (wave,) * 2,
    ):
        for array in slope(sources, estimates):
            assert np.isfinite(array).all()


class Amplifier(SeparationModel):
    """Estimates that are given instead of a mixture."""

    sources = ("a", "b")
    sample_rate = RATE

    def __call__(self, mixture):
        return Separation(mixture)


@pytest.mark.parametrize("name", [*WAVES, "l1+0.5*l1_snr", "si_sdr+2*mse"])
def test_shares_add_up_to_the_whole_on_four_devices(name):
    sources, estimates = (jnp.asarray(x, jnp.float32) for x in excerpt())
    config = LossConfig(name)
    objective = make_objective(Amplifier(), config)

    def loss(shares, axis=None):
        sources, estimates = shares
        outputs = {"estimates": estimates}
        excerpt = Excerpt(sources.sum(1), sources)
        whole = whole_batch(sources, axis)
        value, metrics = objective.loss(outputs, excerpt, whole)
        return value, metrics

    def share(shares):
        return jax.lax.psum(loss(shares, AXIS), AXIS)

    whole, metrics = jax.jit(loss)((sources, estimates))
    parts = jax.pmap(share, axis_name=AXIS)(
        jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), (sources, estimates))
    )
    np.testing.assert_allclose(parts[0][0], whole, rtol=1e-5)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one[0], other, rtol=1e-5),
        parts[1],
        metrics,
    )


def test_silent_sources_count_where_the_loss_says_so():
    sources, estimates = (jnp.asarray(x, jnp.float32) for x in excerpt())
    facts = dict(sources=sources, estimates=estimates, mixture=sources.sum(1))
    facts |= dict(whole=whole_batch(sources), weights=LossConfig(), sample_rate=RATE)
    error = np.abs(np.asarray(sources - estimates)).mean(-1)
    total, each = reduce_share(LOSSES["l1"], facts)
    np.testing.assert_allclose(each["l1"], error.mean(0), rtol=1e-5)
    np.testing.assert_allclose(total, error.mean(), rtol=1e-5)
    _, each = reduce_share(LOSSES["sdr"], facts)
    active = np.asarray(values("sdr", sources, estimates, sources.sum(1)))[[0, 1, 7], 1]
    np.testing.assert_allclose(each["sdr"][1], active.mean(), rtol=1e-5)


def test_a_sum_is_weighed_and_told_by_terms():
    sources, estimates = (jnp.asarray(x, jnp.float32) for x in excerpt())
    whole = whole_batch(sources)
    both = make_objective(Amplifier(), LossConfig("l1+0.5*l1_snr"))
    found = Excerpt(sources.sum(1), sources)
    total, metrics = both.loss({"estimates": estimates}, found, whole)
    terms = metrics["terms"]
    np.testing.assert_allclose(total, terms["l1"] + 0.5 * terms["l1_snr"], rtol=1e-6)
    assert metrics["si_sdr"].shape == (2,)


def test_names_that_are_none():
    with pytest.raises(ValueError, match="unknown loss 'L2': did you mean 'l1'"):
        loss_terms(LossConfig("L2"), "si_sdr")
    with pytest.raises(ValueError, match="'x' is no weight"):
        loss_terms(LossConfig("x*l1"), "si_sdr")
    with pytest.raises(ValueError, match="'mse' needs source_spectra, spectra"):
        make_objective(Amplifier(), LossConfig("spectral_mse"))
