"""Classes that are sums of others, in whole songs and in training."""

import numpy as np
import pytest

from data_pipelines.pipeline import open_data
from sepjax.config import Config, resolve
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.train.program import preparation


@pytest.fixture
def config(tmp_path, write_song):
    for name in "abc":
        write_song(tmp_path / "songs" / name, ("vocals", "drums", "bass"), 3000)
    config = Config(model=TasNetConfig())
    config.data.dataset, config.data.root = "folder", str(tmp_path / "songs")
    config.data.sources, config.data.chunk_seconds = ("vocals", "drums", "bass"), 0.25
    return config


def summed(config):
    config = resolve(config)
    config.data.sources = ("band", "vocals")
    config.data.sums = ("band=bass+drums",)
    return resolve(config)


def test_songs_and_batches_have_the_sums(config):
    plain, sums = resolve(config), summed(config)
    for one, two in zip(
        open_data(plain).tracks("train"), open_data(sums).tracks("train"), strict=True
    ):
        vocals, drums, bass = one.references
        assert two.classes == ("band", "vocals")
        np.testing.assert_allclose(two.references[0], drums + bass, atol=1e-7)
        np.testing.assert_array_equal(two.references[1], vocals)
        np.testing.assert_array_equal(two.mixture, one.mixture)
    data = open_data(sums)
    assert data.manifest.classes == ("bass", "drums", "vocals")
    batch = next(data.train_batches(0, 1))
    found = preparation(sums)(batch)
    config.data.sources = data.manifest.classes
    bass, drums, vocals = np.moveaxis(preparation(config)(batch).sources, 1, 0)
    np.testing.assert_allclose(found.sources[:, 0], drums + bass, atol=1e-6)
    np.testing.assert_array_equal(found.sources[:, 1], vocals)
    np.testing.assert_allclose(found.mixture, found.sources.sum(1), atol=1e-6)


@pytest.mark.parametrize(
    ("sums", "text"),
    [
        (("band",), "must be NAME="),
        (("bnd=bass+drums",), "did you mean 'band'"),
        (("band=vocals+drums",), "'vocals' is part of two"),
        (("band=bass+",), "is no name"),
        (("band=../bass",), "is no name"),
        (("band=bass+mixture",), "'mixture' is the file"),
        (("band=bass", "band=drums"), "'band' is made twice"),
    ],
)
def test_wrong_sums_are_told(config, sums, text):
    config = summed(config)
    config.data.sums = sums
    with pytest.raises(ValueError, match=text):
        resolve(config)


def test_concerts_know_no_sums(config):
    config = summed(config)
    config.live.eval = True
    with pytest.raises(ValueError, match=r"data\.sums"):
        resolve(config)
