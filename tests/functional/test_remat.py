"""Layers that are computed again: the same gradients, and less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.remat import recomputed
from tests.support.signals import noise_array

LAYERS, ROWS = 6, 4000


def layer(kernel, x):
    wide = jnp.tanh(x @ kernel)
    return x + jnp.sin(wide) @ kernel.T


@pytest.fixture(scope="module")
def gradients():
    """Gradients by kernels and input, and MiB of temporary memory."""

    def compute(wanted):
        def loss(kernels, x):
            for kernel in kernels:
                x = recomputed(layer, wanted)(kernel, x)
            return jnp.square(x).sum()

        kernels = [0.1 * noise_array(8, 64, seed=n) for n in range(LAYERS)]
        given = kernels, noise_array(ROWS, 8)
        program = jax.jit(jax.grad(loss, (0, 1))).lower(*given).compile()
        return program(*given), program.memory_analysis().temp_size_in_bytes / 2**20

    return compute(False), compute(True)


def test_gradients_are_the_same(gradients):
    (plain, _), (again, _) = gradients
    for one, two in zip(jax.tree.leaves(plain), jax.tree.leaves(again)):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4 * abs(one).max())


def test_no_more_than_one_layer_is_kept(gradients):
    # Of each layer a megabyte is kept without: 4000 rows of 64 floats.
    (_, plain), (_, again) = gradients
    assert plain > LAYERS
    assert again < LAYERS
