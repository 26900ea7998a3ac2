"""Loudness against the standard, and levels, clipping and edges of known waves."""

import math

import numpy as np
import pytest

from data_pipelines.doctor.levels import ClipMeter, LevelMeter
from data_pipelines.doctor.loudness import LoudnessMeter, k_weighting
from sepjax.storage import finite


def sine(rate, seconds, hertz=997.0, level=0.0):
    time = np.arange(round(seconds * rate)) / rate
    return 10 ** (level / 20) * np.sin(2 * np.pi * hertz * time)


def columns(wave):
    return wave if wave.ndim == 2 else wave[:, None]


def loudness(wave, rate, size=1 << 30):
    wave = columns(wave)
    meter = LoudnessMeter(rate, wave.shape[1])
    for start in range(0, len(wave), size):
        meter.add(wave[start : start + size])
    return meter.loudness()


def test_filters_are_those_of_the_standard():
    # ITU-R BS.1770-4, annex 1, tables 1 and 2: b0, b1, b2, a1, a2.
    table = [
        *(1.53512485958697, -2.69169618940638, 1.19839281085285),
        *(-1.69065929318241, 0.73248077421585),
        *(1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621),
    ]
    found = k_weighting(48000)
    assert (found[:, 3] == 1).all()
    coefficients = found[:, [0, 1, 2, 4, 5]].ravel()
    np.testing.assert_allclose(coefficients, table, rtol=0, atol=1e-12)


def test_full_scale_sine_in_one_channel():
    # The standard says -3.01 LKFS; in both channels it is twice the energy.
    wave = sine(48000, 3)
    assert loudness(wave, 48000) == pytest.approx(-3.01, abs=0.005)
    assert loudness(np.stack([wave, 0 * wave], 1), 48000) == pytest.approx(
        -3.01, abs=0.005
    )
    assert loudness(np.stack([wave, wave], 1), 48000) == pytest.approx(0.0, abs=0.005)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 96000])
def test_other_rates_hear_the_same(rate):
    # The bilinear transform bends frequencies: at 8 kHz the shelf lies 0.3 dB lower
    # where 997 Hz is; from 22 kHz on nothing of it is left.
    within = 0.3 if rate < 22050 else 0.04
    assert loudness(sine(rate, 2), rate) == pytest.approx(-3.01, abs=within)
    assert loudness(sine(rate, 2, 100.0), rate) == pytest.approx(
        loudness(sine(48000, 2, 100.0), 48000), abs=0.05
    )


def test_gates_as_in_the_tests_of_broadcasters():
    # EBU Tech 3341, cases 1, 3 and 4: stereo sines of 1 kHz, -23 LUFS within 0.1.
    rate = 16000

    def program(*parts):
        waves = [sine(rate, seconds, 1000.0, level) for level, seconds in parts]
        return np.repeat(np.concatenate(waves)[:, None], 2, axis=1)

    shelf = loudness(program((-23, 5)), rate) + 23
    assert abs(shelf) < 0.2
    for parts in (
        [(-36, 4), (-23, 24), (-36, 4)],
        [(-72, 4), (-36, 4), (-23, 24), (-36, 4), (-72, 4)],
    ):
        assert loudness(program(*parts), rate) == pytest.approx(-23 + shelf, abs=0.1)


def test_blocks_do_not_matter():
    wave = np.random.default_rng(0).standard_normal((40000, 2)) / 10
    assert loudness(wave, 8000, 977) == pytest.approx(loudness(wave, 8000), abs=1e-9)


@pytest.mark.parametrize("seconds", [0.0, 0.3, 2.0])
def test_silence_and_short_waves_have_no_loudness(seconds):
    assert loudness(np.zeros((round(8000 * seconds), 1)), 8000) == -math.inf
    assert loudness(sine(8000, 0.3), 8000) == -math.inf


def levels(wave, rate=8000, size=1 << 30):
    wave = columns(wave).astype(np.float32)
    meter = LevelMeter(rate, wave.shape[1])
    for start in range(0, len(wave), size):
        meter.add(wave[start : start + size])
    return meter.levels()


def test_a_plain_wave():
    wave = np.concatenate([sine(8000, 1, level=-12), np.zeros(8000), [0.0] * 399])
    found = levels(wave, size=1001)
    assert found.peak == pytest.approx(-12, abs=0.05)
    # 10 of 21 blocks of 0.1 s, the last of which is shorter.
    assert found.active == pytest.approx(10 / 21)
    assert found.clipped == 0
    assert found.side is None
    assert found.edge is None


def test_dc_is_that_of_the_worse_channel():
    wave = np.stack([sine(8000, 1, level=-20), sine(8000, 1, level=-20) + 0.01], 1)
    assert levels(wave).dc == pytest.approx(-40, abs=0.1)


@pytest.mark.parametrize(
    ("right", "side", "mono"),
    [(1.0, -math.inf, 0.0), (-1.0, 0.0, -math.inf), (0.0, -3.01, -3.01)],
)
def test_channels(right, side, mono):
    wave = sine(8000, 1, level=-6)
    found = levels(np.stack([wave, right * wave], 1), size=3000)
    assert found.side == pytest.approx(side, abs=0.01)
    assert found.mono == pytest.approx(mono, abs=0.01)


def test_silence():
    found = levels(np.zeros((8000, 2)))
    assert found.silent
    assert found.active == 0
    assert finite(found._asdict())["peak"] is None
    assert levels(np.zeros((0, 1))).silent


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_clipping_counts_runs_over_the_ends_of_blocks(size):
    top = 1 - 2**-15  # 32767 of 16 bits
    wave = [0, top, top, 0, top, top, top, 0, -1, -1, -1, -1, top, top, 1.2, 1.2, 1.2]
    meter = ClipMeter()
    for start in range(0, len(wave), size):
        meter.add(np.array(wave[start : start + size], np.float32)[:, None])
    # Two in a row are none; a change of value begins another run.
    assert meter.count() == 3 + 4 + 3


def test_a_sine_at_full_scale_is_not_clipped_and_a_louder_one_is():
    quantized = np.rint(sine(44100, 1, 440.0, -0.001) * 32767) / 32768
    assert levels(quantized, 44100).clipped == 0
    cut = np.clip(2 * quantized, -1, 1 - 2**-15)
    assert levels(cut, 44100).clipped > 0.5 * len(cut)


def test_an_edge_is_found_where_a_coder_cuts():
    noise = np.random.default_rng(0).standard_normal(44100 * 2)
    spectrum = np.fft.rfft(noise)
    hertz = np.fft.rfftfreq(len(noise), 1 / 44100)
    assert levels(noise / 10, 44100).edge is None
    cut = np.fft.irfft(np.where(hertz < 16000, spectrum, spectrum / 1000))
    assert levels(cut / 10, 44100).edge == pytest.approx(16000, abs=300)
    # 20 dB an octave is how instruments fall.
    soft = np.fft.irfft(spectrum * (1 + hertz / 1000) ** -3.3)
    assert levels(soft, 44100).edge is None
