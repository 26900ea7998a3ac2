"""Signals for tests."""

import jax.numpy as jnp
import numpy as np


def noise(*shape, seed=0, dtype=np.float32):
    """Seeded normal noise of variance one."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def noise_array(*shape, seed=0):
    """The same, as an array of jax: what annotations of the functional core ask."""
    return jnp.asarray(noise(*shape, seed=seed))
