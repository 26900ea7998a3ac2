"""A separator for every source: side by side, and independent."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.separators import (
    SeparatorPerSource,
    TcnSeparator,
    tcn_separator,
)
from tests.support.signals import noise

SMALL = TasNetConfig(N=12, B=4, H=8, layers=2, stack=1, large_tcn=True)


@pytest.mark.parametrize("width", ["per_source", "total"])
def test_large_tcn_equals_a_loop_over_sources(width):
    config = dataclasses.replace(SMALL, large_tcn_width=width, mask_act="sigmoid")
    separator = tcn_separator(config, 4)
    assert isinstance(separator, SeparatorPerSource)
    latent = noise(2, 30, 12)
    variables = jax.jit(separator.init)(jax.random.key(0), latent)
    masks = jax.jit(separator.apply)(variables, latent)
    assert masks.shape == (2, 4, 30, 12)
    hidden = 8 if width == "per_source" else 2
    one = TcnSeparator(dataclasses.replace(config, H=hidden), 1)
    apply = jax.jit(one.apply)
    for index in range(4):
        own = jax.tree.map(lambda leaf, i=index: leaf[i], variables["params"]["each"])
        alone = apply({"params": own}, latent)[:, 0]
        np.testing.assert_allclose(masks[:, index], alone, rtol=0, atol=1e-5)
    # Each source drew parameters of its own.
    assert float(jnp.abs(masks[:, 0] - masks[:, 1]).max()) > 1e-3


def test_softmax_joins_the_sources_of_a_large_tcn():
    config = dataclasses.replace(SMALL, mask_act="softmax")
    latent = noise(1, 10, 12)
    run = jax.jit(tcn_separator(config, 4).init_with_output)
    masks, _ = run(jax.random.key(0), latent)
    np.testing.assert_allclose(masks.sum(1), 1, rtol=1e-5)


def test_gradient_of_a_source_stays_in_its_network():
    separator = tcn_separator(SMALL, 4)
    latent = jnp.asarray(noise(1, 10, 12))
    variables = jax.jit(separator.init)(jax.random.key(0), latent)

    def loss(params):
        return separator.apply({"params": params}, latent)[:, 2].sum()

    grads = jax.device_get(jax.jit(jax.grad(loss))(variables["params"])["each"])
    for leaf in jax.tree.leaves(grads):
        assert not leaf[[0, 1, 3]].any()
    assert all(leaf[2].any() for leaf in jax.tree.leaves(grads["mask"]))
