"""BSS Eval against museval's and mir_eval's numbers."""

import json
import math

import numpy as np
import pytest
import soundfile
from mir_eval import separation

from sepjax.evaluation import bss_eval, sdr_frames

VECTORS = (
    *("01_stereo_basic", "02_silent_frames", "04_mono", "05_dup_mono_stereo"),
    *("07_scaled_half", "10_short", "13_v3_framewise", "20_v3_sources_global"),
)


def load(shared_data, name):
    with np.load(shared_data / "bss_ref" / f"{name}.npz") as file:
        return dict(file)


def score(vector, **options):
    return bss_eval(
        vector["ref"],
        vector["est"],
        window=float(vector["win"]),
        hop=float(vector["hop"]),
        filters=int(vector["filters_len"]),
        mode=str(vector["mode"]),
        permute=bool(vector["permute"]),
        variant="sources" if vector["sources_version"] else "images",
        **options,
    )


@pytest.mark.parametrize("name", VECTORS)
def test_equal_to_museval(shared_data, name):
    """A thousandth of what the vectors allow: both are float64 solutions of one
    well-posed system. Beyond 80 dB the error is rounding on both sides."""
    vector = load(shared_data, name)
    scores = score(vector)
    np.testing.assert_allclose(scores.sdr, vector["SDR"], rtol=0, atol=1e-9)
    for metric in ("ISR", "SIR", "SAR"):
        ours, theirs = getattr(scores, metric.lower()), vector[metric]
        assert ours.dtype == np.float64
        np.testing.assert_allclose(
            np.minimum(ours, 80), np.minimum(theirs, 80), rtol=0, atol=1e-6
        )
    perm = vector["perm"] if scores.permutation.ndim == 2 else vector["perm"][:, 0]
    np.testing.assert_array_equal(scores.permutation, perm)
    np.testing.assert_array_equal(scores.counts, np.isfinite(scores.sir).sum(1))
    assert not scores.ill_conditioned
    assert not scores.near_singular


def test_band_limited_references_raise_a_flag(shared_data):
    """museval's ISR, SIR and SAR are meaningless there (SIR -50 dB); SDR is exact."""
    vector = load(shared_data, "15_bandlimited")
    scores = score(vector)
    np.testing.assert_allclose(scores.sdr, vector["SDR"], rtol=0, atol=1e-9)
    assert scores.ill_conditioned or scores.near_singular
    assert scores.eigenvalue_ratio < 1e-14
    # The references explain the estimates well, which loading preserves.
    assert (scores.sir > -20).all()


def test_a_source_that_is_silent_throughout(shared_data):
    vector = load(shared_data, "18_all_silent_ref")
    scores = score(vector)
    assert np.isnan(scores.sdr[1]).all()
    assert scores.counts.tolist() == [3, 0]
    assert scores.dropped.tolist() == [[False, False], [True, True]]
    only = bss_eval(
        vector["ref"][:1], vector["est"][:1], window=vector["win"], hop=vector["hop"]
    )
    for metric in ("sdr", "isr", "sar"):  # of one source alone: no interference
        np.testing.assert_allclose(
            getattr(scores, metric)[0], getattr(only, metric)[0], rtol=0, atol=1e-9
        )
    assert (only.sir == np.inf).all()
    with pytest.raises(ValueError, match="reference 1 is silent throughout"):
        score(vector, silence="museval")


def test_sdr_needs_no_projection(shared_data):
    vector = load(shared_data, "02_silent_frames")
    sdr = sdr_frames(vector["ref"], vector["est"], window=16000, hop=16000)
    np.testing.assert_allclose(sdr, vector["SDR"], rtol=0, atol=1e-9)


def waves(folder):
    files = sorted(folder.glob("*.wav"))
    return np.stack([soundfile.read(file)[0] for file in files])[..., None]


def spread(wave, channels, gain=1.0, reverse=False):
    """The channel itself and scaled copies, as mir_eval's test of images makes them."""
    copies = np.repeat(wave, channels, 2) * ([1.0] + (channels - 1) * [gain])
    return copies[..., ::-1] if reverse else copies


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("02", "Sources"),
        ("09", "Sources"),
        ("09", "Images"),
        ("01", "Images"),
    ],
)
def test_equal_to_mir_eval(shared_data, case, kind):
    """BSS Eval v3 on the test set of mir_eval, whose Images repeat one channel."""
    folder = shared_data / "mir_eval_separation"
    expected = json.loads((folder / f"output{case}.json").read_text())[kind]
    reference, estimate = (waves(folder / f"{name}{case}") for name in ("ref", "est"))
    if kind == "Images":
        copies = [expected[key] for key in ("nchan", "gain", "reverse")]
        reference, estimate = spread(reference, copies[0]), spread(estimate, *copies)
    scores = bss_eval(
        reference,
        estimate,
        window=expected.get("win", math.inf),
        hop=expected.get("hop", math.inf),
        mode="v3",
        permute="win" not in expected,
        variant="images" if kind == "Images" else "sources",
    )
    names = {"Source to Distortion": "sdr", "Image to Spatial": "isr"}
    names |= {"Source to Interference": "sir", "Source to Artifact": "sar"}
    for name in names.keys() & expected.keys():
        values = np.array(expected[name], float)
        ours = getattr(scores, names[name]).reshape(values.shape)
        np.testing.assert_allclose(ours, values, rtol=0, atol=1e-6)
    order = np.ravel(expected["Source permutation"])
    np.testing.assert_array_equal(scores.permutation.ravel(), order)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_equal_to_mir_eval_where_its_stored_score_is_not(shared_data):
    """One SIR was stored by another solver: mir_eval itself is 1.4e-4 dB off."""
    folder = shared_data / "mir_eval_separation"
    stored = json.loads((folder / "output05.json").read_text())["Images"]
    reference, estimate = (waves(folder / f"{name}05") for name in ("ref", "est"))
    reference = spread(reference, stored["nchan"])
    copies = [stored[key] for key in ("nchan", "gain", "reverse")]
    estimate = spread(estimate, *copies)
    expected = separation.bss_eval_images(reference, estimate)
    options = dict(mode="v3", permute=True, window=math.inf, hop=math.inf)
    scores = bss_eval(reference, estimate, **options)
    for name, values in zip(("sdr", "isr", "sir", "sar"), expected):
        ours = getattr(scores, name).ravel()
        np.testing.assert_allclose(ours, values, rtol=0, atol=1e-6)
    theirs = np.abs(expected[2] - np.array(stored["Source to Interference"]))
    assert 1e-6 < theirs.max() < 1e-3
