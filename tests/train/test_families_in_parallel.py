"""Every family: one device, four under jit and four under pmap compute the same.

Batch norm, dropout and the terms that compare items with each other are on.
"""

import jax
import numpy as np
import pytest

from sepjax.train.mesh import AXIS, make_mesh, spread
from sepjax.train.objective import make_objective
from sepjax.train.program import make_program
from sepjax.train.step import objective_gradient
from tests.support.families import FAMILIES, SMALLER, family_config, family_parts

DEVICES = 4
SLOW = pytest.mark.slow
SMALLEST = SMALLER | {"demucs": dict(model__depth=1)}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    config = family_config(request.param, **SMALLEST.get(request.param, {}))
    return config, *family_parts(config)


def gradients(config, model, params, memory, excerpt, *, devices=1, form="jit", **how):
    """Gradients, metrics and memory of a batch on some devices."""
    axis = AXIS if devices > 1 else None
    gradient = objective_gradient(
        make_objective(model, config.loss), axis_name=axis, **how
    )
    mesh = make_mesh(jax.devices()[:devices])

    def of_one_device(state, rows):
        return gradient(state[0], rows, state[1])

    return jax.device_get(spread(of_one_device, mesh, form)((params, memory), excerpt))


def assert_same(results, expected, tolerance=1e-5):
    """Equal but for rounding, gradients on the scale of the largest of all.

    Some networks compute in float32 whatever they are given, hence 1e-5.
    """
    (grads, metrics, memory), (wanted, wanted_metrics, wanted_memory) = (
        results,
        expected,
    )
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(wanted))
    for leaf, other in zip(jax.tree.leaves(grads), jax.tree.leaves(wanted)):
        np.testing.assert_allclose(leaf, other, rtol=0, atol=tolerance * largest)
    for leaf, other in zip(*map(jax.tree.leaves, (metrics, wanted_metrics))):
        np.testing.assert_allclose(leaf, other, rtol=tolerance, atol=1e-6)
    for leaf, other in zip(*map(jax.tree.leaves, (memory, wanted_memory))):
        np.testing.assert_allclose(leaf, other, rtol=tolerance, atol=1e-7)


@pytest.fixture(scope="module")
def of_one_device(family):
    """Parts of the family in float64, and what one device computes with them."""
    with jax.enable_x64(True):
        parts = family[0], family[1], *map(in_float64, family[2:])
        return parts, gradients(*parts)


WAYS = {
    "jit": dict(devices=DEVICES),
    "pmap": dict(devices=DEVICES, form="pmap"),
    "microbatches": dict(devices=2, accumulate=2),
}
# Two devices with microbatches are also two devices; what batch norm says to the other
# devices it says in the middle of the network.
POOLED = ("open_unmix", "mm_dense_lstm", "spleeter")
WAVEFORM = ("wave_u_net", "wavenet", "roformer")  # as demucs, with other layers
QUICK = {(family, "microbatches") for family in FAMILIES if family not in WAVEFORM}
QUICK |= {("open_unmix", "jit")}  # pmap: tests/train/test_parallel.py
CASES = [
    (family, way) if (family, way) in QUICK else pytest.param(family, way, marks=SLOW)
    for family in FAMILIES
    for way in WAYS
    if not (family in POOLED and way == "microbatches")  # refused, see below
]


@pytest.mark.parametrize(("family", "way"), CASES, indirect=["family"])
def test_devices_and_microbatches_compute_the_gradient_of_one(of_one_device, way):
    parts, expected = of_one_device
    with jax.enable_x64(True):
        assert_same(gradients(*parts, **WAYS[way]), expected)
    if parts[0].model.name == "meta_tasnet":
        terms = expected[1]["terms"]
        names = ("stage_0/similarity", "stage_0/dissimilarity")
        assert all(abs(terms[name]) > 1e-4 for name in names)


def test_microbatches_of_norms_that_need_the_whole_batch_are_refused():
    for family in POOLED:
        config = family_config(family, train__accumulate=2)
        with pytest.raises(ValueError, match="statistics of the whole batch"):
            make_program(config, make_mesh())
    frozen = dict(train__pretrained_from="x", train__freeze=("bn1", "bn2", "bn3"))
    make_program(
        family_config("open_unmix", train__accumulate=2, **frozen), make_mesh()
    )


def in_float64(tree):
    """Rounding apart: estimates of fresh networks are ill-conditioned for SI-SDR."""
    return jax.tree.map(
        lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, tree
    )
