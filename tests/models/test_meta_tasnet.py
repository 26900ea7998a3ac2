"""Meta-TasNet: any number of instruments and stages, and instruments to be added."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sepjax.config import LossConfig
from sepjax.functional.augment import Excerpt
from sepjax.functional.masking import apply_masks
from sepjax.losses import whole_batch
from sepjax.train.objective import make_objective
from tests.support.models import make_model
from tests.support.signals import noise

NAMES = ("vocals", "drums", "bass", "guitar", "wind", "other", "strings")
LOSS = LossConfig(
    over_sources="sum", dissimilarity=3.0, similarity=2.0, reconstruction=0.05
)


def build(instruments=4, stages=1, names=None, **more):
    fields = dict(name="meta_tasnet")
    fields |= dict(sample_rate=8000 * 2 ** (stages - 1), stages=stages)
    fields |= dict(N=16, L=20, W=20, B=8, H=8, layers=2, stack=1, filters=2, mels=8)
    fields |= dict(sources=names or NAMES[:instruments]) | more
    return make_model(**fields)


@functools.cache
def drawn(model, time=800):
    return jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, time)))


@functools.cache
def applied(model):
    """The network, compiled once."""
    return jax.jit(model.apply)


@pytest.mark.parametrize(
    ("stages", "instruments"),
    [
        *((1, 1), (2, 7), (3, 4)),
        *(
            pytest.param(stages, instruments, marks=pytest.mark.slow)
            for stages, instruments in ((1, 4), (1, 7), (2, 1), (2, 4), (3, 1), (3, 7))
        ),
    ],
)
def test_shapes(stages, instruments):
    model, params = build(instruments, stages), None
    last = 20 * 2 ** (stages - 1)
    for time in (1600, 1601, 1):
        wave = jax.ShapeDtypeStruct((2, time), jnp.float32)
        found, again = jax.eval_shape(model.init_with_output, jax.random.key(0), wave)
        frames = -(-time // last)
        assert found.estimates.shape == (2, instruments, time)
        assert found.masks.shape == (2, instruments, frames, 16 * 2 ** (stages - 1))
        assert params is None or params == again
        params = again
    assert len(params["params"]) == stages


def test_masks_sum_to_one():
    model = build(4)
    found = applied(model)(drawn(model), noise(2, 800))
    np.testing.assert_allclose(found.masks.sum(1), 1, rtol=1e-5)
    assert float(found.masks.std()) > 1e-3
    assert bool(jnp.isfinite(found.estimates).all())


@functools.cache
def with_gradient(stages):
    """A model, and value, terms and gradients of its loss, compiled once."""
    model = build(2, stages=stages, layers=1)
    objective = make_objective(model, LOSS)

    def loss(params, sources):
        excerpt = Excerpt(sources.sum(1), sources)
        stages, _ = objective.outputs(params, {}, excerpt, None)
        value, metrics = objective.loss(stages, excerpt, whole_batch(sources, None))
        return value, metrics["terms"]

    return model, jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize("stages", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_silence_is_finite(stages):
    model, gradient = with_gradient(stages)
    found = gradient(drawn(model)["params"], jnp.zeros((2, 2, 800)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_levels_of_silence_are_silent():
    silence = jnp.zeros((2, 2, 800))
    levels = functools.partial(build(2, stages=2).apply, {}, method="levels")
    found = jax.jit(levels)(silence.sum(1), silence)
    assert all(bool((leaf == 0).all()) for leaf in jax.tree.leaves(found))


def logits(model, params, latent):
    run = jax.jit(
        lambda p, x: model.apply(
            p, x, method=lambda m, x: m.stages[0].separator.logits(x)
        )
    )
    return np.asarray(run({"params": params}, latent))


def test_a_fifth_instrument_leaves_the_logits_of_the_others():
    four, five = build(4), build(5)
    params = drawn(four)["params"]
    more = jax.tree.map(lambda leaf: leaf, params)
    embedding = more["stages_0"]["separator"]["embedding"]
    embedding["wind"] = noise(8, seed=5)
    latent = noise(2, 30, 16)
    before, after = logits(four, params, latent), logits(five, more, latent)
    assert after.shape[1] == 5
    # Products over sources may add up in another order, which six norms magnify.
    np.testing.assert_allclose(after[:, :4], before, atol=1e-4)
    assert np.abs(after[:, 4:] - before).max(axis=(0, 2, 3)).min() > 0.01


def test_order_of_the_instruments_is_that_of_the_names():
    names = ("drums", "vocals", "guitar", "bass")
    one, other = build(4), build(names=names)
    variables, wave = drawn(one), noise(2, 800)
    expected = np.asarray(applied(one)(variables, wave).estimates)
    found = np.asarray(applied(other)(variables, wave).estimates)
    order = [NAMES.index(name) for name in names]
    np.testing.assert_allclose(found, expected[:, order], atol=1e-5)
    assert np.abs(found - expected).max() > 1e-3


def test_levels_are_sums_of_sources_and_equally_loud():
    model = build(3, stages=3)
    sources = noise(2, 3, 1999)
    levels = functools.partial(model.apply, {}, method="levels")
    mixtures, references = jax.jit(levels)(sources.sum(1), sources)
    assert [one.shape for one in mixtures] == [(2, 500), (2, 1000), (2, 2000)]
    for mixture, each in zip(mixtures, references):
        # Sums of float32 products of a few hundred taps.
        np.testing.assert_allclose(each.sum(1), mixture, atol=1e-4)
        np.testing.assert_allclose(mixture.std(-1), mixtures[-1].std(-1), rtol=1e-5)
    np.testing.assert_array_equal(references[-1][..., :1999], sources)


def test_the_stage_after_is_given_the_masked_latents():
    model = build(2, stages=2)
    variables, wave = drawn(model), noise(1, 800)
    first, second = jax.jit(functools.partial(model.apply, method="separate_levels"))(
        variables, (wave[:, ::2], wave)
    )
    context = apply_masks(first.latent, first.masks)
    run = jax.jit(
        lambda v, *x: model.apply(v, *x, method=lambda m, *x: m.stages[1](*x))
    )
    alone = run(variables, wave, context)
    np.testing.assert_allclose(alone.estimates, second.estimates, atol=1e-5)
    without = run(variables, wave, jnp.zeros_like(context))
    assert float(jnp.abs(without.estimates - second.estimates).max()) > 1e-3


@pytest.mark.slow
def test_the_loss_of_every_stage_falls():
    model, gradient = with_gradient(2)
    time = np.arange(800) / 16000
    tones = np.sin(2 * np.pi * np.array([[200.0], [2000.0]]) * time)
    sources = jnp.asarray(np.stack([tones, tones * [[0.5], [1.0]]]), jnp.float32)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def update(params, state, grads):
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state

    params = drawn(model)["params"]
    state, history = optimizer.init(params), []
    for _ in range(12):
        (value, terms), grads = gradient(params, sources)
        params, state = update(params, state, grads)
        history.append([float(terms[f"stage_{i}/loss"]) for i in range(2)])
        assert float(value) == pytest.approx(sum(history[-1]), rel=1e-5)
    fall = np.subtract(history[0], history[-1])
    assert fall.min() > 3  # decibels, summed over two sources


def test_bfloat16_stays_close():
    wave = noise(2, 800)
    full = build(4)
    half = build(4, compute_dtype="bfloat16")
    expected = applied(full)(drawn(full), wave).masks
    found = applied(half)(drawn(full), wave).masks
    assert found.dtype == jnp.bfloat16
    # Eight bits of mantissa, twice five layers deep; the norms are float32.
    assert float(jnp.abs(found - expected).max()) < 0.1
    assert float(jnp.abs(found - expected).mean()) < 0.01


def test_independent_networks_have_more_parameters():
    def size(**more):
        model = build(4, **more)
        shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 800)))
        separator = shapes["params"]["stages_0"]["separator"]
        return sum(leaf.size for leaf in jax.tree.leaves(separator))

    # A generator has six times a network (five dimensions and an offset) and little
    # more, however many instruments there are; independent ones have one each.
    assert size() / size(independent_params=True) == pytest.approx(6 / 4, rel=0.2)
