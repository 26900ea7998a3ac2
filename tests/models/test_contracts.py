"""What every encoder, decoder, separator and model promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.models.build import model_of
from sepjax.models.tasnet.config import layer_strides
from sepjax.models.tasnet.decoders import BankDecoder
from sepjax.models.tasnet.encoders import BankEncoder
from sepjax.models.tasnet.registry import (
    BANKS,
    BRANCHES,
    DECODERS,
    ENCODERS,
    SEPARATORS,
)
from tests.support.models import config_of, make_model
from tests.support.signals import noise

SMALL = dict(N=16, L=32, W=16, B=8, H=16, layers=2, stack=1)
# Every encoder with every decoder that fits it, over every bank.
PAIRS = {
    "simple-conv": dict(encoding="simple"),
    "simple-gammatone_init": dict(encoding="simple", gammatone_init=True),
    "simple-relu": dict(encoding="simple", encoder_act="relu"),
    "simple-gated": dict(encoding="simple", encoder_act="gated"),
    "simple-stereo": dict(encoding="simple", audio_channels=2),
    **{
        f"filterbanks-{bank}-{name}": dict(
            encoding="filterbanks", fb_type=bank, **fields
        )
        for bank in ("param_sinc", "pmpgtf")
        for name, fields in {
            "conv": dict(decoder="conv"),
            "filterbank": dict(),
            "dec": dict(who_is_pinv="dec"),
            "enc": dict(who_is_pinv="enc"),
        }.items()
    },
    "filterbanks-even": dict(
        encoding="filterbanks", fb_type="param_sinc", phase="even"
    ),
    "filterbanks-printed": dict(
        **dict(encoding="filterbanks", fb_type="param_sinc", phase="even"),
        **dict(window="none", gain="band"),
    ),
    "filterbanks-uniform": dict(encoding="filterbanks", init_type="uniform"),
    "filterbanks-multiphase": dict(encoding="filterbanks", init_type="multiphase"),
    **{
        f"hybrid-{bank}-{name}": dict(encoding="hybrid", fb_type=bank, **fields)
        for bank in (*BANKS, *BRANCHES)
        for name, fields in {
            "conv": dict(),
            "two": dict(filters=2),
            "hybrid": dict(decoder="hybrid"),
            "dec": dict(who_is_pinv="dec"),
        }.items()
        if not (bank == "conv" and name == "dec")
        and not (bank in BRANCHES and name in ("hybrid", "dec"))
    },
    "hybrid-post-relu": dict(fb_post_conv=True, fb_act="relu"),
    "hybrid-quarter": dict(branch_width="quarter"),
    "filterbanks-hz": dict(encoding="filterbanks", fb_parameters="hz"),
    "filterbanks-sinc-hz": dict(
        encoding="filterbanks", fb_parameters="hz", fb_type="param_sinc"
    ),
    "filterbanks-odd": dict(
        encoding="filterbanks", force_odd=True, fb_type="param_sinc"
    ),
    "deep-one": dict(encoding="deep"),
    "deep-pmpgtf": dict(encoding="deep", filters=2, W=8),
    "deep-param_sinc": dict(encoding="deep", filters=2, W=8, fb_type="param_sinc"),
    "deep-types": dict(encoding="deep", filters=2, W=4, deep_types=("pmpgtf", "conv")),
    "deep-depthwise": dict(
        encoding="deep", filters=3, deep_mode="depthwise", deep_strides=(8, 3, 2)
    ),
}


def build(name="simple-conv", **more):
    config = config_of(**SMALL | PAIRS[name] | more)
    return config, model_of(config)


@functools.cache
def initialized(name, time=320):
    """A model with ideal masks, so that only encoder and decoder are compiled."""
    config, model = build(name, ideal_mask=True)
    channels = (2,) if config.model.audio_channels == 2 else ()
    mixture, sources = (
        jnp.zeros((1, *channels, time)),
        jnp.zeros((1, 4, *channels, time)),
    )
    return config, model, jax.jit(model.init)(jax.random.key(0), mixture, sources)


def call(part, name):
    """A jitted encoder or decoder of an initialized model."""
    _, model, variables = initialized(name)

    def run(module, *inputs):
        return getattr(module, part)(*inputs)

    # The second input of a decoder is the number of samples, which is static.
    return jax.jit(
        lambda x, *time: model.apply(variables, x, *time, method=run), static_argnums=1
    )


def test_every_registered_part_is_here():
    kinds = {
        (build(name)[0].model.encoding, build(name)[0].model.fb_type) for name in PAIRS
    }
    assert {encoding for encoding, _ in kinds} == set(ENCODERS)
    assert {bank for _, bank in kinds} == set(BANKS) | set(BRANCHES)
    bank_decoders, hybrid_decoders = {"conv", "filterbank"}, {"conv", "hybrid"}
    hybrid_decoders = {f"hybrid_{name}" for name in hybrid_decoders}
    assert set(DECODERS) == bank_decoders | hybrid_decoders | {"deep_conv"}
    assert set(SEPARATORS) == {"tcn", "lstm", "ideal_mask"}


# With a network: one pair of each encoding, as networks are the same for all pairs.
NETWORKS = ("simple-conv", "simple-stereo", "filterbanks-pmpgtf-conv")
NETWORKS += ("hybrid-stft-conv", "deep-pmpgtf")


@pytest.mark.parametrize(
    ("name", "ideal"),
    [
        *((name, True) for name in PAIRS),
        *((name, False) for name in NETWORKS),
        *(
            pytest.param(name, False, marks=pytest.mark.slow)
            for name in PAIRS
            if name not in NETWORKS
        ),
    ],
)
def test_shapes(name, ideal):
    config, model = build(name, ideal_mask=ideal)
    channels = (2,) if config.model.audio_channels == 2 else ()
    params = None
    # Separators are the same for all encodings: two lengths are enough.
    for time in (320, 321, 335, 17, 1) if ideal else (321, 1):
        mixture = jax.ShapeDtypeStruct((3, *channels, time), jnp.float32)
        sources = jax.ShapeDtypeStruct((3, 4, *channels, time), jnp.float32)
        inputs = (mixture, sources) if ideal else (mixture,)
        found, again = jax.eval_shape(
            model.init_with_output, jax.random.key(0), *inputs
        )
        assert found.estimates.shape == (3, 4, *channels, time)
        assert found.estimates.dtype == jnp.float32
        frames = time
        for stride in layer_strides(config.model):
            frames = -(-frames // stride)
        assert found.latent.shape == (3, frames, config.model.N)
        assert found.masks.shape == (3, 4, frames, config.model.N)
        # Parameters do not depend on the length.
        assert params is None or params == again
        params = again


@pytest.mark.parametrize(
    "name", [n for n in PAIRS if n.split("-")[0] not in ("hybrid", "deep")]
)
def test_bank_decoders_are_linear(name):
    config, model, _ = initialized(name)
    assert isinstance(model.decoder, BankDecoder)
    decode = call("decoder", name)
    one, two = noise(2, 20, config.model.N), noise(2, 20, config.model.N, seed=1)
    both = decode(2 * one - 3 * two, 320)
    apart = 2 * decode(one, 320) - 3 * decode(two, 320)
    scale = np.abs(both).max()
    np.testing.assert_allclose(both, apart, rtol=0, atol=1e-5 * scale)
    assert scale > 0


@pytest.mark.parametrize(
    "name", ["simple-conv", "filterbanks-param_sinc-dec", "filterbanks-pmpgtf-enc"]
)
def test_shift_by_a_stride_shifts_frames(name):
    config, model, _ = initialized(name)
    assert isinstance(model.encoder, BankEncoder)
    encode = call("encoder", name)
    wave = noise(1, 320)
    wave[:, -64:] = 0
    shifted = np.roll(wave, config.model.W, axis=-1)
    frames, moved = encode(wave), encode(shifted)
    # The first frame sees what lies before the signal: silence, and not its end.
    np.testing.assert_allclose(moved[:, 2:], frames[:, 1:-1], rtol=0, atol=1e-5)
    assert np.abs(frames).max() > 0.1


@pytest.mark.parametrize("name", ["simple-conv", "hybrid-pmpgtf-two"])
def test_ideal_mask_of_a_single_source_is_encode_and_decode(name):
    _, model, variables = initialized(name)
    wave = noise(2, 320)
    sources = np.stack([wave] + [np.zeros_like(wave)] * 3, axis=1)
    found = jax.jit(model.apply)(variables, wave, sources)
    plain = call("decoder", name)(call("encoder", name)(wave), 320)
    # The mask is |y| / (|y| + 1e-8).
    scale = np.abs(plain).max()
    np.testing.assert_allclose(found.estimates[:, 0], plain, rtol=0, atol=1e-4 * scale)
    np.testing.assert_allclose(found.estimates[:, 1:], 0, atol=1e-6)


def test_overcomplete_pseudo_inverse_reconstructs():
    config = config_of(
        **SMALL | dict(N=64, L=16, W=16), encoding="filterbanks", who_is_pinv="dec"
    )
    config.model.ideal_mask, config.model.fb_type = True, "param_sinc"
    model = model_of(config)
    wave = noise(1, 320)
    sources = np.stack([wave] + [np.zeros_like(wave)] * 3, axis=1)

    @jax.jit
    def run(wave, sources):
        return model.init_with_output(jax.random.key(0), wave, sources)[0].estimates

    estimates = run(wave, sources)
    error = np.linalg.norm(estimates[:, 0] - wave) / np.linalg.norm(wave)
    assert error < 0.05  # a ridge keeps the inverse from being exact


def test_an_oracle_without_sources_says_so():
    _, model, variables = initialized("simple-conv")
    with pytest.raises(ValueError, match="true sources"):
        model.apply(variables, jnp.zeros((1, 320)))


@pytest.mark.parametrize(
    ("mask_act", "consistency"),
    [("sigmoid", True), ("softmax", False), ("relu", False)],
)
def test_masks_and_consistency(mask_act, consistency):
    _, model = build("simple-conv", mask_act=mask_act, consistency=consistency)
    mixture = noise(2, 320)

    @jax.jit
    def run(mixture):
        return model.init_with_output(jax.random.key(0), mixture)[0]

    found = run(10 * mixture)
    assert float(found.masks.min()) >= 0
    assert float(jnp.std(found.masks)) > 1e-3
    if mask_act != "relu":
        assert float(found.masks.max()) <= 1
    total = found.masks.sum(1)
    if mask_act == "softmax":
        np.testing.assert_allclose(total, 1, rtol=1e-5)
    error = np.abs(found.estimates.sum(1) - 10 * mixture).max()
    assert (error < 1e-4) == consistency


@pytest.mark.parametrize("decoder", ["conv", "hybrid"])
@pytest.mark.parametrize(("ratio", "absent"), [(0.0, "filterbank"), (1.0, "conv")])
def test_ratio_of_filterbanks_may_be_all_or_nothing(ratio, absent, decoder):
    fields = dict(encoding="hybrid", fb_ratio=ratio, decoder=decoder)
    model = make_model(**SMALL | fields)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 320)))
    params = params["params"]
    assert not [name for name in params["encoder"] if name.startswith(absent)]
    banks = [name for name in params["encoder"] if "bottleneck" not in name]
    assert len(banks) == 1
    if decoder == "hybrid":
        taps = [p for name, p in params["decoder"].items() if name != "bottleneck"]
        assert len(taps) == 1
        assert ("kernel" in taps[0]) == (ratio == 0)


def test_causal_model_does_not_see_the_future():
    fields = dict(causal=True, norm="cumulative", input_norm="cumulative", L=16, W=16)
    model = make_model(**SMALL | fields, encoding="simple")
    wave = noise(1, 320)
    changed = wave.copy()
    changed[:, 160:] = noise(1, 160, seed=5)
    variables = jax.jit(model.init)(jax.random.key(0), wave)
    apply = jax.jit(lambda wave: model.apply(variables, wave).estimates)
    before, after = apply(wave), apply(changed)
    np.testing.assert_allclose(before[..., :160], after[..., :160], rtol=0, atol=1e-6)
    assert np.abs(before[..., 160:] - after[..., 160:]).max() > 1e-3


def test_learned_filters_are_named():
    for name in ("simple-conv", "hybrid-pmpgtf-two", "filterbanks-param_sinc-dec"):
        config, model, variables = initialized(name)
        taps = jax.eval_shape(
            lambda v, model=model: model.apply(v, method="kernels"), variables
        )
        assert {key.split("/")[0] for key in taps} == {"encoder", "decoder"}
        assert all(
            tap.shape[0] in (config.model.L, 2 * config.model.L)
            for tap in taps.values()
        )


def test_same_seed_same_parameters_other_seed_others():
    _, model = build("hybrid-pmpgtf-conv")
    init = jax.jit(lambda key: model.init(key, jnp.zeros((1, 320)))["params"])
    one, same, other = (init(jax.random.key(seed)) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    kernels = (params["separator"]["mask"]["kernel"] for params in (one, other))
    assert np.abs(np.subtract(*kernels)).max() > 0
