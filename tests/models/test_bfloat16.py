"""``model.compute_dtype="bfloat16"``: what it promises of every family."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import sepjax
from sepjax.functional.resample import decimate
from sepjax.losses import latent_similarity
from sepjax.models import MODELS
from tests.support.models import make_model

SMALL = dict(N=16, L=32, W=16, B=8, H=16, layers=2, stack=1)
# Every family, with the parts of the first one that have matmuls of their own.
FAMILIES = {
    "simple": dict(encoding="simple", audio_channels=2, skip=False),
    "causal": dict(causal=True, norm="cumulative", input_norm="cumulative"),
    "per source": dict(large_tcn=True, mask_act="softmax", consistency=True),
    "oracle": dict(encoding="filterbanks", who_is_pinv="enc", ideal_mask=True),
    "inverse": dict(encoding="hybrid", who_is_pinv="dec", fb_post_conv=True),
    "sinc": dict(encoding="hybrid", fb_type="param_sinc", filters=2),
    "spectrogram": dict(encoding="hybrid", fb_type="stft"),
    "deep": dict(encoding="deep", filters=2, W=8),
    "depthwise": dict(encoding="deep", filters=2, W=8, deep_mode="depthwise"),
    "meta_tasnet": dict(name="meta_tasnet", stages=2, layers=1, mels=8),
    "open_unmix": dict(name="open_unmix", hidden=8, n_fft=64, hop=32, bandwidth=2000.0),
    "demucs": dict(name="demucs", channels=4, depth=2),
    "lstm": dict(encoding="simple", encoder_act="gated", separator="lstm")
    | dict(lstm_hidden=4, lstm_layers=4),
    "wave_u_net": dict(name="wave_u_net", levels=2, filters=4, down_kernel=5),
    "wavenet": dict(name="wavenet", layers=3, stack=1, channels=4, skip=4)
    | dict(hidden=8, last=4),
    "mm_dense_lstm": dict(name="mm_dense_lstm", bands=(1000.0,), n_fft=64, hop=32)
    | dict(networks=("2: 1 1+4 1", "2: 1", "2: 1 1 1"), final="2: 1", first=2),
    "spleeter": dict(name="spleeter", audio_channels=1, filters=(2, 3), n_fft=64)
    | dict(hop=16, patch_frames=8, bins=24),
    "roformer": dict(name="roformer", audio_channels=1, n_fft=64, hop=32, mel_bands=6)
    | dict(channels=8, blocks=1, heads=2, head_channels=4, linear_layers=1),
    "htdemucs": dict(name="htdemucs", audio_channels=1, channels=8, depth=2, n_fft=256)
    | dict(dconv_comp=2, t_layers=1, t_heads=2, dconv_init=1.0),
    "scnet": dict(name="scnet", audio_channels=1, n_fft=64, hop=16, channels=(8,))
    | dict(shares=(0.4, 0.6), kernels=(3, 4), depths=(1, 1), dual_paths=2),
}
OTHERS = ("open_unmix", "demucs", "wave_u_net", "wavenet", "mm_dense_lstm")
OTHERS += ("spleeter", "roformer", "htdemucs", "scnet")
TIME = 1600


def build(family, dtype="bfloat16"):
    fields = FAMILIES[family]
    small = {} if fields.get("name") in OTHERS else SMALL
    return make_model(**small | fields, compute_dtype=dtype)


def music(model, time=TIME):
    """Mixture and sources: noise whose loudness comes and goes."""
    channels = (model.audio_channels,) if model.audio_channels > 1 else ()
    shape = (2, len(model.sources), *channels, time)
    waves = np.random.default_rng(0).normal(size=shape)
    beats = np.sin(np.arange(time) * np.arange(1, 5)[:, None] / 200) ** 2
    sources = waves * beats.reshape(1, 4, *(1,) * len(channels), time)
    return sources.sum(1).astype(np.float32), sources.astype(np.float32)


def initial(family):
    """``key -> variables``."""
    model = build(family, "float32")
    mixture, sources = music(model)
    given = (mixture, sources) if model.needs_sources else (mixture,)
    return lambda key: model.init(key, *given)


@functools.cache
def variables_of(family):
    return jax.jit(initial(family))(jax.random.key(0))


@functools.cache
def shapes_of(family):
    return jax.eval_shape(initial(family), jax.random.key(0))


def loss_of(model):
    """``(params, memory, mixture, sources) -> (loss, (estimates, others))``.

    A squared error: the gradient of an SI-SDR of -40 dB, as it is before training,
    hangs on how little of the estimate points towards its source.
    """

    def call(*inputs, **options):
        with jax.numpy_dtype_promotion("strict"):  # no type is widened silently
            return model.apply(*inputs, **options)

    def loss(params, memory, mixture, sources):
        apply = functools.partial(call, {"params": params} | memory)
        if "spectra" in model.outputs:
            options = dict(train=True, method="spectra", mutable=["batch_stats"])
            rngs = {"dropout": jax.random.key(1)}
            spectra, kept = apply(mixture, sources, rngs=rngs, **options)
            found, truth = spectra["spectra"], spectra["source_spectra"]
            return jnp.mean(jnp.square(found - truth)), (found, kept)
        if "stages" not in model.outputs:
            given = (mixture, sources) if model.needs_sources else (mixture,)
            estimates = apply(*given).estimates
            return jnp.mean(jnp.square(estimates - sources)), (estimates, ())
        total, others = 0.0, []
        for stage in apply(mixture, sources, method="compare")["stages"]:
            total += jnp.mean(jnp.square(stage.separation.estimates - stage.sources))
            total += jnp.mean(jnp.square(stage.reconstruction - stage.mixture))
            active = jnp.ones(stage.sources.shape[:2], bool)
            total -= latent_similarity(stage.source_latents, active)
            others.append((stage.reconstruction, stage.source_latents))
        return total, (stage.separation.estimates, others)

    return loss


@functools.cache
def learned(family, dtype):
    """Value, outputs and gradient of the loss."""
    model, variables = build(family, dtype), dict(variables_of(family))
    gradient = jax.value_and_grad(loss_of(model), has_aux=True)
    return jax.jit(gradient)(variables.pop("params"), variables, *music(model))


def products(jaxpr, times=1):
    """(types, multiplications) of every matmul and convolution, loops counted."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
            left, right = (operand.aval for operand in eqn.invars)
            out = eqn.outvars[0].aval
            inner = left.size * right.size * out.size
            if eqn.primitive.name == "dot_general":
                (contracted, _), _ = eqn.params["dimension_numbers"]
                inner = out.size * math.prod(left.shape[axis] for axis in contracted)
            yield {left.dtype.name, right.dtype.name}, times * inner
        loops = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        for inner in jaxprs_in_params(eqn.params):
            yield from products(inner, times * loops)


