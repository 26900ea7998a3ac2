"""The norm of places and its own gradient, beside autodiff of the formula."""

import jax
import jax.numpy as jnp
import numpy as np

from sepjax.functional.norms import place_norm


def formula(x, gain, bias):
    mean = x.mean((1, 3), keepdims=True)
    variance = jnp.square(x - mean).mean((1, 3), keepdims=True)
    normed = (x - mean) / jnp.sqrt(variance + 1e-5)
    return normed * gain[None, None, None] + bias[None, None, None]


def test_the_gradient_is_that_of_the_formula():
    draw = np.random.default_rng(0).standard_normal
    given = 2 * draw((3, 7, 5, 8), "f") + 1, draw(8, "f"), draw(8, "f")
    change = draw((3, 7, 5, 8), "f")
    pairs = [
        jax.jit(lambda *x, f=f: (f(*x), *jax.vjp(f, *x)[1](change)))(*given)
        for f in (lambda *x: place_norm(*x, 1e-5), formula)
    ]
    for found, expected in zip(*pairs):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
