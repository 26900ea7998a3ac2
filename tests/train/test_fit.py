"""A new instrument is fitted, and whatever else was trained stays as it is."""

import shutil

import jax
import numpy as np
import pytest

from data_pipelines.songs import demo
from sepjax.train import checkpoint
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.pretrained import fitted_parts
from sepjax.train.program import state_shapes
from sepjax.train.start import spelled_out
from tests.support.toy import latest as latest_params
from tests.support.toy import (
    one_device,
    save_untrained,
    shared_program,
    stop,
    toy_config,
)
from tests.support.toy import run as train

KNOWN, ALL = ("bass", "vocals"), ("bass", "vocals", "wind")


def meta(**fields):
    """A tiny first stage of Meta-TasNet, eight steps."""
    model = dict(name="meta_tasnet", norm="group", mask_act="softmax", filters=1)
    model |= dict(mels=8, B=8, H=8, layers=1, W=40, L=40)
    known = {f"model__{name}": value for name, value in model.items()}
    known |= dict(data__sources=KNOWN, train__steps=8)
    # Every checkpoint and every evaluation takes a while.
    known |= dict(train__checkpoint_every=8, train__eval_every=8)
    return toy_config(**known | fields)


def fitting(run="known", **fields):
    new = dict(train__pretrained_from=str(run), train__fit=("embedding",))
    # What is frozen must not decay either.
    return meta(**dict(data__sources=ALL, optim__weight_decay=0.1) | new | fields)


def latest(folder):
    return named(latest_params(folder))


def named(params):
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }


EMBEDDING = "stages_0/separator/embedding/"


def assert_fitted(found, given):
    """All that the first run knew is bit-identical; the new embedding is new."""
    assert set(found) - set(given) == {EMBEDDING + "wind"}
    for name, leaf in given.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A run on two classes, with parameters that no seed draws."""
    folder = tmp_path_factory.mktemp("runs") / "known"
    config, rng = meta(train__steps=4), np.random.default_rng(0)
    state = jax.tree.map(
        lambda x: rng.normal(0, 0.1, x.shape).astype(x.dtype),
        state_shapes(shared_program(config, one_device()), 1),
    )
    save_untrained(folder, config, state)
    return folder


@pytest.fixture(scope="module")
def fitted(known):
    folder = known.parent / "fitted"
    assert train(folder, fitting()) is True
    return folder


@pytest.fixture(scope="module")
def given(known):
    return latest(known)


@pytest.fixture(scope="module")
def straight(fitted):
    return latest(fitted)


def test_only_the_new_embedding_is_fitted(given, fitted, straight):
    assert_fitted(straight, given)
    # It has moved from where it was drawn.
    config = spelled_out(fitting(), fitted)
    drawn = shared_program(config, one_device()).init(jax.random.key(config.seed))
    first = np.asarray(named(drawn.params)[EMBEDDING + "wind"])
    moved = np.abs(straight[EMBEDDING + "wind"] - first)
    assert moved.min() > 1e-4
    facts = checkpoint.describe(fitted)["provenance"]["pretrained"]
    assert tuple(facts["sources"]) == KNOWN


def test_half_a_checkpoint_is_none(known, tmp_path):
    # What a kill leaves while the first checkpoint is written.
    (tmp_path / "new" / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir(parents=True)
    assert fitted_parts(fitting(known), tmp_path / "new") == ("embedding/wind",)


def test_a_run_that_began_alone_asks_the_one_it_goes_on_from(known, tmp_path):
    shutil.copytree(known, tmp_path / "new")
    assert fitted_parts(fitting(known), tmp_path / "new") == ("embedding/wind",)


def test_resumed_without_the_first_run(known, given, straight, tmp_path):
    shutil.copytree(known, tmp_path / "known")
    folder, config = tmp_path / "new", fitting()

    assert train(folder, config, before=lambda step: step == 4 and stop()) is False
    shutil.rmtree(tmp_path / "known")
    assert train(folder, config) is True
    found = latest(folder)
    assert_fitted(found, given)
    for name, leaf in straight.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)


@pytest.mark.slow
def test_named_parts_are_fitted(known, given, tmp_path):
    fit = ("embedding/wind", "slopes")
    assert train(tmp_path / "new", fitting(known, train__fit=fit)) is True
    found = latest(tmp_path / "new")
    for name, leaf in given.items():
        same = np.array_equal(found[name], leaf)
        # The last residual convolution is heard by nobody, but PReLUs all are.
        assert same == ("/slopes/" not in name), name


@pytest.mark.slow
def test_several_seeds(known, given, tmp_path):
    config = fitting(known, train__seeds=2, train__steps=4)
    assert train(tmp_path / "new", config) is True
    each = [latest(tmp_path / f"new/seed_{seed}") for seed in (1, 2)]
    for found in each:
        assert_fitted(found, given)
    ours, theirs = (found[EMBEDDING + "wind"] for found in each)
    assert np.abs(ours - theirs).max() > 1e-2


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (("embeddings",), "has no part 'embeddings': did you mean 'embedding'"),
        (("embedding/winds",), "has no part 'embedding/winds'"),
    ],
)
def test_unknown_parts_are_refused(known, tmp_path, fit, message):
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "x", fitting(known, train__fit=fit))


def test_a_run_to_start_from_is_needed(tmp_path):
    with pytest.raises(ValueError, match=r"name train\.pretrained_from"):
        meta(data__sources=ALL, train__fit=("embedding",))
    with pytest.raises(CheckpointError, match="nowhere"):
        train(tmp_path / "x", fitting("nowhere"))


def test_the_first_songs_are_kept():
    manifest = demo.build_manifest("", demo.CLASSES, songs={"train": 5, "test": 2})
    few = manifest.with_songs(2)
    assert few.split("train") == manifest.split("train")[:2]
    assert few.split("test") == manifest.split("test")
