"""A folder of imported weights: the same bytes, the same model, whole or not at all."""

import json
import os

import jax
import numpy as np
import pytest
from vectors import load

import sepjax
from sepjax.commands import cli
from sepjax.weights import (
    from_state_dict,
    load_imported,
    load_safetensors,
    save_safetensors,
    write_imported,
)
from sepjax.weights.store import describe_imported, read_facts

FACTS = {"family": "naplab", "files": [{"name": "a.pth", "sha256": "0"}]}


@pytest.fixture(scope="module")
def weights(shared_data):
    return from_state_dict(
        load(shared_data, "naplab_noncausal")[1], family="naplab", layers=3
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_written_is_loaded(tmp_path, weights):
    config, params = weights
    habits = {"chunk": 2.0, "overlap": 0.5, "normalize": False}
    write_imported(tmp_path / "a", config, params, FACTS | {"separate": habits})
    for read in (load_imported, sepjax.load):
        model, variables, found = read(tmp_path / "a")
        jax.tree.map(np.testing.assert_array_equal, variables["params"], params)
        assert model.sources == found.data.sources == config.data.sources
        assert found.model == config.model
        assert found.data.sample_rate == 8000
        assert (found.eval.chunk_seconds, found.eval.overlap) == (2.0, 0.5)
        assert found.data.normalize is False
    shown = describe_imported(tmp_path / "a")
    assert shown["parameters"] == sum(x.size for x in jax.tree.leaves(params))
    assert shown["weights"]["sepjax"] == sepjax.__version__
    assert shown["model"]["N"] == config.model.N
    json.dumps(shown)


def test_scored_as_a_system_is(tmp_path, weights, monkeypatch):
    folder = tmp_path / "a"
    write_imported(folder, *weights, FACTS)
    first, second = weights[0].data.sources
    changes = [f"data.sums={second}=x+y", "eval.excerpts=2"]
    model, variables, config = sepjax.load(folder, changes=changes)
    jax.tree.map(np.testing.assert_array_equal, variables["params"], weights[1])
    assert config.data.recorded == (first, "x", "y")
    assert (config.data.missing, config.eval.excerpts) == ("silence", 2)
    for change in ("model.N=3", "data.sample_rate=100", "data.sources=a,b,c"):
        with pytest.raises(ValueError, match="has weights, which fit no other model"):
            sepjax.load(folder, changes=[change])
    called = []
    monkeypatch.setattr(
        "sepjax.experiment.score.score", lambda *given: called.append(given) or True
    )
    monkeypatch.setattr("data_pipelines.pipeline.open_data", lambda config: config)
    command = ["evaluate", str(folder), "-o", str(tmp_path / "scores")]
    assert cli.main([*command, "--set", changes[0]]) == 0
    ((place, config, _, _, (model, _)),) = called
    assert (place, config.data.dataset) == (tmp_path / "scores", "demo")
    assert model.sources == config.data.sources


def test_the_same_import_gives_the_same_bytes(tmp_path, weights):
    write_imported(tmp_path / "a", *weights, FACTS)
    write_imported(tmp_path / "b", *weights, dict(reversed(FACTS.items())))
    first = contents(tmp_path / "a")
    assert sorted(first) == ["model.safetensors", "weights.json"]
    assert contents(tmp_path / "b") == first
    write_imported(tmp_path / "b", *weights, FACTS | {"family": "other"})
    write_imported(tmp_path / "b", *weights, FACTS)  # in place of it
    assert contents(tmp_path / "b") == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_an_interrupted_import_is_no_folder(tmp_path, weights, monkeypatch):
    def interrupt(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as moment:
        moment.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_imported(tmp_path / "a", *weights, FACTS)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_replacement_leaves_the_old_one(tmp_path, weights, monkeypatch):
    config, params = weights
    write_imported(tmp_path / "a", config, params, FACTS)
    other = jax.tree.map(lambda x: x + 1, params)

    def interrupted(path, config, params):
        save_safetensors(path, config, params)
        raise KeyboardInterrupt

    with monkeypatch.context() as moment:
        moment.setattr("sepjax.weights.store.save_safetensors", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_imported(tmp_path / "a", config, other, FACTS)
    found = load_imported(tmp_path / "a")[1]["params"]
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_other_files_are_left_alone(tmp_path, weights):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileExistsError, match="holds other files \\(checkpoints\\)"):
        write_imported(tmp_path, *weights, FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["encoder"]["bank"].pop("kernel"), "missing instead of"),
        (lambda p: p.update(more=np.zeros(2, np.float32)), "instead of none"),
        (
            lambda p: p["decoder"]["bank"].update(kernel=np.zeros((3, 2), np.float32)),
            r"\(3, 2\) instead of \(16, 24\)",
        ),
        (lambda p: p["separator"].update(norm_gain=np.full(24, np.nan)), "not finite"),
    ],
)
def test_parameters_that_do_not_fit(tmp_path, weights, change, message):
    config, params = weights
    params = jax.tree.map(np.array, params)
    change(params)
    with pytest.raises(ValueError, match=message):
        write_imported(tmp_path / "a", config, params, FACTS)
    assert not list(tmp_path.iterdir())


def test_folders_that_are_damaged(tmp_path, weights):
    with pytest.raises(ValueError, match="no 'files'"):
        write_imported(tmp_path / "a", *weights, {"family": "naplab"})
    folder = tmp_path / "a"
    write_imported(folder, *weights, FACTS)
    whole = (folder / "weights.json").read_text()
    for text in ("{", "[]", "{}"):
        (folder / "weights.json").write_text(text)
        with pytest.raises(ValueError, match=r"weights\.json"):
            read_facts(folder)
    (folder / "weights.json").unlink()
    with pytest.raises(FileNotFoundError, match="where the weights are from"):
        sepjax.load(folder)
    (folder / "weights.json").write_text(whole)
    config, params = load_safetensors(folder / "model.safetensors")
    config.data.sources = ("x", "y")
    save_safetensors(folder / "model.safetensors", config, params)
    with pytest.raises(ValueError, match="not the file that weights"):
        sepjax.load(folder)
