"""A model of one stage becomes the first stage of a larger one (thesis 4.2.2)."""

import jax
import numpy as np
import pytest

from sepjax.models.build import model_of
from sepjax.train import checkpoint
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.load import load
from sepjax.train.pretrained import require_same_meaning, start_from
from sepjax.train.step import TrainState, init_variables
from sepjax.weights import write_imported
from tests.support.toy import TIME, run, toy_config


def meta(stages=1, **fields):
    rate = 8000 * 2 ** (stages - 1)
    known = dict(model__name="meta_tasnet", model__mels=8, model__layers=1)
    known |= dict(model__stages=stages, data__sample_rate=rate, train__steps=1)
    known |= dict(data__chunk_seconds=TIME / rate, train__statistics_excerpts=4)
    return toy_config(**known | fields)


def drawn(config, seed):
    """Random parameters, quicker than those that a model draws."""
    model, rng = model_of(config), np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), 256))
    return jax.tree.map(
        lambda leaf: jax.numpy.asarray(rng.normal(0, 0.3, leaf.shape), np.float32),
        shapes["params"],
    )


@pytest.fixture(scope="module")
def one_stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "one"
    facts = {"family": "meta_tasnet", "files": []}
    write_imported(folder, meta(), drawn(meta(), 0), facts)
    return folder


def extended(folder, config):
    state = TrainState(jax.numpy.zeros((), int), drawn(config, 1), ())
    return start_from(state, folder, config)


def test_the_first_stage_is_the_old_model(one_stage):
    config, before = meta(3), drawn(meta(3), 1)
    state, facts = extended(one_stage, config)
    taken = load(one_stage)[1]["params"]["stages_0"]
    for name in ("stages_1", "stages_2"):
        jax.tree.map(np.testing.assert_array_equal, state.params[name], before[name])
    jax.tree.map(np.testing.assert_array_equal, state.params["stages_0"], taken)
    assert {name.split("/")[0] for name in facts["drawn"]} == {"stages_1", "stages_2"}


@pytest.mark.slow
def test_its_estimates_are_those_of_the_old_model(one_stage):
    config = meta(3)
    state, _ = extended(one_stage, config)
    old, variables, _ = load(one_stage)
    mixture = np.random.default_rng(2).normal(size=(1, 256)).astype(np.float32)
    wanted = old.apply(variables, mixture).estimates
    found = model_of(config).apply(
        {"params": state.params}, mixture, method=lambda model, x: model.stages[0](x)
    )
    np.testing.assert_allclose(found.estimates, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("stages", "fields", "message"),
    [
        (3, dict(data__sample_rate=16000), "stages: 1 -> 3\n.*rate: 8000 -> 16000"),
        (1, dict(data__sample_rate=16000), "sample_rate: 8000 -> 16000"),
        (2, dict(model__W=16), "W: 20 -> 16$"),
    ],
)
def test_other_rates_and_stages_are_refused(stages, fields, message):
    new = meta(stages, **fields)
    with pytest.raises(CheckpointError, match=message):
        require_same_meaning("run", meta(), new, whole=True)


def test_a_smaller_model_is_no_extension():
    with pytest.raises(CheckpointError, match="stages: 3 -> 1"):
        require_same_meaning("run", meta(3), meta(), whole=True)
    require_same_meaning("run", meta(), meta(3), whole=True)


@pytest.mark.slow
def test_a_run_is_extended_and_its_stage_stays_as_it_is(tmp_path, capsys):
    assert run(tmp_path / "one", meta()) is True
    config = meta(2, train__pretrained_from="one", train__freeze=("stages_0",))
    assert run(tmp_path / "two", config) is True
    text = capsys.readouterr().out
    assert f"arrays are those of {tmp_path / 'one'}; drawn anew: stages_1\n" in text
    old, new = (
        checkpoint.load(tmp_path / name, which="latest")[1]["params"]
        for name in ("one", "two")
    )
    jax.tree.map(np.testing.assert_array_equal, old["stages_0"], new["stages_0"])
    # What is new has heard the data first, and has been trained.
    (mean,) = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(new["stages_1"])
        if path[-1].key == "mean"
    ]
    assert np.all(mean != 0)
