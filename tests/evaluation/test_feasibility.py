"""Activity, oracle scores and overlaps of a song; medians and groups of a set."""

import math

import numpy as np
import pytest
import scipy.signal

from sepjax.evaluation import ideal_ratio_mask, si_sdr
from sepjax.evaluation.feasibility.grouping import (
    group_overlap,
    median_scores,
    next_groups,
    summarize,
)
from sepjax.evaluation.feasibility.song import activity, oracle_scores, overlap

RATE = 8000


def noise(classes, time, channels=1, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (classes, time, channels))


def test_activity_sees_what_is_above_its_threshold():
    wave = np.zeros((10 * RATE, 2), np.float32)
    wave[: 2 * RATE, 0] = 0.5  # one channel of two
    wave[5 * RATE : 6 * RATE] = 0.0009  # -60.9 dBFS: below the threshold
    found = activity(wave, RATE)
    assert found.seconds == pytest.approx(2.0)
    assert found.share == pytest.approx(0.2)
    # Half of the channels at 0.5: 10 log10(0.25 / 2); float32 samples.
    assert found.level == pytest.approx(-9.031, abs=1e-3)


@pytest.mark.parametrize("time", [1, 799, 800, 801, 1700])
def test_activity_of_short_and_odd_lengths(time):
    assert activity(np.full((time, 1), 0.1), RATE).share == 1
    silent = activity(np.zeros((time, 1)), RATE)
    assert silent[:2] == (0, 0)
    assert math.isnan(silent.level)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_oracle_scores_are_those_of_the_mask(power):
    stems = noise(3, 20000, 2)
    stems[2] = 0
    mixture = 0.5 * stems.sum(0)  # SDR sees the factor, SI-SDR does not
    scores = oracle_scores(stems, mixture, sample_rate=RATE, power=power, window=1.0)
    estimates = ideal_ratio_mask(stems, mixture, power=power, n_fft=512)
    expected = si_sdr(stems[:2], estimates[:2])
    np.testing.assert_allclose(scores["si_sdr"][:2], expected, atol=1e-9)
    for index in range(2):
        windows = [slice(0, 8000), slice(8000, 16000)]  # the tail is dropped
        ratios = [
            np.sum(stems[index, w] ** 2)
            / np.sum((estimates[index, w] - stems[index, w]) ** 2)
            for w in windows
        ]
        median = np.median(10 * np.log10(ratios))
        assert scores["sdr"][index] == pytest.approx(median, abs=1e-9)
    assert math.isnan(scores["si_sdr"][2])
    assert math.isnan(scores["sdr"][2])


@pytest.mark.parametrize("sounding", [0, 1])
def test_where_nothing_is_mixed_nothing_is_scored(sounding):
    stems = noise(2, 4000)
    stems[sounding:] = 0
    scores = oracle_scores(stems, stems.sum(0), sample_rate=RATE)
    assert np.isnan([scores["si_sdr"], scores["sdr"]]).all()


def test_sdr_counts_only_windows_in_which_the_class_sounds():
    stems = noise(2, 4 * RATE)
    stems[0, RATE:] = 0
    scores = oracle_scores(stems, stems.sum(0), sample_rate=RATE, window=1.0)
    alone = oracle_scores(
        stems[:, :RATE], stems[:, :RATE].sum(0), sample_rate=RATE, window=1.0
    )
    # The frame across the border differs a little.
    assert scores["sdr"][0] == pytest.approx(alone["sdr"][0], abs=0.1)


def scipy_overlap(stems, power):
    """The definition, over the frames that lie within the signal and its padding."""
    padded = np.pad(stems, ((0, 0), (0, 1024), (0, 0)))
    _, _, spectra = scipy.signal.stft(
        padded, nperseg=512, axis=1, boundary=None, padded=False
    )
    magnitude = np.abs(spectra)
    masks = magnitude**power / (magnitude**power).sum(0)
    energy = (magnitude**2).sum(0)
    common = np.array(
        [[np.nansum(energy * np.minimum(a, b)) for a in masks] for b in masks]
    )
    own = np.diagonal(common)
    return common / np.minimum(own[:, None], own[None])


