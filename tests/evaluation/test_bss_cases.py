"""BSS Eval against projections written out in full, its edges and its errors."""

import math

import jax
import numpy as np
import pytest

from sepjax.evaluation import bss_eval, sdr_frames
from sepjax.evaluation.bss import windows as framing
from sepjax.evaluation.bss.windows import plan_blocks, windows

TAPS = 8
SHORT = dict(window=400, hop=400, filters=TAPS)
METRICS = ("sdr", "isr", "sir", "sar")


def tracks(seed=0, sources=2, time=1600, channels=2):
    """Noise with a little structure, and estimates with every kind of error."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(sources, time, channels))
    reference[:, 1:] += 0.8 * reference[:, :-1]
    estimate = 0.9 * reference + 0.2 * np.roll(reference, 1, 0)
    estimate[:, 2:] += 0.1 * reference[:, :-2, ::-1]
    return reference, estimate + 0.05 * rng.normal(size=reference.shape)


def delayed(wave):
    """(sources, time, channels) to (time + taps - 1, sources * channels * taps)."""
    flat = wave.transpose(0, 2, 1).reshape(-1, wave.shape[1])
    columns = [np.pad(x, (d, TAPS - 1 - d)) for x in flat for d in range(TAPS)]
    return np.stack(columns, 1)


def in_full(reference, estimate, part, whole):
    """SDR, ISR, SIR and SAR of one window by lstsq on every delayed channel."""
    found = []
    for j in range(len(reference)):
        pad = ((0, TAPS - 1), (0, 0))
        s, e = (np.pad(wave[j, part], pad) for wave in (reference, estimate))
        total = np.pad(estimate[j, whole], pad)
        together, alone = (
            delayed(chosen[:, part])
            @ np.linalg.lstsq(delayed(chosen[:, whole]), total)[0]
            for chosen in (reference, reference[j : j + 1])
        )
        parts = ((s, e - s), (s, alone - s), (alone, together - alone))
        parts += ((together, e - together),)
        with np.errstate(divide="ignore"):
            ratios = [(a**2).sum() / (b**2).sum() for a, b in parts]
            found.append(10 * np.log10(ratios))
    return np.array(found).T


@pytest.mark.parametrize("mode", ["v4", "v3"])
@pytest.mark.parametrize(("sources", "channels"), [(1, 2), (2, 1), (3, 3)])
def test_equal_to_projections_in_full(mode, sources, channels):
    reference, estimate = tracks(sources=sources, channels=channels)
    parts = windows(1600, 500, 300.5)
    options = dict(window=500, hop=300.5, filters=TAPS, mode=mode)
    scores = bss_eval(reference, estimate, **options)
    assert scores.sdr.shape == (sources, len(parts))
    for t, part in enumerate(parts):
        whole = part if mode == "v3" else slice(0, 1600)
        values = in_full(reference, estimate, part, whole)
        values[2, :] = np.inf if sources == 1 else values[2]
        ours = [getattr(scores, metric)[:, t] for metric in METRICS]
        np.testing.assert_allclose(ours, values, rtol=0, atol=1e-8)


@pytest.mark.parametrize("mode", ["v4", "v3"])
@pytest.mark.parametrize("order", [[2, 0, 1], [1, 2, 0], [1, 0, 2]])
def test_estimates_in_any_order(mode, order):
    reference, estimate = tracks(sources=3)
    straight = bss_eval(reference, estimate, **SHORT, mode=mode)
    found = bss_eval(reference, estimate[order], **SHORT, mode=mode, permute=True)
    shape = (3,) if mode == "v4" else (3, 4)
    expected = np.broadcast_to(
        np.argsort(order).reshape(3, *[1] * len(shape[1:])), shape
    )
    np.testing.assert_array_equal(found.permutation, expected)
    for metric in METRICS:
        np.testing.assert_allclose(
            getattr(found, metric), getattr(straight, metric), rtol=0, atol=1e-8
        )


def test_long_windows_and_blocks():
    """A window of many blocks and steps, and the same samples as 16-bit integers."""
    rng = np.random.default_rng(1)
    reference = rng.integers(-9000, 9000, size=(2, 60000, 1), dtype=np.int16)
    estimate = reference // 2 + np.roll(reference, 1, 0) // 16
    assert plan_blocks(60000, TAPS, 8).steps > 1
    ours = bss_eval(reference, estimate, window=math.inf, hop=math.inf, filters=TAPS)
    values = in_full(
        *(wave / 32768 for wave in (reference, estimate)), *[slice(None)] * 2
    )
    for metric, value in zip(METRICS, values):
        np.testing.assert_allclose(
            getattr(ours, metric)[:, 0], value, rtol=0, atol=1e-8
        )


def silent_second_window():
    reference, estimate = tracks(sources=3)
    reference[1, 400:800, 1] = -reference[1, 400:800, 0]  # museval: L = -R is silent
    estimate[2, 800:1200] = 0
    return reference, estimate


def test_silence_in_windows():
    waves = silent_second_window()
    as_museval = bss_eval(*waves, **SHORT)
    expected = np.tile([False, True, True, False], (3, 1))
    for metric in METRICS:
        np.testing.assert_array_equal(np.isnan(getattr(as_museval, metric)), expected)
    assert as_museval.counts.tolist() == [2, 2, 2]
    assert as_museval.windows == 4
    each = bss_eval(*waves, **SHORT, silence="source")
    alone = np.zeros((3, 4), bool)
    alone[1, 1] = alone[2, 2] = True
    np.testing.assert_array_equal(np.isnan(each.sir), alone)
    assert each.counts.tolist() == [4, 3, 3]
    np.testing.assert_array_equal(each.sar[:, [0, 3]], as_museval.sar[:, [0, 3]])
    for silence, scores in (("drop", as_museval), ("source", each)):
        sdr = sdr_frames(*waves, window=400, hop=400, silence=silence)
        np.testing.assert_allclose(sdr, scores.sdr, rtol=0, atol=1e-9)


def test_a_silent_source_leaves_the_others_as_if_it_were_not_there():
    reference, estimate = tracks(sources=3)
    reference[1] = 0
    scores = bss_eval(reference, estimate, **SHORT)
    rest = bss_eval(reference[[0, 2]], estimate[[0, 2]], **SHORT)
    for metric in METRICS:
        values = getattr(scores, metric)
        assert np.isnan(values[1]).all()
        np.testing.assert_allclose(
            values[[0, 2]], getattr(rest, metric), rtol=0, atol=1e-8
        )


def test_a_silent_estimate_is_not_scored():
    reference, estimate = tracks()
    whole = bss_eval(reference, estimate, **SHORT)
    estimate[0] = 0
    scores = bss_eval(reference, estimate, **SHORT, permute=True)
    assert scores.counts.tolist() == [0, 4]
    np.testing.assert_allclose(scores.sir[1], whole.sir[1], rtol=0, atol=1e-8)


def test_nothing_sounds():
    reference, estimate = tracks()
    for mode in ("v4", "v3"):
        scores = bss_eval(0 * reference, estimate, **SHORT, mode=mode)
        assert np.isnan(scores.sdr).all()
        assert scores.sdr.shape == (2, 4)
        assert scores.counts.tolist() == [0, 0]
        assert not scores.ill_conditioned
    with pytest.raises(ValueError, match="estimate 0 is silent"):
        bss_eval(reference, 0 * estimate, **SHORT, silence="museval")


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_a_channel_that_repeats_another_changes_nothing(gain):
    """Also with another gain and in float32: the second channel is 0.3 of the first up
    to its rounding, 150 dB below."""
    reference, estimate = tracks(channels=1)
    two = np.concatenate([reference, gain * reference], 2).astype(np.float32)
    one = two[..., :1]
    both = np.concatenate([estimate, gain * estimate], 2)
    scores = bss_eval(two, both, **SHORT)
    mono = bss_eval(one, estimate, **SHORT)
    assert scores.dropped.tolist() == [[False, True]] * 2
    assert not scores.ill_conditioned
    for metric in METRICS:
        np.testing.assert_allclose(
            getattr(scores, metric), getattr(mono, metric), rtol=0, atol=1e-5
        )


def test_dependent_references_are_loaded_and_flagged():
    """A third source that is the sum of the others: no channel repeats another."""
    reference, estimate = tracks(sources=3)
    reference[2] = reference[:2].sum(0)
    scores = bss_eval(reference, estimate, **SHORT)
    assert scores.ill_conditioned or scores.near_singular
    assert np.isfinite(scores.sar).all()
    pair = bss_eval(reference[:2], estimate[:2], **SHORT)
    # Two references span what three do; the loading is -100 dB.
    np.testing.assert_allclose(scores.sar[:2], pair.sar, rtol=0, atol=1e-3)


def test_more_filters_than_samples():
    reference, estimate = tracks(time=12)
    scores = bss_eval(reference, estimate, window=400, hop=400, filters=TAPS)
    np.testing.assert_allclose(
        scores.sdr, sdr_frames(reference, estimate, window=400, hop=400), atol=1e-9
    )
    assert scores.ill_conditioned


def test_perfect_estimates_are_infinitely_good():
    reference, _ = tracks()
    scores = bss_eval(reference, reference, **SHORT)
    assert (scores.sdr == np.inf).all()
    assert (scores.sar > 200).all()


def test_works_under_jit():
    reference, estimate = tracks(sources=3)
    order = [2, 0, 1]
    plain = bss_eval(reference, estimate[order], **SHORT, permute=True)
    with jax.enable_x64(True):
        traced = jax.jit(lambda r, e: bss_eval(r, e, **SHORT, permute=True))
        scores = traced(reference, estimate[order])
    for metric in (*METRICS, "permutation", "counts", "ill_conditioned"):
        np.testing.assert_allclose(
            getattr(scores, metric), getattr(plain, metric), rtol=0, atol=1e-9
        )
    assert jax.numpy.ones(1).dtype == np.float32  # the default is as it was


def test_windows_are_cut_as_museval_cuts():
    assert windows(10, 3, 3) == [slice(0, 3), slice(3, 6), slice(6, 9)]
    assert windows(9, 3, 3)[-1] == slice(6, 9)
    assert windows(3, 3, 1) == [slice(0, 3)]
    assert windows(2, 3, 1) == [slice(0, 2)]
    assert windows(7, 3, 1.5) == [slice(0, 3), slice(1, 4), slice(3, 6)]


NOISE = np.random.default_rng(0).normal(size=(2, 900, 1))
BROKEN = NOISE.copy()
BROKEN[1, 7] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(estimate=NOISE[:, :800]), "differ in samples: 900 and 800; cut"),
        (dict(estimate=NOISE[:1]), "differ in sources: 2 and 1"),
        (dict(reference=NOISE[..., 0]), r"give \(sources, time, channels\)"),
        (dict(estimate=NOISE[:, :0]), "none of them 0"),
        (dict(estimate=NOISE.astype(complex)), "give floats or 16-bit"),
        (
            dict(estimate=BROKEN),
            "estimate is not finite: source 1, sample 7, channel 0",
        ),
        (dict(mode="v5"), "mode='v5' must be one of v4, v3"),
        (dict(variant="stems"), "variant='stems'"),
        (dict(silence="skip"), "silence='skip' must be one of drop"),
        (dict(window=0), "window=0 must be at least one sample"),
        (dict(hop=math.nan), "hop=nan"),
        (dict(filters=0), "filters=0"),
    ],
)
def test_errors_say_what_is_wrong(change, message):
    arguments = dict(reference=NOISE, estimate=NOISE, window=400, hop=400) | change
    waves = arguments.pop("reference"), arguments.pop("estimate")
    with pytest.raises(ValueError, match=message):
        bss_eval(*waves, **arguments)


def test_panned_sources_have_the_scores_of_one_problem(monkeypatch):
    reference, estimate = tracks(channels=1)
    reference = reference * np.array([1.0, 0.3])
    estimate = np.concatenate([estimate, tracks(seed=1, channels=1)[1]], -1)
    each = bss_eval(reference, estimate, **SHORT)
    monkeypatch.setattr(framing, "panned", lambda wave: False)
    together = bss_eval(reference, estimate, **SHORT)
    for metric in METRICS:
        ours, theirs = getattr(each, metric), getattr(together, metric)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    assert each.dropped.tolist() == together.dropped.tolist() == [[False, True]] * 2
