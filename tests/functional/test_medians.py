"""Medians by minima and maxima against a sort, and against scipy's filter."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from sepjax.functional.medians import median_filter, median_of


@pytest.mark.parametrize("count", [1, 2, 3, 8, 31])
def test_median_of_arrays(count):
    x = np.random.default_rng(count).normal(size=(count, 50)).astype(np.float32)
    x[: count // 2] = x[-1]  # ties
    expected = np.sort(x, axis=0)[count // 2]
    found = jax.jit(median_of)([*x])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [1, 9, 23])
@pytest.mark.parametrize("axis", [0, 1])
def test_filter_is_scipys(size, axis):
    """Windows longer than the array mirror it again and again."""
    x = np.random.default_rng(0).normal(size=(7, 11)).astype(np.float32)
    shape = (size, 1) if axis == 0 else (1, size)
    expected = ndimage.median_filter(x, size=shape, mode="reflect")
    found = jax.jit(median_filter, static_argnums=(1, 2))(x, size, axis)
    np.testing.assert_array_equal(found, expected)
