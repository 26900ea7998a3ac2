"""Ranger against the traces of Meta-TasNet's own, and where its parts could break."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sepjax.config import OptimConfig
from sepjax.models.contract import SeparationModel
from sepjax.train import make_optimizer
from sepjax.train.optim.chain import LAST_LINKS, OPTIMIZERS, decayed
from sepjax.train.optim.ranger import lookahead, scale_by_rectified_adam


def trajectory(optimizer, params, grads, rates):
    """Parameters after each step, under jit."""

    def step(carry, now):
        params, state = carry
        grad, rate = now
        state.hyperparams["learning_rate"] = rate
        updates, state = optimizer.update(grad, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    start = (params, optimizer.init(params))
    return jax.lax.scan(step, start, (grads, rates))[1]


def reference(shared_data, name, dtype):
    """The settings of a stored trace, what goes in and what comes out."""
    table = np.load(shared_data / "model_ref" / "optimisers.npz")
    wanted = json.loads(table["meta"].item())["defaults"][name]
    params, grads, known = (
        {f"part_{i}": {"weight": table[f"{key}_{i}"]} for i in (0, 1)}
        if key != "out"
        else {f"part_{i}": {"weight": table[f"out/{name}/{i}"]} for i in (0, 1)}
        for key in ("in/p0", "in/grads", "out")
    )
    rates = np.full(20, wanted["lr"])
    if wanted["varying_lr"]:
        rates = table["in/lr_varying"]
    cast = functools.partial(jax.tree.map, lambda leaf: jnp.asarray(leaf, dtype))
    return wanted, cast(params), cast(grads), cast(rates), known


def ranger(monkeypatch, wanted):
    b1, b2 = wanted["betas"]
    moments = functools.partial(scale_by_rectified_adam, b1=b1, b2=b2)
    ahead = functools.partial(lookahead, wanted["k"], wanted["alpha"])
    monkeypatch.setitem(OPTIMIZERS, "ranger", moments)
    monkeypatch.setitem(LAST_LINKS, "ranger", ahead)
    return make_optimizer(
        OptimConfig(
            optimizer="ranger",
            lr=wanted["lr"],
            weight_decay=wanted["weight_decay"],
            decay="all",
            clip=0.0,
        )
    )


@pytest.mark.parametrize("name", ["ranger", "ranger_k4_alpha08", "ranger_varying_lr"])
def test_steps_are_those_of_meta_tasnet(shared_data, monkeypatch, name):
    with jax.enable_x64(True):
        wanted, *given, known = reference(shared_data, name, float)
        path = trajectory(ranger(monkeypatch, wanted), *given)
    jax.tree.map(
        # float64 on both sides, twenty steps of about 0.01
        functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-12),
        path,
        known,
    )


def test_single_precision_rectifies_at_the_same_step(shared_data, monkeypatch):
    wanted, *given, known = reference(shared_data, "ranger", np.float32)
    path = trajectory(ranger(monkeypatch, wanted), *given)
    # Rounding of parameters near one leaves 2.4e-7; 1 - b2^t by subtraction, 5e-6.
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-6), path, known
    )


def test_the_defaults_are_the_recipe(shared_data):
    wanted, params, grads, rates, known = reference(shared_data, "ranger", np.float32)
    config = OptimConfig(optimizer="ranger", decay="all", clip=0.0)
    config.weight_decay = wanted["weight_decay"]
    path = trajectory(make_optimizer(config), params, grads, rates)
    for part, leaf in path.items():
        np.testing.assert_allclose(leaf["weight"], known[part]["weight"], atol=1e-6)


def test_momentum_first_then_rectified():
    # Constant gradients: m / (1 - b1^t) is the gradient, v / (1 - b2^t) its square.
    transform = scale_by_rectified_adam(eps=0.0)
    gradient = jnp.array([0.5, -2.0])
    state, directions = transform.init(gradient), []
    for _ in range(2000):
        direction, state = jax.jit(transform.update)(gradient, state)
        directions.append(np.asarray(direction))
    np.testing.assert_allclose(directions[:5], [[0.5, -2.0]] * 5, rtol=1e-5)
    # At step 6, rho is 5.994; r^2 = (rho - 4) (rho - 2) / rho / 1999 nearly.
    length = np.sqrt(1.994 * 3.994 / 5.994 / 1990)
    np.testing.assert_allclose(directions[5], [length, -length], rtol=1e-2)
    # In the end r tends to one: rho is 1371 of 1999 at step 2000.
    assert np.all(np.abs(directions[-1]) > 0.8)
    assert np.all(np.abs(directions[-1]) < 1.0)


def test_lookahead_follows_two_loops():
    period, part = 3, 0.3
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(11, 4)).astype(np.float32)
    transform = lookahead(period, part)
    params = jnp.asarray(rng.normal(size=4), jnp.float32)
    state = transform.init(params)
    slow = fast = np.asarray(params, np.float64)
    for count, step in enumerate(steps, start=1):
        update, state = transform.update(jnp.asarray(step), state, params)
        if count % period:
            np.testing.assert_array_equal(update, step)
        params = params + update
        fast = fast + step
        if count % period == 0:
            slow = fast = slow + part * (fast - slow)
        np.testing.assert_allclose(params, fast, atol=1e-6)
        np.testing.assert_allclose(state.slow, slow, atol=1e-6)


def test_replaced_parameters_are_not_drawn_back():
    transform = lookahead(sync_period=1, step_size=0.5)
    state = transform.init(jnp.array(0.0))
    update, state = transform.update(jnp.array(1.0), state, jnp.array(100.0))
    assert (float(update), float(state.slow)) == (0.5, 100.5)


def test_lookahead_names_what_it_lacks():
    with pytest.raises(ValueError, match="sync_period=0"):
        lookahead(0)
    transform = lookahead()
    state = transform.init(jnp.array(0.0))
    with pytest.raises(ValueError, match="needs params"):
        transform.update(jnp.array(1.0), state)


PARAMS = {
    "encoder": {"kernel": 1.0, "bias": 1.0},
    "spectrogram": {"mean": 1.0, "std": 1.0, "scale": 1.0},
    "mask": {"embedding": 1.0},
}


class Standardized(SeparationModel):
    constants = ("mean", "std")


def test_all_that_is_trained_decays():
    config = OptimConfig(optimizer="ranger", weight_decay=0.1, lr=0.5, decay="all")
    params = jax.tree.map(jnp.asarray, PARAMS)
    optimizer = make_optimizer(config, freeze=["encoder"], model=Standardized())
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    moved = jax.tree.map(float, updates)
    assert moved["encoder"] == {"kernel": 0.0, "bias": 0.0}  # frozen
    assert moved["spectrogram"]["mean"] == moved["spectrogram"]["std"] == 0.0
    assert moved["spectrogram"]["scale"] == pytest.approx(-0.05)
    assert moved["mask"]["embedding"] == pytest.approx(-0.05)
    kernels = decayed(PARAMS)
    assert kernels["encoder"] == {"kernel": True, "bias": False}
    assert not any(jax.tree.leaves(kernels["spectrogram"] | kernels["mask"]))


def test_frozen_parts_stay_exactly_as_they_are():
    optimizer = make_optimizer(
        OptimConfig(optimizer="ranger", decay="all", weight_decay=0.1),
        freeze=["frozen"],
    )
    params = {"frozen": jnp.array([0.1, 1e8, -0.3]), "free": jnp.ones(3)}
    grads = {"frozen": jnp.zeros((13, 3)), "free": jnp.ones((13, 3))}
    path = trajectory(optimizer, params, grads, jnp.full(13, 0.7))
    np.testing.assert_array_equal(path["frozen"], np.tile(params["frozen"], (13, 1)))
    assert np.all(np.diff(path["free"][:6], axis=0) != 0)


def test_seeds_side_by_side_are_seeds_alone():
    optimizer = make_optimizer(OptimConfig(optimizer="ranger", schedule="restarts"))
    keys = jax.random.split(jax.random.key(0), 2)
    params = {"kernel": jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)}
    states = jax.vmap(optimizer.init)(params)

    def step(params, state):
        updates, state = optimizer.update(params, state, params)
        return optax.apply_updates(params, updates), state

    one = {"kernel": params["kernel"][1]}
    state, together = optimizer.init(one), params
    alone, both = jax.jit(step), jax.jit(jax.vmap(step))
    for _ in range(7):
        together, states = both(together, states)
        one, state = alone(one, state)
    assert states.hyperparams["learning_rate"].shape == (2,)
    # Two programs that round otherwise; the steps are 0.001 long.
    np.testing.assert_allclose(together["kernel"][1], one["kernel"], atol=1e-6)


def test_other_optimizers_have_no_last_link():
    def links(**fields):
        state = make_optimizer(OptimConfig(**fields)).init({"kernel": jnp.ones(2)})
        return [type(link).__name__ for link in state.inner_state]

    assert "LookaheadState" not in links()
    assert links(optimizer="ranger")[-1] == "LookaheadState"
