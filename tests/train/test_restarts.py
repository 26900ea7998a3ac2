"""Learning rates that restart: Meta-TasNet's law, and whole runs under it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.config import OptimConfig
from sepjax.train import checkpoint, make_optimizer
from sepjax.train.optim.chain import cosine_restarts
from tests.support.toy import (
    log,
    one_device,
    run,
    shared_program,
    stop,
    toy_config,
)


@pytest.mark.parametrize("case", ["default", "small"])
def test_law_is_that_of_meta_tasnet(shared_data, case):
    path = shared_data / "model_ref" / "sgdr_learning_rate.json"
    known = json.loads(path.read_text())[case]
    law = dict(every=known["period"], decay=known["mul"])
    counts = np.array(known["steps"]) - 1
    with jax.enable_x64(True):
        rates = cosine_restarts(known["lr"], **law)(jnp.asarray(counts))
    # The reference takes the cosine's difference, which leaves 1e-19 near zero.
    np.testing.assert_allclose(rates, known["values"], rtol=1e-13, atol=1e-18)
    single = cosine_restarts(known["lr"], **law)(jnp.asarray(counts, jnp.int32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, known["values"], rtol=2e-6)


def test_rates_are_those_of_the_recorded_training(shared_data):
    table = np.load(shared_data / "model_ref" / "meta_training.npz")
    rates = cosine_restarts(1e-3, every=6)(jnp.arange(14))
    np.testing.assert_allclose(rates, table["out/lr"], rtol=1e-6)


def test_state_shows_the_rate_of_its_last_step():
    config = OptimConfig(schedule="restarts", restart_every=4, lr=0.1, clip=0.0)
    config.weight_decay = 0.0
    optimizer, traces = make_optimizer(config), []

    @jax.jit
    def step(params, state):
        traces.append(1)
        updates, state = optimizer.update({"kernel": jnp.ones(1)}, state, params)
        return updates["kernel"][0], state

    params = {"kernel": jnp.zeros(1)}
    state = optimizer.init(params)
    rates = cosine_restarts(0.1, every=4)(jnp.arange(10))
    # Before the first step it is the rate of that step.
    assert float(state.hyperparams["learning_rate"]) == pytest.approx(float(rates[0]))
    for rate in rates:
        length, state = step(params, state)
        shown = float(state.hyperparams["learning_rate"])
        assert shown == pytest.approx(float(rate), rel=1e-6)
        # Under constant gradients Adam's steps have the length of the rate.
        assert -float(length) == pytest.approx(shown, rel=1e-3)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("schedule", "restart"), ("decay", "kernel"), ("restart_every", 0)],
)
def test_rules_name_the_field(field, value):
    with pytest.raises(ValueError, match=f"optim.{field}"):
        toy_config(**{f"optim__{field}": value})


RECIPE = dict(
    optim__optimizer="ranger",
    optim__decay="all",
    optim__schedule="restarts",
    optim__restart_every=5,
    # A plateau would cut the rate at every evaluation.
    optim__plateau_threshold=50.0,
    optim__lr_decay_patience=0,
)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run(folder, toy_config(**RECIPE)) is True
    return folder


def test_log_shows_the_rate_of_each_step(straight):
    shown = {r["step"]: r["learning_rate"] for r in log(straight) if "grad_norm" in r}
    rates = cosine_restarts(1e-2, every=5)(jnp.arange(12))
    assert set(shown) >= {2, 4, 6, 8, 10, 12}
    for step, rate in shown.items():
        assert rate == pytest.approx(float(rates[step - 1]), rel=1e-6)


@pytest.mark.parametrize("step", [8, pytest.param(4, marks=pytest.mark.slow)])
def test_stopped_and_resumed_is_the_straight_run(tmp_path, straight, step):
    # Neither step + 1 is a multiple of Lookahead's six steps or of a period.
    config = toy_config(**RECIPE)
    assert run(tmp_path, config, before=lambda now: now == step and stop()) is False
    assert checkpoint.describe(tmp_path)["step"] == step + 1
    assert run(tmp_path, config) is True
    assert log(tmp_path)[-1] == log(straight)[-1]
    assert checkpoint.describe(tmp_path) == checkpoint.describe(straight)
    ours, theirs = (saved_state(folder, config) for folder in (tmp_path, straight))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def saved_state(folder, config):
    """All that the last checkpoint holds, the optimizer's state among it."""
    program = shared_program(config, one_device())
    with checkpoint.open_manager(folder) as manager:
        fresh = program.init(jax.random.key(0))
        return checkpoint.restore(manager, fresh, config, force=False)[0]
