"""The pieces of a stream's state, each against the whole at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.framing import analyze, frames_for, overlap_add, synthesize
from sepjax.functional.norms import cumulative_norm_state, cumulative_norm_step
from sepjax.functional.recurrent import init_lstm, lstm_state, lstm_step
from sepjax.functional.streaming import (
    OPEN,
    Framing,
    advance,
    inside,
    overlap_add_step,
    reflect,
    start_clock,
    valid_frames,
)
from sepjax.functional.tcn import init_tcn, init_tcn_state, tcn_step
from sepjax.functional.tcn.depthwise import depthwise_conv, depthwise_conv_step
from tests.support.signals import noise

SHAPES = [Framing(8, 4, 12, 4, 12), Framing(5, 0, 13, 5, 8), Framing(4, 0, 4, 0, 4)]


@pytest.mark.parametrize("framing", SHAPES)
def test_a_block_ends_where_its_last_frame_is_known(framing):
    """Counted sample by sample, for blocks of several lengths."""
    for size in (framing.hop, 3 * framing.hop):
        for number in range(5):
            known = (number + 1) * size - framing.lead  # samples of the signal
            last = (number + 1) * size // framing.hop - framing.wait - 1
            assert last * framing.hop + framing.after == known
            first = last - size // framing.hop + 1
            assert first * framing.hop - framing.before == known - size - framing.past
            # The next frame adds to nothing before what this block settles.
            settled = (last + 1) * framing.hop - framing.start
            assert settled == known - framing.delay
    assert 0 <= framing.lead <= framing.hop
    assert framing.latency == framing.after + framing.start - 1


@pytest.mark.parametrize("framing", SHAPES)
@pytest.mark.parametrize("time", [1, 7, 40, 1003])
def test_clocks_know_samples_and_frames_of_a_signal_of_any_length(framing, time):
    clock, size = start_clock(framing), 2 * framing.hop
    fed, samples, frames = -framing.lead, [], []
    while fed < time + 6 * size:
        clock, now = advance(clock, framing, size, max(min(time - fed, size), 0))
        samples += inside(now, size).tolist()
        count = valid_frames(now, framing, 2, lambda end: -(-end // framing.hop))
        frames += count.tolist()
        fed += size
        assert abs(int(clock.position)) < 3 * framing.hop * (size + framing.hop) + size
    assert sum(samples) == time
    assert samples[framing.lead :][:time] == [True] * time
    wait = framing.wait
    assert frames[:wait] == [False] * wait
    assert sum(frames) == frames_for(time, framing.hop)
    assert all(frames[wait:][: sum(frames)])


def test_a_clock_never_runs_out_of_numbers():
    framing = Framing(1024, 2047, 2048, 2047, 2048)
    period = framing.hop * 4095
    clock = start_clock(framing)._replace(position=jnp.int32(2 * period - 1024))
    clock, _ = advance(clock, framing, 1024, 1024)
    assert (int(clock.position), int(clock.end)) == (period, OPEN)


def test_overlap_add_goes_on_where_it_was():
    frames = noise(2, 12, 7)
    whole, rest = overlap_add(frames, 3), jnp.zeros((2, 4))
    blocks = []
    for at in range(0, 12, 4):
        rest, block = overlap_add_step(rest, overlap_add(frames[:, at : at + 4], 3))
        blocks.append(block)
    found = np.concatenate([*blocks, rest], -1)
    np.testing.assert_allclose(found, whole, atol=1e-6)


def test_a_reflection_is_that_of_numpy():
    wave = noise(1, 40)
    padded = np.pad(wave, [(0, 0), (9, 9)], mode="reflect")
    # Pieces of the padded signal: at both ends, and in the middle.
    for first, size in ((-9, 30), (-3, 20), (5, 20), (20, 29)):
        places = np.arange(first, first + size)
        there = (places >= 0) & (places < 40)
        piece = np.where(there, wave[:, places % 40], 0)
        found = reflect(jnp.asarray(piece), jnp.int32(first), jnp.int32(40))
        expected = padded[:, first + 9 :][:, :size]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("padding", ["center", "none", "naplab"])
def test_a_part_of_a_signal_is_encoded_and_decoded_as_in_the_whole(padding):
    wave, kernel = noise(1, 96), noise(12, 3)
    whole = analyze(wave, kernel, 4, padding=padding)
    part = analyze(wave[:, 20:], kernel, 4, padding=padding, part=(8, 5))
    np.testing.assert_allclose(part, whole[:, 7:12], atol=1e-6)
    made = synthesize(part, kernel.T, 4, time=30, padding=padding, before=10)
    shifted = np.zeros_like(whole)
    shifted[:, 7:12] = part
    expected = synthesize(shifted, kernel.T, 4, time=96, padding=padding)
    np.testing.assert_allclose(made, expected[:, 18:48], atol=1e-6)


@pytest.mark.parametrize(("width", "dilation"), [(3, 4), (4, 1), (1, 2)])
def test_a_convolution_remembers_as_many_frames_as_it_needs(width, dilation):
    x, taps = noise(2, 21, 3), noise(width, 3)
    options = dict(max_dilation=dilation, causal=True)
    whole = depthwise_conv(x, taps, dilation, **options)
    past, blocks = jnp.zeros((2, (width - 1) * dilation, 3)), []
    for block in np.split(x, [1, 3, 14], axis=1):
        past, y = depthwise_conv_step(past, block, taps, dilation)
        blocks.append(y)
    np.testing.assert_allclose(np.concatenate(blocks, 1), whole, atol=1e-6)


def test_statistics_of_many_frames_stay_exact():
    """Against float64: at another mean, and loud first, so that the rest is small."""
    frames, channels, size = 400_000, 4, 4000
    x = noise(1, frames, channels) + np.float32(0.5)
    x[:, : frames // 2] *= 100
    affine = jnp.ones(channels), jnp.zeros(channels)
    step = jax.jit(cumulative_norm_step)
    state, found = cumulative_norm_state(1), []
    for at in range(0, frames, size):
        block = x[:, at : at + size]
        state, y = step(state, block, *affine, np.ones(size, bool))
        found.append(y)
    values = x.astype(np.float64)
    count = channels * np.arange(1, frames + 1)[None, :, None]
    mean = np.cumsum(values.sum(-1, keepdims=True), 1) / count
    power = np.cumsum(np.square(values).sum(-1, keepdims=True), 1) / count
    expected = (values - mean) / np.sqrt(power - mean**2 + 1e-8)
    error = np.abs(np.concatenate(found, 1) - expected)[:, 100:]
    assert error.max() < 2e-6 * np.abs(expected).max()
    assert int(state["count"]) == frames
    # float32 alone is no judge: its running sum has lost three digits.
    plain = np.cumsum(np.square(x).sum(-1, dtype=np.float32), dtype=np.float32)[-1]
    total = np.square(values).sum()
    exact = np.asarray(state["sums"], np.float64)[:, 1, 0].sum()
    assert abs(exact / total - 1) < 1e-7 < abs(plain / total - 1)


def test_frames_outside_leave_no_trace():
    valid = np.array([False, True, True, False])
    x = noise(1, 4, 3)
    layer = init_lstm(jax.random.key(0), inputs=3, hidden=2, directions=1)
    affine = jnp.ones(3), jnp.zeros(3)
    steps = {
        "norm": lambda x, v: cumulative_norm_step(
            cumulative_norm_state(1), x, *affine, v
        ),
        "lstm": lambda x, v: lstm_step(layer, lstm_state(1, 2), x, v),
    }
    # A program of another shape may round otherwise.
    near = functools.partial(np.testing.assert_allclose, rtol=1e-6)
    for step in map(jax.jit, steps.values()):
        state, y = step(x, valid)
        same, inner = step(x[:, 1:3], valid[1:3])
        jax.tree.map(near, state, same)
        near(y[:, 1:3], inner)


def test_what_hears_the_future_has_no_step():
    both = init_lstm(jax.random.key(0), inputs=3, hidden=2)
    valid = np.ones(2, bool)
    with pytest.raises(ValueError, match="two directions"):
        lstm_step(both, lstm_state(1, 2), noise(1, 2, 3), valid)
    shape = dict(layers=1, stacks=1)
    params = init_tcn(jax.random.key(0), **shape, bottleneck=2, hidden=2)
    state = init_tcn_state(1, **shape, hidden=2)
    with pytest.raises(ValueError, match="norm='global'"):
        tcn_step(params, state, noise(1, 2, 2), valid, stacks=1, norm="global")
