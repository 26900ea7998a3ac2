"""Imported weights that are damaged or lie: one error, which names the file."""

import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.config import Config
from sepjax.foreign.state_dict import StateReader
from sepjax.models.build import model_of
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.storage import sha256
from sepjax.weights import load_imported, save_safetensors, write_imported
from sepjax.weights.files import KEY

FACTS = {"family": "mine", "files": []}


@pytest.fixture(scope="module")
def weights():
    config = Config(
        model=TasNetConfig(encoding="simple", N=8, B=4, H=4, layers=2, stack=1)
    )
    draw, wave = model_of(config).init, jnp.zeros((1, 800))
    drawn = jax.eval_shape(draw, jax.random.key(0), wave)["params"]
    return config, jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), drawn)


@pytest.fixture
def folder(tmp_path, weights):
    write_imported(tmp_path / "mine", *weights, FACTS)
    return tmp_path / "mine"


def change(name, field, value):
    """Another value of a field of an array."""

    def damage(header):
        header[next(n for n in header if n.endswith(name))][field] = value

    return damage


def tell(**sections):
    """Other fields of the configuration."""

    def damage(header):
        tree = json.loads(header["__metadata__"][KEY])
        for section, fields in sections.items():
            tree[section] = tree[section] | fields if tree.get(section) else fields
        header["__metadata__"][KEY] = json.dumps(tree)

    return damage


def configuration(text):
    return lambda header: header["__metadata__"].update({KEY: text})


def rename(old, new):
    def damage(header):
        name = next(n for n in header if n.endswith(old))
        header[new] = header.pop(name)

    return damage


LIES = {
    "type that is none": change("kernel", "dtype", "F99"),
    "type of other size": change("kernel", "dtype", "F64"),
    "integers": change("kernel", "dtype", "I32"),
    "type that NumPy lacks": change("kernel", "dtype", "F8_E4M3"),
    "shape beyond the data": change("kernel", "shape", [1 << 40, 1 << 20]),
    "shape that wraps": change("kernel", "shape", [1 << 62, 4]),
    "negative shape": change("kernel", "shape", [-1]),
    "offsets beyond the end": change("kernel", "data_offsets", [0, 1 << 40]),
    "offsets backwards": change("kernel", "data_offsets", [64, 0]),
    "offsets that overlap": change("gain", "data_offsets", [0, 16]),
    "no offsets": lambda header: header.update({"x": {"dtype": "F32", "shape": []}}),
    "text for an array": lambda header: header.update({"x": "y"}),
    "metadata is a list": lambda header: header.update({"__metadata__": [1]}),
    "name within an array": rename("kernel", "encoder"),
    "empty name": rename("kernel", ""),
    "name of another array": rename("kernel", "a/b"),
    "no configuration": lambda header: header.pop("__metadata__"),
    "half a configuration": configuration('{"model": {'),
    "a list of configuration": configuration("[]"),
    "a deep configuration": configuration(99999 * "["),
    "a model that is a number": configuration('{"model": 3}'),
    "a family that is none": tell(model={"name": "nothing"}),
    "an encoding that is none": tell(model={"encoding": "nothing"}),
    "a size that is a text": tell(model={"N": "eight"}),
    "another size": tell(model={"N": 16}),
    "endless layers": tell(model={"layers": 10**9}),
    "endless stacks": tell(model={"stack": 10**18}),
    "no rate": tell(data={"sample_rate": 0}),
    "endless rate": tell(data={"sample_rate": 10**12}),
    "a path for a class": tell(data={"sources": ["../../x", "a", "b", "c"]}),
    "an absolute path for a class": tell(data={"sources": ["/x", "a", "b", "c"]}),
    "a class twice": tell(data={"sources": ["a", "A", "b", "c"]}),
    "a long class": tell(data={"sources": [300 * "a", "A", "b", "c"]}),
    "a NUL in a class": tell(data={"sources": ["a\0", "A", "b", "c"]}),
    "text for classes": tell(data={"sources": "vocals"}),
    "more classes": tell(data={"sources": ["a", "b", "c", "d", "e"]}),
    "module that is none": tell(extensions=["no_such_module"]),
}


def rewrite(folder, content):
    path, facts = folder / "model.safetensors", folder / "weights.json"
    path.write_bytes(content)
    tree = json.loads(facts.read_text()) | {"model_sha256": sha256(path)}
    facts.write_text(json.dumps(tree))


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
def test_headers_that_lie_are_told(folder, lie):
    content = (folder / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    lie(header)
    text = json.dumps(header).encode()
    rewrite(folder, struct.pack("<Q", len(text)) + text + content[8 + size :])
    with pytest.raises(ValueError, match=r"mine.model\.safetensors"):
        load_imported(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:4],
        lambda content: content[:200],
        lambda content: content[:-3],
        lambda content: content + b"more",
        lambda content: struct.pack("<Q", 1 << 60) + content[8:],
        lambda content: content[:8] + b"\xff" + content[9:],
    ],
)
def test_files_that_are_cut_are_told(folder, damage):
    rewrite(folder, damage((folder / "model.safetensors").read_bytes()))
    with pytest.raises(ValueError, match=r"mine.model\.safetensors"):
        load_imported(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"family": 3},
        {"family": ""},
        {"files": "a.pth"},
        {"licence_notice": ["x"]},
        {"separate": [1]},
        {"separate": {"chunk": "long"}},
        {"separate": {"chunk": -1.0}},
        {"separate": {"chunk": 0}},
        {"separate": {"overlap": 1.5}},
        {"separate": {"rescale": 1}},
        {"separate": {"__class__": 1}},
        {"model_sha256": 7},
    ],
)
def test_facts_of_another_type_are_told(folder, changes):
    path = folder / "weights.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=r"weights\.json"):
        load_imported(folder)


@pytest.mark.parametrize(
    "data", [{"sample_rate": 0}, {"sources": ("../x", "a")}, {"sources": "vocals"}]
)
def test_nothing_is_written_that_could_not_be_read(tmp_path, weights, data):
    config, params = weights
    config = Config(model=config.model)
    for name, value in data.items():
        setattr(config.data, name, value)
    with pytest.raises(ValueError, match=next(iter(data))):
        write_imported(tmp_path / "mine", config, params, FACTS)
    with pytest.raises(ValueError, match=next(iter(data))):
        save_safetensors(tmp_path / "x.safetensors", config, params)
    assert not list(tmp_path.iterdir())


def test_counts_are_bounded_by_what_is_there():
    for number in ("3", "999999999999", 5000 * "9"):
        names = ["net.0.weight", "net.1.weight", f"net.{number}.weight"]
        state = StateReader(dict.fromkeys(names, np.zeros(1)))
        with pytest.raises(ValueError, match="beyond the 3 arrays"):
            state.count(r"net\.(\d+)\.")
    state = StateReader({"bank": np.empty((10**12, 0))})
    with pytest.raises(ValueError, match="is empty"):
        state.take("bank", -1, -1)
