"""The pseudo-inverse: against NumPy's, its gradient, and banks without full rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sepjax.functional.inverse import pinv_kernel


def bank(length, filters, seed=0):
    taps = np.random.default_rng(seed).normal(size=(length, filters))
    return jnp.asarray(taps, jnp.float32)


@pytest.mark.parametrize(("length", "filters"), [(20, 64), (20, 21), (20, 8)])
def test_equals_the_moore_penrose_inverse(length, filters):
    kernel = bank(length, filters)
    expected = np.linalg.pinv(np.asarray(kernel, float).T).T / 2
    found = pinv_kernel(kernel, length // 2, ridge=0.0)
    # Condition numbers are up to 60 here, squared by the normal equations.
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_ridge_bounds_the_inverse_of_a_deficient_bank():
    kernel = bank(20, 64).at[10:].set(0.0)
    found = pinv_kernel(kernel, 20)
    assert np.isfinite(found).all()
    expected = np.linalg.pinv(np.asarray(kernel, float).T).T
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_gradient():
    weights = bank(30, 6, seed=1)

    @jax.jit
    def value(kernel):
        return jnp.sum(pinv_kernel(kernel, 6) * weights)

    check_grads(value, (bank(6, 30),), 1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_vmap_over_banks():
    kernels = jnp.stack([bank(8, 12, seed) for seed in range(3)])
    mapped = jax.vmap(lambda kernel: pinv_kernel(kernel, 4))(kernels)
    np.testing.assert_allclose(mapped[1], pinv_kernel(kernels[1], 4), atol=1e-6)
