"""Framing is linear algebra: adjoints, lengths, and exact inverses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from sepjax.functional.framing import (
    analyze,
    frame,
    frames_for,
    overlap_add,
    synthesize,
)
from tests.support.signals import noise_array as noise


def jit(function, *static, **named):
    """One compilation for each size, not one for each operation in it."""
    return jax.jit(lambda x: function(x, *static, **named))


def dot(x, y):
    """Sum of products, in float64."""
    return np.vdot(np.asarray(x, np.float64), np.asarray(y, np.float64))


sizes = st.tuples(st.integers(1, 24), st.integers(1, 24), st.integers(1, 90))


def of_sizes(test):
    """Few sizes, as each is compiled: the least, gaps, an overlap, and some drawn."""
    test = settings(max_examples=5, deadline=None)(given(sizes)(test))
    for size in ((1, 1, 1), (5, 24, 90), (24, 7, 89)):
        test = example(size)(test)
    return test


@of_sizes
def test_frame_cuts_where_it_says(size):
    length, stride, extra = size
    wave = np.arange(length + extra, dtype=np.float32)
    frames = np.asarray(jit(frame, length, stride)(jnp.asarray(wave)))
    assert len(frames) == extra // stride + 1
    for k, row in enumerate(frames):
        np.testing.assert_array_equal(row, wave[k * stride : k * stride + length])


@of_sizes
def test_overlap_add_is_the_adjoint_of_frame(size):
    length, stride, extra = size
    time = (extra // stride) * stride + length
    x = noise(2, time, seed=1)
    y = noise(2, extra // stride + 1, length, seed=2)
    left = dot(jit(frame, length, stride)(x), y)
    right = dot(x, jit(overlap_add, stride)(y))
    # Sums of at most 2 * 114 * 24 products of unit normals.
    np.testing.assert_allclose(left, right, atol=2e-3)


@of_sizes
def test_synthesize_is_the_adjoint_of_analyze(size):
    length, stride, time = size
    length = max(length, stride)
    kernel, x = noise(length, 7, seed=3), noise(time, seed=4)
    latent = jit(analyze, kernel, stride)(x)
    assert latent.shape == (frames_for(time, stride), 7)
    y = noise(*latent.shape, seed=5)
    back = jit(synthesize, np.asarray(kernel).T, stride, time=time)(y)
    assert back.shape == x.shape
    scale = np.linalg.norm(latent) * np.linalg.norm(y)
    np.testing.assert_allclose(dot(latent, y), dot(x, back), atol=1e-5 * scale)


def test_shift_by_a_stride_shifts_frames_by_one():
    wave, kernel = noise(400, seed=6), noise(20, 5, seed=7)
    latent = analyze(wave, kernel, 10)
    later = analyze(jnp.roll(wave, 10), kernel, 10)
    np.testing.assert_allclose(later[3:-3], latent[2:-4], atol=1e-5)


@pytest.mark.parametrize(("length", "stride"), [(20, 20), (20, 10), (25, 10), (8, 3)])
def test_analyze_equals_a_convolution(length, stride):
    wave, kernel = noise(2, 333, seed=8), noise(length, 6, seed=9)
    left = (length - stride) // 2
    frames = frames_for(333, stride)
    right = (frames - 1) * stride + length - left - 333
    expected = jax.lax.conv_general_dilated(
        wave[:, None],
        kernel.T[:, None],
        (stride,),
        [(left, right)],
        dimension_numbers=("NCH", "OIH", "NHC"),
    )
    np.testing.assert_allclose(analyze(wave, kernel, stride), expected, atol=2e-5)


def test_a_signal_shorter_than_a_frame_is_an_error():
    with pytest.raises(ValueError, match="3 samples has no frame of 4"):
        frame(jnp.zeros(3), 4, 2)


def test_works_under_vmap_and_grad():
    kernel = noise(12, 4, seed=10)
    waves = noise(3, 100, seed=11)
    mapped = jax.vmap(lambda wave: analyze(wave, kernel, 5))(waves)
    np.testing.assert_array_equal(mapped, analyze(waves, kernel, 5))
    again = jax.jit(lambda k: synthesize(analyze(waves, k, 5), k.T, 5, time=100))
    check_grads(again, (kernel,), 1)
