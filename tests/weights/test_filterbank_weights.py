"""Filterbanks of others from their arrays: taps, signals and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vectors import assert_near, load, quick

from sepjax.functional.filterbanks import gammatone_kernel
from sepjax.functional.framing import analyze, synthesize
from sepjax.functional.norms import cumulative_norm
from sepjax.weights import filterbank_from_state_dict, multiphase_gammatone

# The README of the vectors: what a float32 implementation can reach.
SIGNALS, TAPS, GRADIENTS = 1e-5, 5e-6, 1e-4
PAIRS = (
    *("free_none", "free_dec", "free_enc", "free_undercomplete_dec"),
    *("sinc_none", "sinc_dec", "sinc_enc", "mpgtf_dec", "mpgtf_enc", "stft"),
)
FLOORS = ("min_low_hz", "min_band_hz")


def pair_options(meta):
    kwargs = meta["kwargs"]
    options = dict(
        kind=kwargs["fb_name"],
        kernel_size=kwargs["kernel_size"],
        stride=meta["stride"],
        who_is_pinv=kwargs.get("who_is_pinv") or "none",
    )
    if "sample_rate" in kwargs:
        options["sample_rate"] = kwargs["sample_rate"]
    return options


def pair_signals(state, wave, stride, **options):
    """Both banks' taps, the latent and the decoded signal, as the source has them."""
    analysis, synthesis = filterbank_from_state_dict(state, stride=stride, **options)
    latent = analyze(wave, analysis, stride, padding="none")
    decoded = (latent.shape[-2] - 1) * stride + len(synthesis)
    back = synthesize(latent, synthesis.T, stride, time=decoded, padding="none")
    return analysis, synthesis, latent, back


def check_pair(arrays, found, tolerance):
    analysis, synthesis, latent, back = found
    assert_near(analysis, arrays["out/encoder_taps"][:, 0].T, tolerance)
    assert_near(synthesis, arrays["out/decoder_taps"][:, 0].T, tolerance)
    assert_near(latent, arrays["out/latent"].transpose(0, 2, 1), tolerance)
    assert_near(back, arrays["out/y"][:, 0], tolerance)


@pytest.mark.parametrize("case", PAIRS)
def test_pairs_and_their_gradients(shared_data, case):
    arrays, state, meta = load(shared_data, f"fb_pair_{case}")
    options = pair_options(meta)
    wave = jnp.asarray(arrays["in/x"][:, 0])
    run = quick(lambda state: pair_signals(state, wave, **options))
    check_pair(arrays, run(state), SIGNALS)
    if "in/cotangent" not in arrays:
        return
    cotangent = jnp.asarray(arrays["in/cotangent"][:, 0])
    side = "decoder" if options["who_is_pinv"] == "enc" else "encoder"

    def value(taps):
        latent = analyze(wave, taps[0], meta["stride"], padding="none")
        time = arrays["out/y"].shape[-1]
        back = synthesize(latent, taps[1].T, meta["stride"], time=time, padding="none")
        return jnp.sum(back * cotangent)

    def both(state):
        return value(filterbank_from_state_dict(state, **options))

    def one_side(state):
        analysis, synthesis = filterbank_from_state_dict(state, **options)
        return value((analysis, jax.lax.stop_gradient(synthesis)))

    grads, partial = quick(lambda s: (jax.grad(both)(s), jax.grad(one_side)(s)))(state)
    names = [name[5:] for name in arrays if name.startswith("grad/")]
    assert names
    for name in names:
        key = f"{side}/filterbank.{name}"
        expected = arrays[f"grad/{name}"]
        # Where reconstruction is exact the two sides' gradients cancel, and what is
        # left has to be small beside one of them.
        scale = max(np.abs(expected).max(), np.abs(partial[key]).max())
        assert scale > 1e-3
        np.testing.assert_allclose(grads[key], expected, rtol=0, atol=GRADIENTS * scale)


def test_a_rank_deficient_bank_needs_float64(shared_data):
    """The source inverts what rounding left of a dependent filter; so does float64."""
    arrays, state, meta = load(shared_data, "fb_pair_stft_pinv_rank_deficient")
    options = pair_options(meta)
    with jax.enable_x64():
        wave = jnp.asarray(arrays["in/x"][:, 0], jnp.float64)
        state = {name: jnp.asarray(a, jnp.float64) for name, a in state.items()}
        found = pair_signals(state, wave, **options, rtol=1e-15)
        found = jax.tree.map(np.asarray, found)
    check_pair(arrays, found, SIGNALS)


