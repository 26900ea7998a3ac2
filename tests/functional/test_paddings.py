"""Paddings of public Conv-TasNets against their own arithmetic, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.framing import (
    analyze,
    frame,
    frames_for,
    pad_to_frames,
    synthesize,
)
from tests.support.annotations import unchecked

SIZES = [(16, 8, 1240), (16, 8, 1241), (5, 2, 77), (5, 2, 78), (20, 7, 300)]
SIZES += [(4, 4, 30), (16, 8, 9)]


def source_ends(padding, length, stride, time):
    """Zeros before and after the signal, as the sources count them."""
    if padding == "naplab":
        rest = length - (stride + time % length) % length
        return stride, rest + stride
    if padding == "torchaudio":
        odd = length % 2
        strides = (time - odd) // stride
        remaining = time - (odd + strides * stride)
        return stride, (stride - remaining if remaining else 0) + stride
    return 0, max(length - time, 0)


@pytest.mark.parametrize("padding", ["none", "naplab", "torchaudio"])
@pytest.mark.parametrize(("length", "stride", "time"), SIZES)
def test_frames_and_decoded_signal(padding, length, stride, time):
    wave = np.random.default_rng(0).normal(size=time).astype(np.float32)
    left, right = source_ends(padding, length, stride, time)
    padded = np.pad(wave, (left, right))
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)[::stride]

    @jax.jit
    def framed(wave):
        seen = pad_to_frames(wave, length, stride, padding=padding)
        return frame(seen, length, stride)

    np.testing.assert_array_equal(framed(wave), windows)
    count = frames_for(time, stride, length=length, padding=padding)
    assert len(windows) == count
    decoded = np.zeros((count - 1) * stride + length, np.float32)
    for index, window in enumerate(windows):
        decoded[index * stride : index * stride + length] += window
    # Trimmed in front; what the frames do not reach is zero.
    expected = np.pad(decoded[left:], (0, time))[:time]

    @jax.jit
    def decode(windows):
        eye = np.eye(length, dtype=np.float32)
        return synthesize(windows, eye, stride, time=time, padding=padding)

    np.testing.assert_allclose(decode(windows), expected, atol=1e-6)


@pytest.mark.parametrize("padding", ["center", "none", "naplab", "torchaudio"])
def test_analysis_and_synthesis_are_adjoint(padding):
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(16, 7)).astype(np.float32)
    x = rng.normal(size=(2, 333)).astype(np.float32)
    latent = jax.jit(lambda x: analyze(x, kernel, 8, padding=padding))(x)
    y = rng.normal(size=latent.shape).astype(np.float32)
    there = jax.jit(lambda y: synthesize(y, kernel.T, 8, time=333, padding=padding))
    scale = np.linalg.norm(latent) * np.linalg.norm(y)
    np.testing.assert_allclose(
        np.sum(latent * y), np.sum(x * there(y)), atol=1e-5 * scale
    )


@unchecked()
def test_an_unknown_padding_is_an_error():
    with pytest.raises(ValueError, match="'same' is none of center, none, naplab"):
        analyze(jnp.ones(20), jnp.ones((4, 1)), 2, padding="same")
