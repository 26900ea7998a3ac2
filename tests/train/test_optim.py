"""Optimisers against PyTorch's traces, and what weight decay must not touch."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sepjax.config import OptimConfig
from sepjax.models.build import model_of
from sepjax.train import make_optimizer
from sepjax.train.optim import OPTIMIZERS, decayed
from tests.support.models import config_of

# Reference: our optimiser, kind of decay. The settings themselves are read from it.
REFERENCES = {
    "adam": ("adam", "decoupled"),
    "adam_l2": ("adam", "l2"),
    "adamw": ("adam", "decoupled"),
    "adamw_clip": ("adam", "decoupled"),
    "adamw_varying_lr": ("adam", "decoupled"),
    "radam": ("radam", "decoupled"),
    "radam_l2": ("radam", "l2"),
    "radam_decoupled": ("radam", "decoupled"),
}
# RAdam of optax adds its epsilon after the bias correction, that of torch before.
TOLERANCE = {"adam": 1e-12, "radam": 1e-6}


@pytest.mark.parametrize("name", REFERENCES)
def test_steps_are_those_of_pytorch(shared_data, monkeypatch, name):
    table = np.load(shared_data / "model_ref" / "optimisers.npz")
    wanted = json.loads(table["meta"].item())["defaults"][name]
    kind, decay_kind = REFERENCES[name]
    b1, b2 = wanted["betas"]
    moments = functools.partial(OPTIMIZERS[kind], b1=b1, b2=b2)
    monkeypatch.setitem(OPTIMIZERS, kind, moments)
    with jax.enable_x64(True):
        optimizer = make_optimizer(
            OptimConfig(
                optimizer=kind,
                lr=wanted["lr"],
                weight_decay=wanted["weight_decay"],
                weight_decay_kind=decay_kind,
                clip=wanted["clip"] or 0.0,
            )
        )
        grads = {
            str(i): {"kernel": jnp.asarray(table[f"in/grads_{i}"])} for i in (0, 1)
        }
        params = {str(i): {"kernel": jnp.asarray(table[f"in/p0_{i}"])} for i in (0, 1)}
        rates = jnp.full(20, wanted["lr"])
        if wanted["varying_lr"]:
            rates = jnp.asarray(table["in/lr_varying"])

        def step(carry, now):
            params, state = carry
            grad, rate = now
            state.hyperparams["learning_rate"] = rate
            updates, state = optimizer.update(grad, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), (params, optax.tree.norm(grad))

        start = (params, optimizer.init(params))
        _, (path, norms) = jax.lax.scan(step, start, (grads, rates))
        for i in (0, 1):
            # float64 on both sides; torch clips by norm + 1e-6, optax by the norm.
            found, known = path[str(i)]["kernel"], table[f"out/{name}/{i}"]
            tolerance = 1e-7 if wanted["clip"] else TOLERANCE[kind]
            np.testing.assert_allclose(found, known, rtol=0, atol=tolerance)
        if wanted["clip"]:
            np.testing.assert_allclose(norms, table[f"out/{name}/grad_norm"], 1e-12)
            assert np.any(norms > wanted["clip"])


def test_l2_and_decoupled_decay_differ():
    def after(kind):
        config = OptimConfig(weight_decay=0.1, weight_decay_kind=kind, lr=0.1)
        optimizer = make_optimizer(config)
        params = {"kernel": jnp.array([1.0, 100.0])}
        grads = {"kernel": jnp.array([0.1, 0.1])}
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return updates["kernel"]

    # Adam's first step has length lr whatever the gradient: L2 decay drowns in it.
    np.testing.assert_allclose(after("l2"), [-0.1, -0.1], rtol=1e-5)
    np.testing.assert_allclose(after("decoupled"), [-0.11, -1.1], rtol=1e-5)


@pytest.mark.parametrize("fb_type", ["pmpgtf", "param_sinc"])
def test_decay_touches_kernels_and_nothing_else(fb_type):
    config = config_of(N=16, B=8, H=16, layers=2, stack=1, fb_type=fb_type)
    config.model.decoder = "hybrid"
    model = model_of(config)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 400)))["params"]
    )
    mask = jax.tree_util.tree_flatten_with_path(decayed(shapes))[0]
    named = {jax.tree_util.keystr(path): touched for path, touched in mask}
    for name, touched in named.items():
        assert touched == name.endswith("['kernel']"), name
    spared = " ".join(name for name, touched in named.items() if not touched)
    logits = {"pmpgtf": ("center", "bandwidth", "phase"), "param_sinc": ("low",)}
    for part in (*logits[fb_type], "gain", "bias", "prelu"):
        assert part in spared
    assert sum(named.values()) >= 7  # encoder, bottlenecks, tcn, mask, decoder


def test_decay_alone_moves_only_the_decayed():
    params = {
        "mask": {"kernel": jnp.ones(2), "bias": jnp.ones(2)},
        "prelu": jnp.ones(()),
    }
    optimizer = make_optimizer(OptimConfig(lr=0.5, weight_decay=0.1))
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    np.testing.assert_allclose(updates["mask"]["kernel"], -0.05, rtol=1e-6)
    assert not updates["mask"]["bias"].any()
    assert not updates["prelu"].any()


def test_learning_rate_is_replaced_without_recompilation():
    optimizer = make_optimizer(OptimConfig(weight_decay=0.0, clip=0.0))
    params, traces = {"kernel": jnp.zeros(3)}, []

    @jax.jit
    def step(params, state):
        traces.append(1)
        updates, state = optimizer.update({"kernel": jnp.ones(3)}, state, params)
        return updates["kernel"][0], state

    state = optimizer.init(params)
    lengths = []
    for rate in (1e-3, 1e-3, 2.5e-4):
        state.hyperparams["learning_rate"] = jnp.asarray(rate, jnp.float32)
        length, state = step(params, state)
        lengths.append(float(length))
    # Adam's steps have the length of the rate, but for rounding of its moments.
    np.testing.assert_allclose(lengths, [-1e-3, -1e-3, -2.5e-4], rtol=1e-4)
    assert len(traces) == 1


def test_unknown_optimizer_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'adam'"):
        make_optimizer(OptimConfig(optimizer="adamm"))
