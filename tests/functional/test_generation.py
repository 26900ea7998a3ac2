"""Generated parameters: of any network, source by source, in few dimensions."""

import functools
import re
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional import generation
from sepjax.functional.generation import init_generator, init_independent
from sepjax.functional.tcn import init_tcn, tcn

# One compilation for each tree, not one for each operation in it.
generate = jax.jit(generation.generate)


class Pair(NamedTuple):
    kernel: jax.Array
    bias: jax.Array


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(nn.relu(nn.Dense(6)(x)))


def draw_tcn(key):
    return init_tcn(key, layers=2, stacks=1, bottleneck=4, hidden=6, width=3)


def draw_module(key):
    return Network().init(key, jnp.ones((1, 3)))["params"]


TREES = {
    "dictionary": {"a": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}},
    "list": [jnp.ones((2, 3)), (jnp.ones(5), {"gain": jnp.ones(2)})],
    "named tuple": {"layer": Pair(jnp.ones((3, 2)), jnp.ones(2))},
    "scalars": {"slope": jnp.ones(()), "deeper": {"slope": jnp.ones(())}},
    "one array": jnp.ones((2, 2)),
    "module": jax.eval_shape(draw_module, jax.random.key(0)),
    "tcn": jax.eval_shape(draw_tcn, jax.random.key(0)),
}


def embeddings(count, size=8, seed=1):
    return jax.random.normal(jax.random.key(seed), (count, size))


def generator_of(template, bottleneck=5):
    sizes = dict(embedding=8, bottleneck=bottleneck)
    return jax.jit(lambda key: init_generator(key, template, **sizes))(
        jax.random.key(0)
    )


@functools.cache
def generator(name):
    return generator_of(TREES[name])


@pytest.mark.parametrize("name", TREES)
def test_any_tree_of_arrays(name):
    template = TREES[name]
    found = generate(generator(name), embeddings(4))
    assert jax.tree.structure(found) == jax.tree.structure(template)
    for leaf, one in zip(jax.tree.leaves(found), jax.tree.leaves(template)):
        assert leaf.shape == (4, *one.shape)
        assert leaf.dtype == jnp.float32
        assert np.std(leaf, axis=0).min() > 0  # every source has its own


def test_is_its_formula():
    generator = generator_of({"layer": {"kernel": jnp.ones((2, 3))}})
    given = np.asarray(embeddings(2), np.float64)
    first = jax.tree.map(np.asarray, generator["bottleneck"]["layer"])
    latent = given @ first["kernel"] + first["bias"]
    kernel, bias = (
        np.asarray(generator[name]["layer"]["kernel"]) for name in ("kernel", "bias")
    )
    expected = np.einsum("sb,bio->sio", latent, kernel) + bias
    found = generate(generator, embeddings(2))["layer"]["kernel"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_initial_values_are_uniform_by_fan_in():
    generator = generator_of({"layer": {"kernel": jnp.ones((40, 50))}})
    bounds = {5: generator["kernel"]["layer"]["kernel"]}
    bounds[8] = generator["bottleneck"]["layer"]["kernel"]
    for fan_in, leaf in bounds.items():
        assert float(jnp.abs(leaf).max()) <= fan_in**-0.5
        assert float(jnp.abs(leaf).max()) > 0.9 * fan_in**-0.5


def test_vmap_over_sources_is_a_loop():
    x = jax.random.normal(jax.random.key(2), (2, 9, 4))
    parameters = generate(generator("tcn"), embeddings(3))

    @jax.jit
    def network(parameters):
        return tcn(parameters, x, layers=2, stacks=1)

    together = jax.jit(jax.vmap(network))(parameters)
    for source in range(3):
        own = jax.tree.map(lambda leaf, i=source: np.asarray(leaf)[i], parameters)
        np.testing.assert_allclose(together[source], network(own), atol=1e-5)
    assert np.std(together, axis=0).min() > 0


@pytest.mark.parametrize("name", ["dictionary", "module", "tcn"])
def test_another_source_leaves_the_others_as_they_are(name):
    given = np.asarray(embeddings(7))
    seven, six = (generate(generator(name), one) for one in (given, given[:6]))
    for more, less in zip(jax.tree.leaves(seven), jax.tree.leaves(six)):
        # Seven rows may be added in another order than six.
        np.testing.assert_allclose(np.asarray(more)[:6], less, rtol=0, atol=5e-7)


def test_layers_lie_in_affine_spaces_of_few_dimensions():
    template = {"one": {"kernel": jnp.ones((6, 7)), "bias": jnp.ones(7)}}
    template["two"] = {"kernel": jnp.ones((7, 3))}
    found = generate(generator_of(template, bottleneck=3), embeddings(40))
    each = {
        name: np.concatenate([leaf.reshape(40, -1) for leaf in layer.values()], -1)
        for name, layer in found.items()
    }

    def rank(points):
        singular = np.linalg.svd(points, compute_uv=False)
        return int(np.sum(singular > 1e-5 * singular[0]))  # float32 leaves 1e-7

    for points in each.values():
        assert rank(points) <= 4
        assert rank(points - points.mean(0)) == 3
    # The layers do not share their space.
    both = np.concatenate(list(each.values()), -1)
    assert rank(both - both.mean(0)) == 6


def test_independent_networks_have_the_same_interface():
    draw = jax.jit(lambda key: init_independent(key, draw_module, sources=3))
    found = generate(draw(jax.random.key(0)), embeddings(3))
    generated = generate(generator("module"), embeddings(3))
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, generated)
    run = jax.jit(
        jax.vmap(lambda params: Network().apply({"params": params}, jnp.ones((1, 3))))
    )
    assert run(found).shape == run(generated).shape == (3, 1, 2)
    assert all(
        np.std(leaf, axis=0).max() > 0
        for leaf in jax.tree.leaves(found)
        if leaf.ndim > 2
    )


@pytest.mark.parametrize("name", ["dictionary", "named tuple", "scalars", "tcn"])
def test_gradients_reach_everything(name):
    def loss(generator, given):
        leaves = jax.tree.leaves(generate(generator, given))
        return sum(jnp.sum(jnp.sin(leaf + 1.0)) for leaf in leaves)

    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))
    gradients = jax.device_get(slopes(generator(name), embeddings(4)))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradients))
    assert np.all(np.any(gradients[1] != 0, axis=1))


def test_the_example_of_the_page_runs():
    page = Path(__file__).parents[2] / "docs/meta_tasnet.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    names = {}
    with jax.numpy_rank_promotion("allow"):
        exec(block, names)
    assert names["masks"].shape == (6, 40)
    assert float(jnp.std(names["masks"], axis=0).min()) > 0
