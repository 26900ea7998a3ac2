"""One file for a model, the same bytes for the same model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from vectors import load

from sepjax.weights import from_state_dict, load_safetensors, save_safetensors
from tests.support.models import config_of


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("naplab_causal", dict(family="naplab", layers=3, sources=("a", "b", "c"))),
        ("demucs_v1_depth3_mono", dict(family="demucs", sample_rate=8000)),
    ],
)
def test_round_trip(shared_data, tmp_path, name, options):
    config, params = from_state_dict(load(shared_data, name)[1], **options)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_safetensors(first, config, params)
    again, same = load_safetensors(first)
    assert (again.model, again.data) == (config.model, config.data)
    assert isinstance(again.data.sources, tuple)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    save_safetensors(second, again, same)
    assert first.read_bytes() == second.read_bytes()


def test_bytes_do_not_depend_on_the_order_or_memory_layout(tmp_path):
    matrix = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    count = np.arange(3, dtype=np.int32)
    trees = [
        {"b": {"y": matrix.T.copy(), "x": np.float32(3)}, "a": count},
        {"a": jnp.asarray(count), "b": {"x": jnp.float32(3), "y": matrix.T}},
    ]
    files = []
    for index, tree in enumerate(trees):
        path = tmp_path / f"{index}.safetensors"
        save_safetensors(path, config_of(), tree)
        files.append(path.read_bytes())
    assert files[0] == files[1]
    _, params = load_safetensors(path)
    np.testing.assert_array_equal(params["b"]["y"], matrix.T)
    assert params["b"]["x"].shape == ()


def test_names_are_paths(tmp_path):
    path = tmp_path / "model.safetensors"
    save_safetensors(path, config_of(), {"encoder": {"bank": {"kernel": np.ones(2)}}})
    with safe_open(str(path), framework="numpy") as file:
        assert list(file.keys()) == ["encoder/bank/kernel"]


def test_files_of_others_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"x": np.ones(2)}, path)
    with pytest.raises(ValueError, match="not written by save_safetensors"):
        load_safetensors(path)
    with pytest.raises(ValueError, match="has a '/' of its own"):
        save_safetensors(path, config_of(), {"a": {"b/c": np.ones(1)}})
