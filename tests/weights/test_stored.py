"""Folders that commit b054c28 wrote, before families had configurations of their own.

Its ``ModelConfig`` had the fields of all families. ``weights`` are those of naplab's
Conv-TasNet, drawn at random; ``run`` was trained for three steps, as
:mod:`tests.tiny_run` says.
"""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from vectors import assert_near, quick

import sepjax
from data_pipelines.pipeline import open_data
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.train.log import read_log
from sepjax.train.loop import train
from sepjax.train.mesh import make_mesh
from tests.tiny_run import environment, finish, flags, start

FOLDER = Path(__file__).parents[1] / "fixtures/b054c28"


def valid_losses(run):
    records = read_log(run / "metrics.jsonl")
    return {r["step"]: r["loss"] for r in records if r["kind"] == "valid"}


def test_imported_weights_estimate_as_before():
    text = (FOLDER / "weights/model.safetensors").read_bytes()
    assert b"umx_hidden" in text  # a field of another family, as it was
    model, variables, config = sepjax.load(FOLDER / "weights")
    assert isinstance(config.model, TasNetConfig)
    assert (config.data.sources, config.data.sample_rate) == (("voice", "rest"), 8000)
    assert (config.eval.chunk_seconds, config.eval.rescale) == (2.0, False)
    with np.load(FOLDER / "estimate.npz") as arrays:
        mixture, expected, separated = (
            arrays[name] for name in ("mixture", "estimates", "stems")
        )
    assert_near(quick(model.apply)(variables, mixture).estimates, expected, 1e-5)
    options = dict(chunk=1.0, normalize=False, rescale=False)
    stems = sepjax.separate(model, variables, mixture[0], sample_rate=8000, **options)
    assert tuple(stems) == config.data.sources
    assert_near(np.stack(list(stems.values())), separated, 1e-5)


@pytest.mark.slow
def test_a_run_has_the_loss_that_it_had(tmp_path, monkeypatch):
    """The parameters of step 3 as those of a run that is only validated."""
    monkeypatch.setenv("SEPJAX_CACHE", environment(1)["SEPJAX_CACHE"])
    model, variables, config = sepjax.load(FOLDER / "run")
    assert isinstance(config.model, TasNetConfig)
    assert model.sources == config.data.sources
    assert config.name == "demo_music"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
    config.train.steps, config.train.pretrained_from = 0, str(FOLDER / "run")
    assert train(config, tmp_path, open_data(config), make_mesh(), provenance={})
    expected = valid_losses(FOLDER / "run")[3]
    assert expected == 36.81493948982978
    # Compilers' settings round differently.
    assert valid_losses(tmp_path)[0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_a_run_goes_on(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(FOLDER / "run", run)
    more = dict(train__log_every=1, train__steps=5, data__valid_seconds=0.0)
    finish(start(*flags(run, **more), "--mode=train"))
    records = read_log(run / "metrics.jsonl")
    before = read_log(FOLDER / "run/metrics.jsonl")
    assert records[: len(before)] == before
    assert [r["step"] for r in records if r["kind"] == "train"] == [1, 2, 3, 4, 5]
    assert sorted(valid_losses(run)) == [3, 5]
    assert json.loads((run / "config.json").read_text())["model"]["name"] == "tasnet"
    assert sepjax.load(run, which="latest")[2].train.steps == 5
