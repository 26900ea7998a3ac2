"""Convolutions with fewer multiplications, each beside that of XLA."""

import jax
import numpy as np
import pytest

from sepjax.functional.fast_convolution import convolve, transform_kernel
from tests.support.signals import noise


@pytest.mark.parametrize("shape", [(1, 4, 8, 3), (2, 3, 5, 2), (1, 1, 9, 1)])
def test_a_convolution_of_any_size(shape):
    x, kernel = noise(*shape), np.asarray(noise(3, 3, shape[-1], 2, seed=1))
    found = jax.jit(convolve)(x, transform_kernel(kernel))
    layout = ("NHWC", "HWIO", "NHWC")
    how = dict(window_strides=(1, 1), padding="SAME", dimension_numbers=layout)
    expected = jax.lax.conv_general_dilated(x, kernel, **how)
    # A product of float32 by float32 is right to 6e-8; sums lose a few bits more.
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * abs(expected).max())
