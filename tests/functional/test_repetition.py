"""Periods of loops that are known, and medians over repetitions by plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional import repetition

RNG = np.random.default_rng(3)


def loop(period, frames, bins=12, rest=0):
    """A spectrogram that repeats, then ``rest`` frames of silence."""
    one = RNG.random((period, bins)).astype(np.float32) ** 4
    music = np.tile(one, (frames // period + 1, 1))[:frames]
    return np.pad(music, ((0, rest), (0, 0)))


find = jax.jit(
    lambda v: repetition.find_period(
        repetition.beat_spectrum(v), 5, 40, repetition.sounding_frames(v)
    )
)


@pytest.mark.parametrize("period", [7, 13, 29])
@pytest.mark.parametrize("rest", [0, 60])
def test_period_of_a_loop(period, rest):
    """Padding at the end changes nothing; noise of -12 dB does not either."""
    frames = 120 - rest
    v = loop(period, frames, rest=rest)
    noise = 0.25 * v.mean() * RNG.random(v.shape) * (v > 0)
    found = int(find(jnp.asarray(v + noise, jnp.float32)))
    if period * 3 <= frames:
        assert found % period == 0
        assert found < 2 * period or period == 7
    else:
        assert found <= frames // 3


def test_beat_spectrum_is_the_mean_autocorrelation():
    v = RNG.random((20, 3)).astype(np.float32)
    p = v**2
    lags = [np.sum(p[: 20 - l] * p[l:]) / (20 - l) for l in range(20)]
    found = jax.jit(repetition.beat_spectrum)(jnp.asarray(v))
    np.testing.assert_allclose(found, np.array(lags) / lags[0], rtol=1e-4)


def upper_median(values):
    return np.sort(values, axis=0)[len(values) // 2]


def test_repeating_segment_is_a_median_over_periods():
    v = RNG.random((50, 4)).astype(np.float32)
    v[45:] = 0  # filled up
    run = jax.jit(repetition.repeating_segment, static_argnums=2)
    found = np.asarray(run(jnp.asarray(v), jnp.array(9), 5))
    for t in range(50):
        expected = upper_median(v[:45][t % 9 :: 9])
        np.testing.assert_array_equal(found[t], expected)


def test_periodic_median_has_a_period_for_each_frame():
    v, periods = RNG.random((40, 4)).astype(np.float32), RNG.integers(3, 9, 40)
    run = jax.jit(repetition.periodic_median, static_argnums=2)
    found = np.asarray(run(jnp.asarray(v), jnp.asarray(periods), 2))
    for t, p in enumerate(periods):
        places = [t + k * p for k in range(-2, 3) if 0 <= t + k * p < 40]
        np.testing.assert_array_equal(found[t], upper_median(v[places]))


def test_similar_frames_are_far_apart():
    """Three kinds of frames alternate; each is the median of its own kind."""
    kinds = np.eye(3, 5, dtype=np.float32)
    order = np.arange(90) % 3
    v = kinds[order] * RNG.uniform(0.5, 1.5, (90, 1)).astype(np.float32)
    find = jax.jit(repetition.similar_median, static_argnums=(1, 2, 3, 4))
    found = np.asarray(find(jnp.asarray(v), 9, 2, 0.5, 16))
    for t in range(90):
        assert 0.5 <= found[t, order[t]] <= 1.5
        assert not np.delete(found[t], order[t]).any()


def test_local_periods_follow_the_music():
    v = np.concatenate([loop(8, 96), loop(13, 96)])
    found = repetition.local_periods(jnp.asarray(v), 5, 14, 64)
    assert set(np.asarray(found[:60]).tolist()) == {8}
    assert set(np.asarray(found[-60:]).tolist()) == {13}