# Within one block of 65536 samples, and across two.
@pytest.mark.parametrize("time", [3000, 70001])
@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.filterwarnings("ignore:invalid value")  # silence at the end, 0 / 0
def test_overlap_is_what_it_says(time, power):
    stems = noise(3, time, 2) * np.array([1.0, 0.3, 0.05])[:, None, None]
    found = overlap(stems, sample_rate=RATE, power=power)
    # Transforms in float32, 1e-7 each, summed over 1e5 bins.
    np.testing.assert_allclose(found, scipy_overlap(stems, power), atol=1e-4)
    np.testing.assert_allclose(found, found.T, atol=1e-6)
    np.testing.assert_allclose(np.diagonal(found), 1)


def test_overlap_does_not_depend_on_the_common_level_and_marks_silence():
    stems = noise(3, 9000)
    stems[1] = 0
    found = overlap(stems, sample_rate=RATE)
    np.testing.assert_allclose(found, overlap(stems / 50, sample_rate=RATE), atol=1e-5)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 1]).all()
    assert 0.1 < found[0, 2] < 0.9


# --- sets ------------------------------------------------------------------------


def scored(**values):
    return {name: {"si_sdr": value, "sdr": value} for name, value in values.items()}


def pairs(**values):
    return {frozenset(name.split("_")): value for name, value in values.items()}


def test_medians_are_of_the_songs_in_which_a_class_sounds():
    songs = [scored(a=1.0, b=math.nan), scored(a=5.0, b=7.0), scored(a=6.0, b=8.0)]
    assert median_scores(songs) == scored(a=5.0, b=7.5)
    assert math.isnan(median_scores(songs[:1])["b"]["sdr"])


def test_the_weakest_joins_what_masks_it():
    groups = (("a",), ("b",), ("c",), ("d",))
    overlaps = pairs(a_b=0.9, a_c=0.1, a_d=0.2, b_c=0.3, b_d=0.1, c_d=0.2)
    scores = scored(a=9.0, b=8.0, c=2.0, d=4.0)
    step = next_groups(groups, scores, overlaps)
    assert step == (("a",), ("b", "c"), ("d",))
    scores = scored(a=9.0, d=4.0, **{"b+c": 7.0})
    # d overlaps a by 0.2, b and c by 0.15 on average.
    assert next_groups(step, scores, overlaps) == (("a", "d"), ("b", "c"))
    assert group_overlap(("d",), ("b", "c"), overlaps) == pytest.approx(0.15)


def test_nothing_is_merged_where_all_reach_the_mark_or_two_are_left():
    three, two = (("a",), ("b",), ("c",)), (("a",), ("b",))
    overlaps = pairs(a_b=0.9)
    assert next_groups(three, scored(a=6.0, b=7.0, c=8.0), overlaps) is None
    assert next_groups(three, scored(a=6.0, b=7.0, c=8.0), overlaps, mark=6.5)
    assert next_groups(two, scored(a=1.0, b=1.0), overlaps) is None


def song(seconds, share, score, overlaps, clips):
    return {
        "seconds": seconds,
        "samples": 100,
        "classes": {
            "a": {"seconds": share * seconds, "share": share, "level": -10 * share},
            "b": {"seconds": 0.0, "share": 0.0, "level": math.nan},
        },
        "scores": {"adaptive": scored(a=score, b=math.nan)},
        "clipped": {"adaptive": {"mixture": clips, "stems": {"a": 2 * clips, "b": 0}}},
        "overlap": [[1.0, overlaps], [overlaps, 1.0]],
    }


def test_a_set_is_summarized():
    songs = [song(10.0, 0.5, 5.0, 0.2, 0), song(30.0, 1.0, 8.0, math.nan, 3)]
    found = summarize(songs, ("a", "b"), mark=6.0)
    assert found["classes"]["a"] == {
        "songs": 2,
        "activity": 35 / 40,  # of all the time, not a mean of shares
        "level": -7.5,
        "reaches_mark": True,
    }
    assert found["classes"]["b"]["songs"] == 0
    assert not found["classes"]["b"]["reaches_mark"]
    assert found["scores"]["adaptive"]["a"]["sdr"] == 6.5
    assert found["overlap"]["pairs"] == [{"classes": ["a", "b"], "overlap": 0.2}]
    assert found["clipped"]["adaptive"] == {
        **{"mixture": 3, "stems": {"a": 6, "b": 0}, "songs": 1, "samples": 200}
    }
