"""Reference vectors as the tests want them, and a jit that compiles quickly."""

import json

import jax
import numpy as np


def load(shared_data, name):
    """Arrays by name, the state dict (``p/``) and the meta data of a vector."""
    with np.load(shared_data / f"model_ref/{name}.npz", allow_pickle=False) as data:
        arrays = {key: data[key] for key in data.files}
    meta = json.loads(str(arrays.pop("meta")))
    state = {key[2:]: array for key, array in arrays.items() if key.startswith("p/")}
    return arrays, state, meta


def quick(function):
    """Jit for a function that runs once or twice."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def assert_near(found, expected, tolerance):
    """Equal up to a share of the largest value."""
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)
