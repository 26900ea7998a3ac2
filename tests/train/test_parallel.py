"""A training step of four devices, under jit and under pmap, is that of one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sepjax.config import with_values
from sepjax.functional.augment import Excerpt, prepare_excerpts
from sepjax.models.build import model_of
from sepjax.train import TrainState, make_optimizer
from sepjax.train.loop import make_program
from sepjax.train.mesh import make_mesh, replicated, shard_batch
from tests.support.models import gradient_of
from tests.support.toy import ToyData, toy_config

BATCH, DEVICES = 8, 4


@pytest.fixture(scope="module")
def parts():
    config = toy_config(train__batch_size=BATCH, optim__clip=0.5)
    model = model_of(config)
    excerpt = jax.device_get(jax.jit(prepare_excerpts)(batch_of(config)))
    params = jax.jit(model.init)(jax.random.key(0), excerpt.mixture[:1])["params"]
    gradient = gradient_of(model)
    reference = jax.device_get(jax.jit(gradient)(params, Excerpt(*excerpt)))
    return config, model, excerpt, params, reference


def batch_of(config):
    """The second class sounds in three of eight items.

    These are on two of four devices: a mean of the devices' means weighs them wrongly.
    """
    batch = ToyData(config).batch(0)
    batch["chunks"][2:7, 1] = 0
    return batch


def split(tree):
    return jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), tree)


def test_naive_mean_over_devices_would_be_wrong(parts):
    _, model, excerpt, params, reference = parts
    alone = jax.pmap(gradient_of(model), in_axes=(None, 0))
    grads, _ = jax.device_get(alone(params, split(excerpt)))
    naive = jax.tree.map(lambda leaf: leaf.mean(0), grads)
    norm = sum(np.sum(leaf**2) for leaf in jax.tree.leaves(reference[0])) ** 0.5
    wrong = jax.tree.map(np.subtract, naive, reference[0])
    error = sum(np.sum(leaf**2) for leaf in jax.tree.leaves(wrong)) ** 0.5
    assert error > 0.05 * norm


@pytest.mark.parametrize("form", ["jit", "pmap"])
def test_training_program_of_four_devices(parts, form):
    config, _, _, params, reference = parts
    mesh = make_mesh()
    config = with_values(config, {"train.parallel": form})
    program = make_program(config, mesh)
    state = fresh(make_optimizer(config.optim), params)
    state = jax.device_put(jax.tree.map(np.array, state), replicated(mesh))
    batch = shard_batch(mesh, batch_of(config))
    assert len(batch["chunks"].addressable_shards) == DEVICES
    assert batch["chunks"].addressable_shards[0].data.shape[0] == BATCH // DEVICES
    state, metrics = program.train_step(state, batch)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
    assert_step(config, state, metrics, params, reference)


def fresh(optimizer, params):
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def assert_step(config, state, metrics, params, reference):
    """The step is the optimizer's with the gradient of one device."""
    grads, expected = reference
    optimizer = make_optimizer(config.optim)

    @jax.jit
    def update(grads, params):
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return optax.apply_updates(params, updates), optax.tree.norm(grads)

    wanted, norm = jax.device_get(update(grads, params))
    assert int(state.step) == 1
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(metrics["si_sdr"], expected["si_sdr"], rtol=1e-4)
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-4)
    assert norm > config.optim.clip  # so clipping takes part
    # Adam's first step is lr * sign(gradient): where a gradient is all but zero its
    # sign is a matter of rounding, hence a share of the entries and not all.
    same = [
        np.isclose(leaf, other, rtol=0, atol=1e-3 * config.optim.lr).ravel()
        for leaf, other in zip(*map(jax.tree.leaves, (state.params, wanted)))
    ]
    assert np.mean(np.concatenate(same)) > 0.97


def test_devices_stand_in_the_order_in_which_rows_are_dealt_out():
    # Process p is given rows p n to (p + 1) n - 1 of a batch: in the order of a TPU's
    # network, as jax.make_mesh has it, they would lie on another process' chips.
    scattered = [jax.devices()[i] for i in (2, 0, 3, 1)]
    assert list(make_mesh(scattered).devices) == jax.devices()