def counted(family, dtype, time):
    """Multiplications of the loss's gradient in bfloat16 and in wider types."""
    model, variables = build(family, dtype), dict(shapes_of(family))
    gradient = jax.grad(loss_of(model), has_aux=True)
    given = variables.pop("params"), variables, *music(model, time)
    narrow = wide = 0
    for types, count in products(jax.make_jaxpr(gradient)(*given).jaxpr):
        narrow, wide = (
            (narrow + count, wide) if types == {"bfloat16"} else (narrow, wide + count)
        )
    return np.array([narrow, wide])


def test_every_family_is_here():
    names = {fields.get("name", "tasnet") for fields in FAMILIES.values()}
    assert names | {"classical"} == set(MODELS)  # medians know no matmul


@pytest.mark.parametrize("family", FAMILIES)
def test_products_that_grow_with_the_music_are_bfloat16(family):
    short, long = (counted(family, "bfloat16", time) for time in (TIME, 2 * TIME))
    # What remains in float32 is as much for twice the music: filters and their
    # inverses, generated networks, offsets of folded norms.
    resampled = [0, 0]
    if family == "meta_tasnet":  # the music of the first stage has half the rate
        halved = jax.make_jaxpr(functools.partial(decimate, factor=2))
        waves = [np.zeros((2, 5, time), np.float32) for time in (TIME, 2 * TIME)]
        resampled = [sum(n for _, n in products(halved(x).jaxpr)) for x in waves]
    wide = (long - short)[1] - (resampled[1] - resampled[0])
    if family == "roformer":  # jax.nn.dot_product_attention: gradients of its scores
        assert 0 < wide < 0.05 * (long - short)[0]
    else:
        assert wide == 0
    assert (long - short)[0] > 0.95 * short[0]  # all of it is music


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_there_are_as_many_products_in_float32(family):
    found = sum(counted(family, "bfloat16", TIME))
    assert [0, found] == counted(family, "float32", TIME).tolist()


def cosine(left, right):
    left, right = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
        for tree in (left, right)
    )
    return left @ right / (np.linalg.norm(left) * np.linalg.norm(right))


@pytest.mark.parametrize(
    "family",
    [
        name
        if name == "demucs"  # of the waveform, with an LSTM; see also test_tcn
        else pytest.param(name, marks=pytest.mark.slow)
        for name in FAMILIES
    ],
)
def test_it_learns_as_float32_does(family):
    (_, outputs), gradient = learned(family, "bfloat16")
    (_, expected), reference = learned(family, "float32")
    leaves = jax.tree.leaves((outputs, gradient))
    assert {leaf.dtype.name for leaf in leaves} == {"float32"}
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    # Eight bits of mantissa are an error of 0.2 % in each of some ten operations in a
    # row; measured are at most 1.3 % of the estimates, and at least a cosine of 0.999.
    difference = np.linalg.norm(outputs[0] - expected[0])
    assert 0 < difference < 0.02 * np.linalg.norm(expected[0])
    assert cosine(gradient, reference) > 0.998


@pytest.mark.parametrize("family", ["simple", "spectrogram", "meta_tasnet"])
def test_what_lies_between_forward_and_backward_is_bfloat16(family):
    model, given = build(family), (shapes_of(family), music(build(family))[0])
    found = jax.eval_shape(model.apply, *given)
    assert (found.latent.dtype, found.masks.dtype) == (jnp.bfloat16, jnp.bfloat16)
    assert found.estimates.dtype == jnp.float32


@pytest.mark.parametrize("family", ["simple", "open_unmix", "demucs"])
def test_music_of_any_length_is_separated(family):
    mixture = np.random.default_rng(1).normal(size=(3000, 2)).astype(np.float32)
    stems, expected = (
        sepjax.separate(
            build(family, dtype),
            variables_of(family),
            mixture,
            sample_rate=8000,
            chunk=TIME / 8000,
            rescale=False,
        )
        for dtype in ("bfloat16", "float32")
    )
    for name, stem in stems.items():
        assert (stem.dtype, stem.shape) == (np.float32, mixture.shape)
        error = np.linalg.norm(stem - expected[name])
        assert 0 < error < 0.02 * np.linalg.norm(expected[name])
