"""Training that starts from an imported Open-Unmix: its statistics come along."""

import jax
import numpy as np
import pytest

import sepjax
from sepjax.models.build import model_of
from sepjax.train import checkpoint
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.pretrained import start_from
from sepjax.train.program import make_program
from sepjax.train.step import init_variables
from sepjax.weights import write_imported
from tests.support.toy import TIME, one_device, toy_config
from tests.support.toy import run as train


def unmix(**fields):
    model = dict(name="open_unmix", n_fft=64, hop=16, hidden=8, layers=1)
    known = {f"model__{name}": value for name, value in model.items()}
    known |= dict(model__bandwidth=0.0, data__normalize=False, train__steps=2)
    # What is frozen must not decay either.
    return toy_config(**known | dict(optim__weight_decay=0.1) | fields)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A folder of weights whose statistics are those of no fresh model."""
    folder, config = tmp_path_factory.mktemp("weights") / "umx", unmix()
    model, rng = model_of(config), np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), TIME))
    tree = {"batch_stats": shapes["batch_stats"]} | shapes["params"]
    tree = jax.tree.map(
        lambda leaf: rng.uniform(0.1, 0.5, leaf.shape).astype(np.float32), tree
    )
    write_imported(folder, config, tree, {"family": "umxhq", "files": []})
    return folder


def leaves(variables):
    flat, _ = jax.tree_util.tree_flatten_with_path(dict(variables))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in flat
    }


def latest(folder):
    return leaves(checkpoint.load(folder, which="latest")[1])


def assert_equal(found, given, but=()):
    """Bit-identical, except for some, which have all moved."""
    assert found.keys() == given.keys()
    for name, leaf in given.items():
        moved = any(f"/{part}/" in name for part in but)
        assert np.array_equal(found[name], leaf) != moved, name


def test_statistics_reach_the_memory(imported):
    config = unmix()
    state = make_program(config, one_device()).init(jax.random.key(0))
    state, facts = start_from(state, imported, config)
    _, variables, _ = sepjax.load(imported)
    found = {"params": state.params, "batch_stats": state.memory["batch_stats"]}
    assert_equal(leaves(found), leaves(variables))
    assert facts["family"] == "umxhq"


def test_nothing_but_the_fitted_layers_changes(imported, tmp_path):
    config = unmix(train__pretrained_from=str(imported), train__fit=("fc2", "fc3"))
    assert train(tmp_path / "tl", config) is True
    given = leaves(sepjax.load(imported)[1])
    found = latest(tmp_path / "tl")
    assert_equal(found, given, but=("fc2", "fc3"))
    moved = {name for name in given if not np.array_equal(found[name], given[name])}
    assert moved == {"params/fc2/kernel", "params/fc3/kernel"}


@pytest.mark.slow
def test_everything_is_fitted(imported, tmp_path):
    """Then the norms hear batches, and so their statistics change as well."""
    config = unmix(train__pretrained_from=str(imported))
    assert train(tmp_path / "all", config) is True
    given, found = leaves(sepjax.load(imported)[1]), latest(tmp_path / "all")
    same = {name for name in given if np.array_equal(found[name], given[name])}
    assert not same


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden", 16, "does not fit this model"),
        ("layers", 2, "layers: 1 -> 2"),
        ("hop", 32, "hop: 16 -> 32"),
    ],
)
def test_other_models_are_refused(imported, tmp_path, field, value, message):
    changed = {"train__pretrained_from": str(imported), f"model__{field}": value}
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path / "a", unmix(**changed))


def test_low_rank_leaves_norms_and_their_statistics(imported, tmp_path):
    given = leaves(sepjax.load(imported)[1])
    config = unmix(train__pretrained_from=str(imported), train__lora=2)
    assert train(tmp_path / "new", config) is True
    found = latest(tmp_path / "new")
    ends = ("/kernel", "lstm_0/input", "lstm_0/state")
    moved = {name for name in given if not np.array_equal(found[name], given[name])}
    assert moved == {name for name in given if name.endswith(ends)}
    for name in moved:
        change = np.asarray(found[name] - given[name], np.float64)
        values = np.linalg.svd(change, compute_uv=False)
        assert (values[..., 2:] < 1e-4 * values[..., :1]).all(), name