@pytest.mark.parametrize(
    "case", ["n16_l16_8k", "n32_l101_44k", "n40_l21_16k_floors", "n64_l25_8k"]
)
def test_param_sinc(shared_data, case):
    arrays, state, meta = load(shared_data, f"fb_param_sinc_{case}")
    kwargs = meta["kwargs"]
    options = dict(kernel_size=kwargs["kernel_size"], kind="param_sinc")
    options |= dict(sample_rate=kwargs["sample_rate"])
    options |= {name: meta[name] for name in FLOORS}

    def taps(state):
        return filterbank_from_state_dict(state, **options)[0]

    for prefix, name in (("", "init"), ("perturbed/", "perturbed")):
        found = quick(taps)(
            {key: state[prefix + key] for key in ("low_hz_", "band_hz_")}
        )
        assert_near(found, arrays[f"out/taps_{name}"][:, 0].T, TAPS)
    cotangent = jnp.asarray(arrays["in/cotangent"][:, 0].T)
    state = {key: state["perturbed/" + key] for key in ("low_hz_", "band_hz_")}
    grads = quick(jax.grad(lambda s: jnp.sum(taps(s) * cotangent)))(state)
    for name, grad in grads.items():
        assert_near(grad, arrays[f"grad/{name}"], GRADIENTS)


@pytest.mark.parametrize("case", ["n12_l40_even", "n20_l31"])
def test_sincnet(shared_data, case):
    arrays, state, meta = load(shared_data, f"fb_sincnet_{case}")
    kwargs = meta["kwargs"]
    taps, synthesis = filterbank_from_state_dict(
        state,
        kind="sincnet",
        kernel_size=kwargs["kernel_size"],
        sample_rate=kwargs["sample_rate"],
    )
    assert synthesis is None
    assert_near(taps, arrays["out/taps"][:, 0].T, TAPS)
    stride = kwargs.get("stride", 1)
    latent = analyze(jnp.asarray(arrays["in/x"][:, 0]), taps, stride, padding="none")
    assert_near(latent, arrays["out/y"].transpose(0, 2, 1), SIGNALS)


def test_multiphase_gammatone(shared_data):
    arrays, _, _ = load(shared_data, "fb_multiphase_gammatone")
    names = [name.split("_", 1)[1] for name in arrays if name.startswith("out/mpgtf_")]
    assert names
    for name in names:
        filters, length, rate = map(int, name.split("_"))
        taps = multiphase_gammatone(filters, length, sample_rate=rate)
        for source in ("asteroid", "mpgtf"):
            assert_near(taps, arrays[f"out/{source}_{name}"].T, TAPS)
    index = 0
    while f"in/ir_{index}" in arrays:
        center, phase, length, rate = arrays[f"in/ir_{index}"].astype(float)
        expected = arrays[f"out/ir_{index}"]
        bandwidth = (24.7 + 0.108 * center) * 2 / np.pi
        values = (center / rate, bandwidth / rate, phase)
        one = [jnp.asarray([value], jnp.float32) for value in values]
        taps = gammatone_kernel(*one, int(length), normalize=False) / rate
        assert_near(np.asarray(taps[:, 0]), expected, TAPS)
        index += 1
    assert index == 3


def test_cumulative_norm(shared_data):
    arrays, _, _ = load(shared_data, "asteroid_cumulative_norm")
    x = jnp.asarray(arrays["in/x"].transpose(0, 2, 1))
    channels = x.shape[-1]
    found = cumulative_norm(x, jnp.ones(channels), jnp.zeros(channels))
    assert_near(found, arrays["out/new"].transpose(0, 2, 1), SIGNALS)


def test_names_and_options_that_do_not_fit():
    state = {"encoder.filterbank._filters": np.ones((3, 1, 4))}
    with pytest.raises(ValueError, match=r"_filters' has shape \(3, 1, 4\), expected"):
        filterbank_from_state_dict(state, kernel_size=5)
    with pytest.raises(KeyError, match=r"no 'encoder.filterbank.low_hz_'"):
        filterbank_from_state_dict(state, kernel_size=4, kind="param_sinc")
    with pytest.raises(ValueError, match="unknown kind of filterbank 'fre'"):
        filterbank_from_state_dict(state, kernel_size=4, kind="fre")
    with pytest.raises(ValueError, match="who_is_pinv='both'"):
        filterbank_from_state_dict(state, kernel_size=4, who_is_pinv="both")
    with pytest.raises(ValueError, match="filters=7 must be even"):
        multiphase_gammatone(7, 20, sample_rate=8000)
