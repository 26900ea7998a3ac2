"""One step: it learns, every parameter takes part, silence does no harm."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.augment import Excerpt, normalize
from sepjax.models.build import model_of
from sepjax.train import init_state, make_optimizer, make_train_step
from sepjax.train.objective import make_objective
from tests.support.models import gradient_of
from tests.support.toy import TIME, toy_config, toy_excerpt

SINC, GAMMATONE = dict(fb_type="param_sinc"), dict(fb_type="pmpgtf")
FAMILIES = {
    "simple": dict(encoding="simple"),
    "simple_gammatone_init": dict(encoding="simple", gammatone_init=True),
    "sinc_free": dict(encoding="filterbanks", **SINC),
    "sinc_dec": dict(encoding="filterbanks", who_is_pinv="dec", **SINC),
    "sinc_enc": dict(encoding="filterbanks", who_is_pinv="enc", **SINC),
    "gammatone_free": dict(encoding="filterbanks", **GAMMATONE),
    "gammatone_dec": dict(encoding="filterbanks", who_is_pinv="dec", **GAMMATONE),
    "gammatone_enc": dict(encoding="filterbanks", who_is_pinv="enc", **GAMMATONE),
    "gammatone_conv": dict(encoding="filterbanks", decoder="conv", **GAMMATONE),
    "hybrid_sinc": dict(encoding="hybrid", **SINC),
    "hybrid_gammatone": dict(encoding="hybrid", **GAMMATONE),
    "hybrid_conv": dict(encoding="hybrid", fb_type="conv"),
    "hybrid_two_layers": dict(encoding="hybrid", filters=2, **GAMMATONE),
    "hybrid_bank_decoder": dict(encoding="hybrid", decoder="hybrid", **SINC),
    "hybrid_dec": dict(encoding="hybrid", who_is_pinv="dec", **SINC),
}
COMPUTED = ("simple", "sinc_dec", "gammatone_enc", "hybrid_bank_decoder", "hybrid_dec")


@dataclasses.dataclass
class Lesson:
    """A compiled step of the toy model and the state it starts from."""

    step: object
    state: object
    gradient: object


@pytest.fixture(scope="module")
def lesson():
    config = toy_config(model__encoding="hybrid", optim__weight_decay=0.0)
    model, optimizer = model_of(config), make_optimizer(config.optim)
    init = jax.jit(lambda key: init_state(model, optimizer, key, TIME))
    return Lesson(
        jax.jit(make_train_step(make_objective(model), optimizer)),
        init(jax.random.key(0)),
        jax.jit(gradient_of(model)),
    )


def leaves(tree):
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}


def last_residual(name, values):
    """The part of the last block that adds to a residual nobody reads."""
    if "['tcn']['output']" not in name:
        return np.zeros(values.shape, bool)
    unread = np.zeros(values.shape, bool)
    unread[-1, ..., : values.shape[-1] // 2] = True
    return unread


def test_overfits_one_batch_and_moves_every_parameter(lesson):
    excerpt = normalize(Excerpt(*map(jnp.asarray, toy_excerpt(4))))
    state, curve = lesson.state, []
    for _ in range(150):
        state, metrics = lesson.step(state, excerpt)
        curve.append(float(metrics["loss"]))
    assert int(state.step) == 150
    assert -min(curve) >= -curve[0] + 10, f"{-curve[0]:.1f} to {-min(curve):.1f} dB"
    before, after = leaves(lesson.state.params), leaves(state.params)
    for name, old in before.items():
        moved, unread = after[name] != old, last_residual(name, old)
        assert not moved[unread].any(), name
        # A filter may be dead behind a ReLU, a whole tensor may not.
        assert moved[~unread].mean() > 0.5, name


def test_every_parameter_receives_gradient(lesson):
    excerpt = normalize(Excerpt(*map(jnp.asarray, toy_excerpt(4))))
    grads, metrics = lesson.gradient(lesson.state.params, excerpt)
    assert np.isfinite(metrics["loss"])
    for name, grad in leaves(grads).items():
        unread = last_residual(name, grad)
        assert np.all(np.isfinite(grad)), name
        assert not grad[unread].any(), name
        assert np.mean(grad[~unread] != 0) > 0.5, name


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_step(family):
    model, gradient, excerpt = family_parts(family)
    shapes = jax.eval_shape(model.init, jax.random.key(0), excerpt.mixture)["params"]
    grads, metrics = jax.eval_shape(gradient, shapes, excerpt)
    assert jax.tree.map(jnp.shape, grads) == jax.tree.map(jnp.shape, shapes)
    assert metrics["si_sdr"].shape == (2,)


@pytest.mark.parametrize("family", COMPUTED)
def test_gradient_reaches_every_filter(family):
    # The separator is the same for all: with ideal masks there is less to compile.
    model, gradient, excerpt = family_parts(family, model__ideal_mask=True)
    init = jax.jit(lambda key: model.init(key, *excerpt)["params"])
    grads, _ = jax.jit(gradient)(init(jax.random.key(0)), excerpt)
    grads = leaves(grads)
    for name, grad in grads.items():
        assert np.all(np.isfinite(grad)), name
        assert np.mean(grad != 0) > 0.4, name
    logits = [name for name in grads if "bank" in name and "'kernel'" not in name]
    assert bool(logits) == (family != "simple"), logits


def family_parts(family, **more):
    fields = {f"model__{name}": value for name, value in FAMILIES[family].items()}
    model = model_of(toy_config(**fields, **more))
    excerpt = normalize(Excerpt(*map(jnp.asarray, toy_excerpt(2))))
    return model, gradient_of(model), excerpt


def test_silent_batch_does_no_harm(lesson):
    silence = Excerpt(jnp.zeros((4, TIME)), jnp.zeros((4, 2, TIME)))
    grads, metrics = lesson.gradient(lesson.state.params, silence)
    assert float(metrics["loss"]) == 0
    assert all(not grad.any() for grad in leaves(grads).values())
    state, metrics = lesson.step(lesson.state, silence)
    assert float(metrics["grad_norm"]) == 0
    before, after = leaves(lesson.state.params), leaves(state.params)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    # The moments are sound too: a real batch afterwards moves by the rate at most.
    excerpt = normalize(Excerpt(*map(jnp.asarray, toy_excerpt(4))))
    state, _ = lesson.step(state, excerpt)
    after = leaves(state.params)
    longest = max(np.abs(after[name] - before[name]).max() for name in before)
    assert 0 < longest < 2e-2


def test_silent_source_is_excluded(lesson):
    excerpt = toy_excerpt(4)
    excerpt.sources[:, 1] = 0
    excerpt = normalize(Excerpt(jnp.asarray(excerpt.sources[:, 0]), excerpt.sources))
    excerpt = Excerpt(*map(jnp.asarray, excerpt))
    grads, metrics = lesson.gradient(lesson.state.params, excerpt)
    # The mean is over the one class that sounds.
    assert float(metrics["loss"]) == pytest.approx(-float(metrics["si_sdr"][0]))
    assert float(metrics["si_sdr"][1]) == 0
    mask = np.asarray(grads["separator"]["mask"]["kernel"])
    half = mask.shape[-1] // 2
    assert mask[:, :half].any()
    assert not mask[:, half:].any()


def test_mean_over_active_weights_items_not_batches(lesson):
    # One item of four has the second class: its value counts fully for that class.
    excerpt = toy_excerpt(4)
    excerpt.sources[1:, 1] = 0
    full = normalize(Excerpt(jnp.asarray(excerpt.sources.sum(1)), excerpt.sources))
    _, metrics = lesson.gradient(lesson.state.params, full)
    first = Excerpt(*(jnp.tile(x[:1], (4,) + (1,) * (x.ndim - 1)) for x in full))
    _, alone = lesson.gradient(lesson.state.params, first)
    np.testing.assert_allclose(metrics["si_sdr"][1], alone["si_sdr"][1], rtol=1e-4)
