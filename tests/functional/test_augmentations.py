"""Augmentations by key do what the schedule's draws do, and follow their keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional import augmentations
from sepjax.functional.augment import prepare_excerpts, regroup
from sepjax.functional.augmentations import OPEN_UNMIX, THESIS, compose

KEY = jax.random.key(3)
NAMES = ("channel", "gain", "mix", "normalize", "shuffle", "swap_channels")


def stereo(items=64, sources=3, time=20, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(items, sources, 2, time)), jnp.float32)


def test_gains_fill_their_interval_and_differ():
    sources = jnp.ones((64, 3, 2, 5))
    found = np.asarray(augmentations.gain(KEY, sources, low=0.25, high=1.25))
    assert (found == found[:, :, :1, :1]).all()  # one for all of a source
    found = found[:, :, 0, 0]
    assert 0.25 <= found.min() < 0.3
    assert 1.2 < found.max() <= 1.25
    assert abs(found.mean() - 0.75) < 5 * np.sqrt(1 / 12 / found.size)
    assert len(np.unique(found)) == found.size


def test_each_source_gets_one_of_its_channels():
    sources = stereo()
    found = augmentations.channel(KEY, sources)[:, :, None]
    which = np.asarray((found == sources).all(-1))
    assert (which.sum(-1) == 1).all()
    assert 0.35 < which[..., 0].mean() < 0.65  # 192 draws: +- 4 deviations


@pytest.mark.parametrize(
    ("probability", "least", "most"), [(0.0, 0, 0), (0.5, 0.35, 0.65)]
)
def test_channels_are_exchanged_or_not(probability, least, most):
    sources = stereo()
    found = augmentations.swap_channels(KEY, sources, probability)
    same = np.asarray((found == sources).all((2, 3)))
    other = np.asarray((found == sources[:, :, ::-1]).all((2, 3)))
    assert (same ^ other).all()
    assert least <= other.mean() <= most


def test_shuffling_leaves_the_rest_of_the_batch_alone():
    sources = jnp.tile(jnp.arange(7.0)[:, None, None], (1, 3, 4))
    mixed = np.asarray(augmentations.shuffle(KEY, sources))
    np.testing.assert_array_equal(mixed[4:], sources[4:])  # half of seven is four
    np.testing.assert_array_equal(np.sort(mixed[:4], axis=0), sources[:4])


def test_mixing_permutes_every_source_by_itself():
    items, count = 32, 3
    sources = jnp.tile(jnp.arange(float(items))[:, None, None], (1, count, 4))
    found = np.asarray(augmentations.mix(KEY, sources))
    np.testing.assert_array_equal(np.sort(found, axis=0), sources)
    assert (found[:, 0] != found[:, 1]).any()
    assert (found[:, 1] != found[:, 2]).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_key_decides_all_also_under_jit(name):
    apply, sources = getattr(augmentations, name), stereo()
    one, again = apply(KEY, sources), jax.jit(apply)(KEY, sources)
    np.testing.assert_allclose(one, again, atol=1e-6)  # jit fuses roundings
    other = apply(jax.random.key(4), sources)
    drawn = name != "normalize"
    assert bool((one != other).any()) == drawn


@pytest.mark.parametrize("chain", [THESIS, OPEN_UNMIX])
def test_a_chain_is_its_parts_with_keys_by_position(chain):
    sources = expected = stereo()
    for index, apply in enumerate(chain):
        expected = apply(jax.random.fold_in(KEY, index), expected)
    np.testing.assert_array_equal(compose(*chain)(KEY, sources), expected)
    assert (compose()(KEY, sources) == sources).all()


def test_the_thesis_chain_is_what_training_does_with_the_same_draws():
    rng = np.random.default_rng(1)
    chunks = jnp.asarray(rng.integers(-9000, 9000, (8, 3, 50, 2), np.int16))
    sources = jnp.moveaxis(chunks.astype(jnp.float32) / 32768, 3, 2)
    found = jax.jit(compose(*THESIS))(KEY, sources)

    keys = [jax.random.fold_in(KEY, index) for index in range(3)]
    mono = augmentations.channel(keys[0], sources)
    batch = {
        "chunks": chunks,
        "channel": jnp.argmax((mono[:, :, None] == sources).all(-1), axis=-1),
        "gains": augmentations.gain(keys[1], jnp.ones((8, 3, 1))),
    }
    # Numbered items show which went where; a plan moves all that is a source's.
    numbers = jnp.tile(jnp.arange(8)[:, None], (1, 3))
    donor = augmentations.shuffle(keys[2], numbers)
    batch = {name: regroup(rows, donor) for name, rows in batch.items()}
    excerpt = jax.jit(prepare_excerpts)(batch)
    np.testing.assert_allclose(found, excerpt.sources, rtol=1e-5, atol=1e-6)
