"""Concerts are made where training happens: on every device, for every seed."""

from functools import partial

import jax
import numpy as np
import pytest

from sepjax.config import Config
from sepjax.functional.augment import prepare_excerpts
from sepjax.functional.live import LiveSettings, draw_count
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.train.mesh import batch_sharding, make_mesh, replicated, shard_batch
from sepjax.train.program import preparation
from sepjax.train.seeds import map_seeds

SOURCES = 2
DRY = LiveSettings(crowd_low=np.inf, crowd_high=np.inf, reverb_low=0.1, reverb_high=0.1)


def batch_of(rows):
    rng = np.random.default_rng(0)
    return {
        "chunks": rng.integers(-9000, 9000, (rows, SOURCES, 900, 1), np.int16),
        "gains": np.ones((rows, SOURCES, 1), np.float32),
        "channel": np.zeros((rows, SOURCES), np.int32),
        "draws": rng.uniform(size=(rows, draw_count(SOURCES))).astype(np.float32),
    }


@pytest.mark.parametrize("devices", [1, 4])
def test_each_seed_hears_the_concert_of_its_rows(devices):
    mesh = make_mesh(jax.devices()[:devices])
    prepare = jax.jit(partial(prepare_excerpts, live=DRY))
    run = jax.jit(
        partial(map_seeds, prepare, count=2),
        in_shardings=batch_sharding(mesh),
        out_shardings=replicated(mesh),
    )
    batch = batch_of(8)
    found = run(shard_batch(mesh, batch))
    for seed in range(2):
        own = prepare({name: rows[seed::2] for name, rows in batch.items()})
        np.testing.assert_allclose(found.sources[seed], own.sources, atol=1e-5)


def test_the_configuration_decides_whether_excerpts_are_live():
    config, batch = Config(model=TasNetConfig()), batch_of(2)
    config.data.normalize = False
    dry = jax.jit(preparation(config))(batch)
    config.live.train, config.live.targets = True, "clean"
    config.live.reverb_low = config.live.reverb_high = 0.1
    live = jax.jit(preparation(config))(batch)
    np.testing.assert_array_equal(live.sources, dry.sources)
    assert np.abs(live.mixture - dry.mixture).max() > 0.01
