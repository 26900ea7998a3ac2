"""Compile in half the time: these tests run few steps of small models."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="session")
def _compile_quickly():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
