"""Signals for tests."""

import numpy as np


def noise(*shape, seed=0, dtype=np.float32):
    """Seeded normal noise of variance one."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)
