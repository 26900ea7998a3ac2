"""Low-rank adaptation, against factors that are trained as parameters of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sepjax.config import OptimConfig, resolve
from sepjax.train.optim import make_optimizer
from sepjax.train.optim.low_rank import low_rank
from tests.support.toy import toy_config

RANK = 2


def params_and_loss():
    keys = jax.random.split(jax.random.key(1), 4)
    params = {
        "first": {"kernel": jax.random.normal(keys[0], (7, 5)), "bias": jnp.ones(5)},
        # Matrices side by side, as those of sources are.
        "second": {"kernel": jax.random.normal(keys[1], (3, 5, 4))},
    }
    x, y = jax.random.normal(keys[2], (9, 7)), jax.random.normal(keys[3], (3, 9, 4))

    def loss(params):
        first, second = params["first"], params["second"]["kernel"]
        hidden = jnp.tanh(x @ first["kernel"] + first["bias"][None])
        return jnp.mean((jnp.einsum("ni,mio->mno", hidden, second) - y) ** 2)

    return params, loss


def trained(optimizer, params, loss, steps=6):
    @jax.jit
    def run(params):
        state = optimizer.init(params)
        for _ in range(steps):
            gradients = jax.grad(loss)(params)
            moves, state = optimizer.update(gradients, state, params)
            params = optax.apply_updates(params, moves)
        return params, state

    return run(params)


def test_the_merged_model_is_that_of_trained_factors():
    start, loss = params_and_loss()
    found, state = trained(low_rank(optax.adam(0.05), RANK), start, loss)

    def merged(factors):
        added = {name: pair["a"] @ pair["b"] for name, pair in factors.items()}
        first = start["first"] | {
            "kernel": start["first"]["kernel"] + added["first/kernel"]
        }
        second = {"kernel": start["second"]["kernel"] + added["second/kernel"]}
        return {"first": first, "second": second}

    drawn = low_rank(optax.adam(0.05), RANK).init(start).factors
    factors, _ = trained(optax.adam(0.05), drawn, lambda f: loss(merged(f)))
    # Both add the same steps up, in another order of roundings.
    for own, other in zip(jax.tree.leaves(found), jax.tree.leaves(merged(factors))):
        np.testing.assert_allclose(own, other, atol=2e-5)
    unmerged = merged(state.factors)
    for own, other in zip(jax.tree.leaves(found), jax.tree.leaves(unmerged)):
        np.testing.assert_allclose(own, other, atol=2e-6)
    assert loss(found) < loss(start)


def test_changes_have_the_rank_and_all_else_stays():
    start, loss = params_and_loss()
    found, _ = trained(low_rank(optax.adam(0.05), RANK), start, loss)
    np.testing.assert_array_equal(found["first"]["bias"], start["first"]["bias"])
    for name in start:
        change = np.asarray(found[name]["kernel"] - start[name]["kernel"], np.float64)
        values = np.linalg.svd(change, compute_uv=False)
        assert (values[..., RANK] < 1e-5 * values[..., 0]).all()
        assert (values[..., RANK - 1] > 1e-3 * values[..., 0]).all()


def test_parts_can_be_frozen_but_not_all():
    start, loss = params_and_loss()
    found, _ = trained(low_rank(optax.sgd(0.1), 1, freeze=["first"]), start, loss)
    np.testing.assert_array_equal(found["first"]["kernel"], start["first"]["kernel"])
    assert (found["second"]["kernel"] != start["second"]["kernel"]).any()
    with pytest.raises(ValueError, match="no matrix"):
        low_rank(optax.sgd(0.1), 1).init({"gain": jnp.ones(4)})


def test_a_rank_above_the_size_is_the_size():
    factors = low_rank(optax.sgd(0.1), 99).init({"kernel": jnp.ones((7, 5))}).factors
    assert factors["kernel"]["a"].shape == (7, 5)


def test_a_configured_optimizer_clips_the_factors_and_does_not_decay():
    start, loss = params_and_loss()
    config = OptimConfig(lr=0.05, clip=1e-3, weight_decay=10.0)
    found, state = trained(make_optimizer(config, rank=RANK, seed=3), start, loss, 1)
    assert float(state.hyperparams["learning_rate"]) == pytest.approx(0.05)
    # Adam's first step is the rate, whatever the length of the gradient; a decay of ten
    # would have moved all of it by half.
    change = np.abs(found["first"]["kernel"] - start["first"]["kernel"])
    assert 0 < change.max() < 0.5


def test_it_needs_a_trained_model():
    with pytest.raises(
        ValueError, match=r"train\.lora=4 .* name train\.pretrained_from"
    ):
        resolve(toy_config(train__lora=4))
