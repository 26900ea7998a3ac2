"""The convolution with gradients of its own: those of XLA's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.convolution import LAYOUT, convolve


def plain(x, kernel, stride, edges):
    edges = [(edge, edge) for edge in edges]
    options = dict(window_strides=(1, stride), padding=edges)
    return jax.lax.conv_general_dilated(x, kernel, **options, dimension_numbers=LAYOUT)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, "f")


# More and fewer places than a block, with columns that no block divides or sees.
CASES = [
    ((2, 40, 13, 3), (3, 3, 3, 4), 1, (1, 1)),
    ((2, 1, 2001, 2), (1, 8, 2, 5), 4, (0, 2)),
    ((2, 5, 7, 2), (1, 4, 2, 3), 3, (0, 0)),
    ((3, 300, 2, 1), (3, 1, 1, 2), 1, (1, 0)),
]


@pytest.mark.parametrize(("shape", "taps", "stride", "edges"), CASES)
def test_gradients_are_those_of_the_plain_convolution(shape, taps, stride, edges):
    x, kernel = drawn(*shape), drawn(*taps)

    @jax.jit
    def both(x, kernel, change):
        results = []
        for function in (
            functools.partial(convolve, stride=stride, edges=edges),
            functools.partial(plain, stride=stride, edges=edges),
        ):
            y, back = jax.vjp(function, x, kernel)
            results.append((y, *back(change[:, : y.shape[1], : y.shape[2]])))
        return results

    results = both(x, kernel, drawn(shape[0], shape[1] + 2, shape[2] + 4, taps[-1]))
    for found, expected in zip(*results):
        assert found.shape == expected.shape
        # Sums of up to 1800 products in float32, in another order.
        bound = 1e-5 * float(jnp.abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


def test_gradients_of_several_kernels_at_once_and_of_narrow_numbers():
    x, kernels = drawn(2, 3, 90, 2), drawn(4, 1, 3, 2, 5)

    def slope(kernel, x):
        return jax.grad(lambda w: jnp.square(convolve(x, w)).sum())(kernel)

    several = jax.jit(jax.vmap(slope, in_axes=(0, None)))(kernels, x)
    each = [jax.jit(slope)(kernel, x) for kernel in kernels]
    np.testing.assert_allclose(several, np.stack(each), rtol=1e-5, atol=1e-3)
    narrow = jax.jit(slope)(*(jnp.asarray(v, jnp.bfloat16) for v in (kernels[0], x)))
    assert narrow.dtype == jnp.bfloat16
    error = jnp.abs(narrow.astype("f") - each[0]).max() / jnp.abs(each[0]).max()
    assert error < 0.02  # eight bits
