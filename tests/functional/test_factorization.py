"""Nonnegative factors against a plain loop, and what they tell apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional import factorization

RNG = np.random.default_rng(5)
V = (RNG.random((14, 2)) @ RNG.random((2, 9)) + 0.05 * RNG.random((14, 9))).astype("f4")
H, W = RNG.random((14, 3)).astype("f4"), RNG.random((3, 9)).astype("f4")


@pytest.mark.parametrize("beta", [0, 1])
def test_updates_are_those_of_a_plain_loop_and_descend(beta):
    h, w, values = factorization.factorize(
        *map(jnp.asarray, (V, H, W)), beta=beta, steps=40
    )
    assert np.all(np.diff(values) <= 1e-6)
    assert values[-1] < 0.2 * values[0]
    a, b = H.astype(float), W.astype(float)
    power = 1.0 if beta else 0.5
    for _ in range(40):
        m = a @ b
        a *= ((V * m ** (beta - 2)) @ b.T / (m ** (beta - 1) @ b.T)) ** power
        m = a @ b
        b *= (a.T @ (V * m ** (beta - 2)) / (a.T @ m ** (beta - 1))) ** power
    np.testing.assert_allclose(h, a, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(w, b, rtol=2e-3, atol=1e-5)


def test_fixed_templates_stay():
    learned = jnp.array([False, True, True])
    _, w, _ = factorization.factorize(
        *map(jnp.asarray, (V, H, W)), beta=1, steps=5, learned=learned
    )
    np.testing.assert_array_equal(w[0], W[0])
    assert np.abs(w[1:] - W[1:]).max() > 1e-2


def test_projection_leaves_clicks_to_the_bands():
    v = np.zeros((60, 32), "f4")
    v[:, [5, 11]] = 1  # tones
    v[::12] += 0.5  # clicks
    held = (v + np.roll(v, 1, 0) + np.roll(v, -1, 0)) / 3
    bands = np.kron(np.eye(4), np.ones((1, 8))).astype("f4")
    w = 0.2 * RNG.random((3, 32)).astype("f4")
    project = jax.jit(functools.partial(factorization.project, steps=200))
    harmonic, percussive = project(*map(jnp.asarray, (v, held, w, bands)))
    assert np.mean(harmonic[:, [5, 11]]) > 0.7
    assert np.mean(percussive[::12]) > 5 * np.mean(percussive[6::12])


def test_source_and_filter_find_the_pitch():
    """Two pitches, one after the other, through one filter, beside a steady tone."""
    pitches = np.zeros((3, 24), "f4")
    for row, step in enumerate((4, 5, 7)):
        pitches[row, step::step] = 1
    body = np.linspace(1, 0.2, 24, dtype="f4")
    voice = pitches[np.repeat([0, 2], 20)] * body
    music = np.zeros_like(voice)
    music[:, 2] = 1
    filters = np.stack([np.linspace(1, 0, 24), np.linspace(0, 1, 24)]).astype("f4")
    w = RNG.random((1, 24)).astype("f4")
    split = jax.jit(functools.partial(factorization.source_filter, beta=0, steps=60))
    arrays = map(jnp.asarray, (voice + music, pitches, filters, w))
    found, rest, heights = split(*arrays)
    assert np.all(heights.argmax(1) == np.repeat([0, 2], 20))
    assert np.linalg.norm(found - voice) < 0.2 * np.linalg.norm(voice)
    assert np.linalg.norm(rest - music) < 0.2 * np.linalg.norm(music)
