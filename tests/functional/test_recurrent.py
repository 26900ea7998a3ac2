"""The LSTM against a plain loop over frames and gates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sepjax.functional.recurrent import init_lstm, lstm
from tests.support.signals import noise


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def plain_lstm(x, kernel, state, bias):
    """One direction and one item, gate by gate in float64."""
    hidden = cell = np.zeros(len(state))
    states = []
    for frame in x:
        total = frame @ kernel + hidden @ state + bias
        i, f, g, o = np.split(total.astype(np.float64), 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        states.append(hidden)
    return np.stack(states)


@pytest.mark.parametrize("directions", [1, 2])
def test_equals_a_loop(directions):
    params = init_lstm(jax.random.key(0), inputs=3, hidden=5, directions=directions)
    params = jax.tree.map(lambda leaf: 2 * leaf, params)
    x = noise(2, 9, 3)
    found = jax.jit(lstm)(params, x)
    p = jax.tree.map(np.asarray, params)
    bias = p["input_bias"] + p["state_bias"]
    for item in range(2):
        parts = []
        for direction in range(directions):
            order = slice(None, None, -1 if direction else 1)
            states = plain_lstm(
                x[item][order],
                p["input"][direction],
                p["state"][direction],
                bias[direction],
            )
            parts.append(states[order])
        np.testing.assert_allclose(found[item], np.concatenate(parts, 1), atol=1e-6)


def test_forward_states_do_not_see_the_future_and_backward_ones_not_the_past():
    params = init_lstm(jax.random.key(1), inputs=3, hidden=4)
    x = noise(1, 10, 3)
    changed = x.copy()
    changed[:, 6] += 1
    run = jax.jit(lstm)
    change = np.abs(run(params, x) - run(params, changed))[0]
    assert change[:6, :4].max() == 0
    assert change[7:, 4:].max() == 0
    assert change[6:, :4].min() > 0
    assert change[:7, 4:].min() > 0


def test_initial_values_are_uniform_within_the_root_of_the_width():
    params = init_lstm(jax.random.key(2), inputs=50, hidden=100)
    values = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])
    assert 0.0999 < jnp.abs(values).max() <= 0.1
    np.testing.assert_allclose(jnp.std(values), 0.1 / 3**0.5, rtol=0.01)


def test_gradients():
    params = init_lstm(jax.random.key(3), inputs=2, hidden=3)
    x = jnp.asarray(noise(1, 5, 2))
    check_grads(jax.jit(lstm), (params, x), 1, modes=["rev"], rtol=2e-2)
