"""The mixing procedures: what they promise, on random songs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.collections.mixing import (
    PROCEDURES,
    align,
    full_scale,
    mix,
    saturate,
)
from sepjax.evaluation import ideal_ratio_mask, si_sdr

relaxed = settings(deadline=None)  # a busy machine is no failure
ANY_BETA = st.sampled_from(["when_needed", "always"])


def tone(generator, frames, channels, level):
    return level * generator.uniform(-1, 1, (frames, channels))


@st.composite
def songs(draw, kind="int16"):
    """A few classes with up to three loud tracks each; some have none."""
    counts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    if not any(counts):
        counts[0] = 1
    frames = draw(st.integers(1, 40))
    channels = draw(st.sampled_from([1, 2]))
    level = draw(st.sampled_from([0.01, 0.3, 1.0]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    waves = [
        [tone(generator, frames, channels, level) for _ in range(count)]
        for count in counts
    ]
    if kind == "float64":
        return waves
    return [[np.rint(32767 * w).astype(np.int16) for w in group] for group in waves]


@relaxed
@given(songs("float64"), ANY_BETA)
def test_adaptive_mixture_is_the_sum_of_its_stems(song, beta):
    mixed = mix(song, "adaptive", beta=beta)
    # Float64 has no rounding to speak of: 4 sums of 3 tracks, some 1e-16 each.
    np.testing.assert_allclose(mixed.stems.sum(0), mixed.mixture, atol=1e-14)
    assert mixed.mixture_factor == 1
    assert np.abs(mixed.mixture).max() <= 1 - 2**-15 + 1e-12
    if beta == "when_needed":  # never a clipped sample; no class alone can exceed M
        assert not mixed.clipped.any()
        assert mixed.mixture_clipped == 0


@relaxed
@given(songs("int16"), ANY_BETA)
def test_rounding_moves_the_adaptive_sum_by_half_a_step_each(song, beta):
    mixed = mix(song, "adaptive", beta=beta)
    error = mixed.mixture.astype(int) - mixed.stems.astype(int).sum(0)
    assert np.abs(error).max() <= (len(song) + 1) / 2


@relaxed
@given(songs("int16"))
def test_summing_is_exact_until_it_clips_and_every_clip_is_counted(song):
    mixed = mix(song, "summing")
    wide = np.array([sum((t.astype(int) for t in g), 0 * mixed.mixture) for g in song])
    clipped = (wide > 32767) | (wide < -32768)
    np.testing.assert_array_equal(mixed.clipped, clipped.sum((1, 2)))
    np.testing.assert_array_equal(mixed.stems, np.clip(wide, -32768, 32767))
    total = mixed.stems.astype(int).sum(0)
    np.testing.assert_array_equal(mixed.mixture, np.clip(total, -32768, 32767))
    assert mixed.mixture_clipped == np.sum((total > 32767) | (total < -32768))


@relaxed
@given(songs("int16"))
def test_averaging_divides_by_all_classes(song):
    mixed = mix(song, "averaging")
    assert not mixed.clipped.any()
    assert mixed.mixture_factor == 1 / len(song)
    means = [np.mean(group, 0) if group else 0 * mixed.mixture for group in song]
    np.testing.assert_allclose(mixed.stems, means, atol=0.5)
    np.testing.assert_allclose(mixed.mixture, np.sum(means, 0) / len(song), atol=0.5)


@relaxed
@given(songs("int16"), ANY_BETA, st.sampled_from(["scaling", "adaptive"]))
def test_factors_say_what_was_done_to_both_channels(song, beta, procedure):
    mixed = mix(song, procedure, beta=beta)
    for stem, group, factor in zip(mixed.stems, song, mixed.factors):
        wide = np.sum(group, 0, dtype=int) if group else 0 * stem
        np.testing.assert_allclose(stem, factor * wide, atol=0.5 + 1e-9)
    if beta == "when_needed":
        assert (mixed.factors <= 1).all()
    elif procedure == "scaling":
        sounding = mixed.stems.any((1, 2))
        assert (np.abs(mixed.stems.astype(int)).max((1, 2))[sounding] == 32767).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1.0]), ANY_BETA)
def test_scaling_and_adaptive_have_equal_si_sdr(seed, level, beta):
    generator = np.random.default_rng(seed)
    song = [[tone(generator, 700, 2, level) for _ in range(k)] for k in (2, 3, 1)]
    scores = []
    for procedure in ("scaling", "adaptive"):
        mixed = mix(song, procedure, beta=beta)
        estimates = ideal_ratio_mask(mixed.stems, mixed.mixture, n_fft=64)
        scores.append(si_sdr(mixed.stems, estimates))
    # They differ by one factor; only the mask's eps of 2e-16 sees it.
    np.testing.assert_allclose(*scores, atol=1e-6)


def test_overflow_clips_and_never_wraps_around():
    loud = np.full((5, 2), 30000, np.int16)
    song = [[loud, loud, loud], [-loud, -loud]]
    mixed = mix(song, "summing")
    assert (mixed.stems[0] == 32767).all()
    assert (mixed.stems[1] == -32768).all()
    assert mixed.clipped.tolist() == [10, 10]
    assert (mixed.mixture == -1).all()
    assert mix(song, "adaptive").stems[:, 0, 0].tolist() == [32767, -32767]


def test_cancellation_cannot_make_an_adaptive_stem_clip():
    wave = np.full((1, 1), 0.9)
    mixed = mix([[wave, wave], [-wave, -wave]], "adaptive")
    assert not mixed.clipped.any()
    np.testing.assert_allclose(mixed.mixture, 0, atol=1e-15)


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_silent_classes_stay_silent(procedure):
    wave = np.full((3, 1), 100, np.int16)
    mixed = mix([[], [wave], [0 * wave]], procedure)
    assert not mixed.stems[[0, 2]].any()
    assert (mixed.stems[1] == 100).all()
    expected = 33 if procedure == "averaging" else 100
    assert (mixed.mixture == expected).all()


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_audio_keeps_its_kind(kind):
    wave = np.ones((3, 1), kind)
    for procedure in PROCEDURES:
        mixed = mix([[wave]], procedure)
        assert mixed.stems.dtype == mixed.mixture.dtype == kind


def test_alignment_of_lengths_and_channels():
    mono = np.array([[10]], np.int16)
    stereo = np.array([[1, 2], [3, 4], [5, 6]], np.int16)
    three = np.array([[30000, 30000, 30001], [0, 0, 3]], np.int16)
    [[a, b], [c]] = align([[mono, stereo], [three]], 2)
    assert a.tolist() == [[10, 10], [0, 0], [0, 0]]
    assert b.tolist() == stereo.tolist()
    assert c.tolist() == [[30000, 30000], [1, 1], [0, 0]]  # a mean of 16 bits
    assert align([[stereo]], 1)[0][0].ravel().tolist() == [2, 4, 6]  # 1.5, 3.5, 5.5


def test_full_scale_is_that_of_16_bits():
    assert full_scale(np.dtype("f4")) * 2**15 == full_scale(np.dtype("i2"))
    assert saturate(np.array([1.0, -1.0, 1.5]), np.dtype("f8"))[1] == 2


def test_mistakes_are_named():
    wave = np.zeros((3, 2), np.int16)
    with pytest.raises(ValueError, match="adaptive"):
        mix([[wave]], "adaptiv")
    with pytest.raises(ValueError, match="when_needed"):
        mix([[wave]], "adaptive", beta="when")
    with pytest.raises(ValueError, match="no class has a track"):
        mix([[], []], "summing")
    with pytest.raises(ValueError, match="align"):
        mix([[wave], [wave[:2]]], "summing")
    with pytest.raises(ValueError, match="int32"):
        mix([[wave.astype(np.int32)]], "summing")
