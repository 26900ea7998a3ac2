"""Concerts keep their promises: exact sums, and levels as the settings say."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from sepjax.functional.augment import prepare_excerpts
from sepjax.functional.live import (
    DELAYS,
    LiveSettings,
    bleed,
    draw_count,
    simulate_live,
)
from sepjax.functional.live.audience import crowd
from sepjax.functional.live.hall import hall_impulse_response, quick_size, reverberate

RATE, SOURCES = 8000, 3
NONE = LiveSettings()._replace(
    bleed_low=-np.inf, bleed_high=-np.inf, reverb_low=0.0, reverb_high=0.0
)
NONE = NONE._replace(crowd_low=np.inf, crowd_high=np.inf)
simulated = jax.jit(simulate_live, static_argnames="settings")


def simulate(*inputs, **own):
    """Arrays of NumPy, with which a test computes at once."""
    return jax.device_get(simulated(*inputs, **own))


def music(items=2, time=RATE, seed=0):
    rng = np.random.default_rng(seed)
    sources = 0.1 * rng.normal(size=(items, SOURCES, time))
    draws = rng.uniform(size=(items, draw_count(SOURCES)))
    return sources.astype(np.float32), draws.astype(np.float32)


def level(wave):
    return 10 * np.log10(np.mean(np.square(wave, dtype=np.float64)))


def test_the_mixture_is_the_sum_of_its_microphones():
    sources, draws = music()
    live = simulate(sources, draws, LiveSettings())
    total = np.asarray(live.sources, np.float64).sum(1)
    # One rounding of float32 for each microphone added.
    np.testing.assert_allclose(live.mixture, total, atol=1e-6)
    np.testing.assert_array_equal(live.clean, sources)
    assert np.abs(live.sources - live.clean).max() > 0.01


def test_without_bleed_hall_and_audience_it_is_the_clean_music():
    sources, draws = music()
    live = simulate(sources, draws, NONE)
    np.testing.assert_array_equal(live.sources, sources)


def test_a_concert_is_a_function_of_its_draws_alone():
    sources, draws = music()
    whole = simulate(sources, draws, LiveSettings())
    again = simulate(sources[::-1], draws[::-1], LiveSettings())
    np.testing.assert_allclose(whole.sources, again.sources[::-1], atol=1e-6)
    other = simulate(sources[:1], draws[1:], LiveSettings())
    assert np.abs(other.sources - whole.sources[:1]).max() > 0.01


def test_bleed_has_the_gains_and_delays_that_were_drawn():
    sources, draws = music(items=4)
    alone = sources.copy()
    alone[:, 1:] = 0.0  # only the first source plays
    one = NONE._replace(bleed_low=-20.0, bleed_high=-20.0)
    live = simulate(alone, draws, one)
    first, last = (round(seconds * RATE) for seconds in DELAYS)
    for wave, heard in zip(np.asarray(alone[:, 0]), np.asarray(live.sources[:, 2])):
        # The lag at which the other microphone resembles the source most, and its gain.
        delay = np.correlate(heard, wave, "full").argmax() - (len(wave) - 1)
        assert first <= delay <= last
        assert np.isclose(np.abs(heard).max(), 0.1 * np.abs(wave).max(), rtol=1e-5)
        np.testing.assert_allclose(heard[delay:], 0.1 * wave[:-delay], atol=1e-7)
        assert (heard[:delay] == 0).all()
    wide = NONE._replace(bleed_low=-30.0, bleed_high=-12.0)
    found = simulate(alone, draws, wide).sources[:, 1:]
    gains = [
        level(heard) - level(alone[i, 0]) for i, m in enumerate(found) for heard in m
    ]
    assert -30.2 < min(gains) < max(gains) < -11.8  # 0.2: a delayed wave loses its end
    assert np.ptp(gains) > 3


def test_bleed_ignores_its_diagonals():
    sources, _ = music()
    amounts = np.full((2, SOURCES, SOURCES), -np.inf, np.float32)
    delays = np.full((2, SOURCES, SOURCES), 7, np.int32)
    found = jax.jit(partial(bleed, longest=7))(sources, amounts, delays)
    np.testing.assert_array_equal(found, sources)


def schroeder(response, rate, low=-5.0, high=-25.0):
    """Seconds of a fall by 60 dB, from a line through the energy that is left (T20)."""
    left = np.cumsum(np.square(response, dtype=np.float64)[::-1])[::-1]
    decibels = 10 * np.log10(left / left[0])
    use = (decibels < low) & (decibels > high)
    slope = np.polyfit(np.arange(len(left))[use] / rate, decibels[use], 1)[0]
    return -60 / slope


@pytest.mark.parametrize(("seconds", "rate"), [(0.5, 8000), (1.6, 16000)])
def test_the_hall_reverberates_as_long_as_it_should(seconds, rate):
    respond = partial(
        hall_impulse_response, sample_rate=rate, taps=round(seconds * rate)
    )
    found = {500: [], 1000: [], 3000: []}
    for key in jax.random.split(jax.random.key(1), 4):
        tail = np.asarray(jax.jit(respond)(key, seconds, 6.0))[1:]
        for center in found:
            band = butter(
                3, [center / 1.3, center * 1.3], "band", fs=rate, output="sos"
            )
            found[center].append(schroeder(sosfiltfilt(band, tail), rate))
    times = {center: np.mean(each) / seconds for center, each in found.items()}
    # The energy of narrow noise fluctuates: single halls differ by some ten percent.
    assert np.isclose(times[1000], 1.0, atol=0.12)
    assert times[3000] < times[1000] < times[500] + 0.1
    assert np.isclose(times[3000], 0.8, atol=0.12)


def test_direct_sound_comes_first_with_gain_one_and_the_ratio_that_was_asked():
    respond = partial(hall_impulse_response, sample_rate=RATE, taps=6400)
    response = np.asarray(jax.jit(respond)(jax.random.key(0), 0.8, 12.0))
    assert response[0] == 1
    assert (response[1:80] == 0).all()  # ten milliseconds until the first reflection
    assert np.isclose(level(response[1:]) + 10 * np.log10(6399), -12.0, atol=1e-3)


@pytest.mark.parametrize("taps", [1, 50, 3000])
def test_reverberation_is_causal_convolution(taps):
    rng = np.random.default_rng(0)
    wave, response = rng.normal(size=(2, 2000)), rng.normal(size=(2, taps))
    found = jax.jit(reverberate)(np.float32(wave), np.float32(response))
    expected = [np.convolve(*pair)[:2000] for pair in zip(wave, response)]
    np.testing.assert_allclose(found, expected, atol=1e-3)  # of values up to 200


def test_transform_sizes():
    for least in (1, 2, 7, 1023, 1025, 77777, 13_309_380):
        size = quick_size(least)
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        assert least <= size <= 1.1 * least + 2
        assert rest == 1
        assert size % 2 == 0


@pytest.mark.parametrize("below", [10.0, 30.0])
def test_the_audience_is_as_loud_as_asked(below):
    sources, draws = music()
    live = simulate(sources, draws, NONE._replace(crowd_low=below, crowd_high=below))
    noise = np.asarray(live.sources - sources)
    for music_, audience in zip(np.asarray(sources.sum(1)), noise.sum(1)):
        assert np.isclose(level(music_) - level(audience), below, atol=0.01)
    # One audience, at all microphones with different shares.
    shares = np.sqrt((noise**2).mean(-1))
    assert (shares.max(1) < 3.01 * shares.min(1)).all()
    ratio = noise[:, 1] / shares[:, 1:2] - noise[:, 0] / shares[:, :1]
    assert np.abs(ratio).max() < 1e-3


def test_an_audience_sounds_like_people_and_not_like_hiss():
    draw = jax.jit(lambda key: crowd(key, 8 * RATE, sample_rate=RATE))
    wave = np.asarray(draw(jax.random.key(3)))
    power = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)

    def octave(low):
        return power[(hertz >= low) & (hertz < 2 * low)].mean()

    # Power falls as 1 / f, to 7 dB here, but for claps that add to it around 2 kHz.
    assert octave(300) > 2 * octave(1500)
    assert octave(300) > 20 * power[hertz < 90].mean()
    # It swells: seconds differ by more than the percents of stationary noise.
    seconds = np.square(wave).reshape(-1, RATE).mean(1)
    assert seconds.max() > 1.5 * seconds.min()


def test_a_silent_source_is_no_silent_microphone():
    sources, draws = music()
    sources[:, 0] = 0.0
    for settings in (
        NONE._replace(bleed_low=-30.0, bleed_high=-12.0),
        NONE._replace(crowd_low=20.0, crowd_high=30.0),
    ):
        live = simulate(sources, draws, settings)
        assert (np.abs(live.sources[:, 0]).max(-1) > 1e-3).all()
        assert (live.clean[:, 0] == 0).all()
    silence = simulate(0 * sources, draws, LiveSettings())
    assert np.isfinite(silence.mixture).all()
    assert np.abs(silence.mixture).max() < 0.01


def test_halls_and_audiences_of_ones_own():
    sources, draws = music()
    tails = np.zeros((2, SOURCES, 5), np.float32)
    tails[..., 3] = -7.0
    hall = NONE._replace(reverb_low=1.0, reverb_high=1.0, direct_low=20.0)
    hall = hall._replace(direct_high=20.0)
    live = simulate(sources, draws, hall, tails=tails)
    expected = np.asarray(sources).copy()
    expected[..., 3:] -= 0.1 * np.asarray(sources)[..., :-3]
    np.testing.assert_allclose(live.sources, expected, atol=1e-6)

    people = jnp.asarray(np.random.default_rng(5).normal(size=(2, RATE)), jnp.float32)
    loud = NONE._replace(crowd_low=6.0, crowd_high=6.0)
    live = simulate(sources, draws, loud, recordings=people)
    heard = np.asarray(live.mixture - sources.sum(1))
    for a, b in zip(heard, np.asarray(people)):
        assert np.corrcoef(a, b)[0, 1] > 0.999


def batch_of(items=4, time=800, channels=2):
    rng = np.random.default_rng(4)
    chunks = rng.integers(-9000, 9000, (items, SOURCES, time, channels), np.int16)
    draws = rng.uniform(size=(items, draw_count(SOURCES)))
    return {
        "chunks": jnp.asarray(chunks),
        "gains": jnp.ones((items, SOURCES, channels)),
        "channel": jnp.zeros((items, SOURCES), jnp.int32),
        "draws": jnp.asarray(draws, jnp.float32),
    }


prepare = jax.jit(prepare_excerpts, static_argnames=("channels", "live"))


def prepared(batch, channels, live):
    return jax.device_get(prepare(batch, channels=channels, live=live))


@pytest.mark.parametrize("channels", [1, 2])
def test_excerpts_are_made_live_before_they_are_normalized(channels):
    batch, dry = batch_of(), prepared(batch_of(), channels, None)
    stage = NONE._replace(bleed_low=-30.0, bleed_high=-12.0)
    recorded = prepared(batch, channels, stage)
    clean = prepared(batch, channels, stage._replace(targets="clean"))
    assert recorded.sources.shape == dry.sources.shape
    np.testing.assert_array_equal(recorded.mixture, clean.mixture)
    np.testing.assert_allclose(recorded.mixture.reshape(4, -1).std(1), 1, atol=1e-5)
    np.testing.assert_allclose(recorded.sources.sum(1), recorded.mixture, atol=1e-5)
    # Clean references are the dry sources of the very same shuffled mixtures.
    mono = dry.sources if channels == 1 else dry.sources.mean(2)
    heard = clean.sources if channels == 1 else clean.sources[:, :, 0]
    gain = (heard * mono).sum((1, 2)) / (mono**2).sum((1, 2))
    np.testing.assert_allclose(heard, gain[:, None, None] * mono, atol=1e-5)
    if channels == 2:
        np.testing.assert_array_equal(clean.sources[:, :, 0], clean.sources[:, :, 1])


def test_wrong_draws_are_refused():
    sources, draws = music()
    with pytest.raises(ValueError, match="3 sources need 28"):
        simulate_live(sources, draws[:, 1:], LiveSettings())
