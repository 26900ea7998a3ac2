"""Another rate, at once and block by block: the same samples, the same end."""

import numpy as np
import pytest

from data_pipelines.audio.resample import resample, resample_blocks, scale_frames


def wave(frames, channels=2):
    rng = np.random.default_rng(frames)
    return rng.uniform(-1, 1, (frames, channels)).astype(np.float32)


def cut(audio, size):
    return (audio[at : at + size] for at in range(0, len(audio), size))


@pytest.mark.parametrize("frames", [1, 2, 3, 441, 4409, 20011])
@pytest.mark.parametrize("rates", [(44100, 8000), (8000, 44100), (44100, 48000)])
def test_blocks_are_what_the_whole_is(frames, rates):
    audio = wave(frames)
    once = resample(audio, *rates)
    assert len(once) == max(scale_frames(frames, *rates), 1)
    for size in (1000, frames):
        blocks = np.concatenate(list(resample_blocks(cut(audio, size), *rates)))
        assert blocks.shape == once.shape
        # The same filter; sums may be taken in another order.
        np.testing.assert_allclose(blocks, once, atol=1e-6)


@pytest.mark.parametrize("rates", [(8000, 8000), (44100, 8000)])
@pytest.mark.parametrize("frames", [1, 150, 9000])
def test_a_length_is_kept_by_cutting_or_by_silence(rates, frames):
    audio = wave(5000, 3)
    plain = np.concatenate(list(resample_blocks(cut(audio, 700), *rates)))
    blocks = list(resample_blocks(cut(audio, 700), *rates, frames=frames))
    assert all(len(block) for block in blocks)
    result = np.concatenate(blocks)
    assert result.shape == (frames, 3)
    both = min(frames, len(plain))
    np.testing.assert_array_equal(result[:both], plain[:both])
    assert not result[both:].any()


def test_other_axes_are_kept_and_nothing_stays_nothing():
    audio = wave(900, 6).reshape(900, 3, 2)
    blocks = np.concatenate(list(resample_blocks([audio], 44100, 22050)))
    assert blocks.shape == (450, 3, 2)
    flat = resample(audio.reshape(900, 6), 44100, 22050)
    np.testing.assert_allclose(blocks.reshape(450, 6), flat, atol=1e-6)
    assert list(resample_blocks([], 44100, 22050)) == []
