"""Batches of several seeds at once, and the length of validation chunks."""

import numpy as np
import pytest

from data_pipelines.pipeline import open_data
from sepjax.config import Config, resolve
from sepjax.models.tasnet.config import TasNetConfig


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One for the file: the demo music is made once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEPJAX_CACHE", str(folder))
        yield folder


def demo(**fields):
    config = Config(model=TasNetConfig(), seed=5)
    config.data.chunk_seconds = 0.2
    config.train.batch_size = 3
    for name, value in fields.items():
        section, field = name.split("__")
        setattr(getattr(config, section), field, value)
    return open_data(resolve(config))


@pytest.mark.parametrize("feeder", ["resident", "streaming"])
def test_row_b_k_belongs_to_seed_k(feeder):
    both = demo(train__seeds=2, data__feeder=feeder)
    together = list(both.train_batches(3, 5))
    assert len(together) == 2
    for offset in (0, 1):
        alone = demo(data__feeder=feeder)
        alone.config.seed += offset
        for band, own in zip(together, alone.train_batches(3, 5), strict=True):
            for name in ("chunks", "gains", "channel"):
                rows = np.asarray(band[name])[offset::2]
                np.testing.assert_array_equal(rows, np.asarray(own[name]))


def test_processes_share_the_rows_of_every_seed():
    data = demo(train__seeds=2, train__batch_size=4, data__feeder="streaming")
    (whole,) = data.train_batches(0, 1)
    parts = [next(iter(data.train_batches(0, 1, index, 2))) for index in (0, 1)]
    joined = np.concatenate([part["gains"] for part in parts])
    np.testing.assert_array_equal(joined, whole["gains"])


def test_messages_name_the_tracks_of_all_seeds():
    names = demo(train__seeds=2).track_names(7)
    alone = demo()
    first = alone.track_names(7)
    alone.config.seed += 1
    assert names == list(dict.fromkeys(first + alone.track_names(7)))


def test_validation_may_have_chunks_of_another_length():
    data = demo(data__valid_seconds=4.0)
    batch = next(data.valid_batches(2))
    assert batch["chunks"].shape[2] == 32000
    assert next(iter(data.train_batches(0, 1)))["chunks"].shape[2] == 1600
    assert next(demo().valid_batches(2))["chunks"].shape[2] == 1600
