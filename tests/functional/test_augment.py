"""Augmentation keeps its promises: exact sums, the stated shuffle, silence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.augment import (
    Excerpt,
    left_and_right,
    normalize,
    prepare_excerpts,
    select_channel,
)


def batch(items=4, sources=3, time=50, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    chunks = rng.integers(-9000, 9000, (items, sources, time, channels), np.int16)
    return {
        "chunks": jnp.asarray(chunks),
        "gains": jnp.asarray(rng.uniform(0.75, 1.25, (items, sources, 2)), jnp.float32),
        "channel": jnp.asarray(rng.integers(0, 2, (items, sources)), jnp.int32),
    }


@pytest.mark.parametrize("channels", [1, 2])
def test_the_mixture_is_the_sum_of_the_sources(channels):
    excerpt = prepare_excerpts(batch(channels=channels))
    np.testing.assert_allclose(excerpt.sources.sum(1), excerpt.mixture, atol=1e-5)
    np.testing.assert_allclose(excerpt.mixture.std(-1), 1.0, atol=1e-5)


def test_channels():
    waves = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 9, 2)), jnp.float32)
    left = select_channel(waves, jnp.zeros((2, 2), jnp.int32))
    mean = select_channel(waves, jnp.full((2, 2), -1, jnp.int32))
    np.testing.assert_array_equal(left, waves[..., 0])
    np.testing.assert_allclose(mean, waves.mean(-1), atol=1e-6)


def test_silence_stays_silent():
    silent = batch() | {"chunks": jnp.zeros((4, 3, 50, 2), jnp.int16)}
    excerpt = prepare_excerpts(silent)
    assert (excerpt.mixture == 0).all()
    assert (excerpt.sources == 0).all()


def test_one_factor_for_mixture_and_sources():
    mixture = jnp.array([[2.0, -2.0]])
    sources = jnp.array([[[3.0, -1.0], [-1.0, -1.0]]])
    found = normalize(Excerpt(mixture, sources))
    np.testing.assert_allclose(found.sources, sources / 2)


def test_same_result_jitted():
    one = prepare_excerpts(batch())
    two = jax.jit(lambda b: prepare_excerpts(b))(batch())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one, two)


@pytest.mark.parametrize("channels", [1, 2])
def test_stereo_has_both_channels_at_one_level(channels):
    options = dict(channels=2)
    excerpt = prepare_excerpts(batch(channels=channels), **options)
    assert excerpt.sources.shape == (4, 3, 2, 50)
    np.testing.assert_allclose(excerpt.sources.sum(1), excerpt.mixture, atol=1e-5)
    np.testing.assert_allclose(excerpt.mixture.std((1, 2)), 1.0, atol=1e-5)
    # One factor: a channel on its own keeps its share of the level.
    assert np.abs(np.asarray(excerpt.mixture.std(2)) - 1).max() > 1e-3


def test_channels_of_a_source_are_exchanged_with_its_pan():
    rows = batch()
    found = left_and_right(
        jnp.asarray(rows["chunks"], jnp.float32), jnp.asarray([[0, 1, -1]] * 4)
    )
    chunks = np.swapaxes(np.asarray(rows["chunks"]), 2, 3)
    np.testing.assert_array_equal(found[:, [0, 2]], chunks[:, [0, 2]])
    np.testing.assert_array_equal(found[:, 1], chunks[:, 1, ::-1])

    panned = batch(channels=1) | {"channel": jnp.ones((4, 3), jnp.int32)}
    options = dict(channels=2, normalized=False)
    sources = prepare_excerpts(panned, **options).sources
    gains = panned["gains"][..., ::-1, None]
    mono = panned["chunks"][..., 0] / 32768
    np.testing.assert_allclose(sources, gains * mono[:, :, None], rtol=1e-6)


def test_mono_without_a_pan_is_the_same_on_both_sides():
    rows = batch(channels=1)
    rows["gains"] = rows["gains"][..., :1]
    left, right = jnp.moveaxis(prepare_excerpts(rows, channels=2).sources, 2, 0)
    np.testing.assert_array_equal(left, right)
    assert left.any()


@pytest.mark.parametrize("channels", [1, 2])
def test_excerpts_may_stay_as_loud_as_recorded(channels):
    rows, options = batch(), dict(channels=channels)
    loud = prepare_excerpts(rows, **options, normalized=False)
    assert np.abs(np.asarray(loud.mixture.std(-1)) - 1).min() > 0.1
    for one, other in zip(normalize(loud), prepare_excerpts(rows, **options)):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    quiet = rows | {"gains": rows["gains"] / 2}
    half = prepare_excerpts(quiet, **options, normalized=False)
    np.testing.assert_allclose(half.sources, loud.sources / 2, rtol=1e-6)


def test_stereo_of_three_channels_is_refused():
    waves = jnp.ones((1, 2, 9, 3))
    with pytest.raises(ValueError, match="3 channels, stereo is 2: mix them down"):
        left_and_right(waves, jnp.zeros((1, 2), int))
