"""A model family of a user's own file, with its importer: nothing of ours changes."""

import json
import os
from pathlib import Path

import numpy as np
import soundfile
from torch_writer import pickled, tensors_of, write_zip

import sepjax
from tests.tiny_run import forks

FAMILY = '''
import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from sepjax.config import MODEL_CONFIGS, Config, DataConfig, ModelConfig
from sepjax.models.contract import Separation, SeparationModel
from sepjax.models.importers import Package, pick, state_dict_importer
from sepjax.models.registry import MODELS


@MODEL_CONFIGS.register("gains")
@dataclasses.dataclass(unsafe_hash=True)
class GainsConfig(ModelConfig):
    name: str = "gains"
    count: int = 1


@MODELS.register("gains")
class Gains(SeparationModel):
    config: GainsConfig
    sources: tuple[str, ...]
    sample_rate: int

    @nn.compact
    def __call__(self, mixture):
        shape = (len(self.sources),)
        gains = self.param("gains", lambda _: jnp.ones(shape))
        return Separation(gains[:, None] * mixture[:, None])


def read(content):
    sizes = pick(content["args"], count="n")
    return Package(content["weights"], pick(content["args"], "floor"), sizes)


@state_dict_importer(
    "gain-net",
    source="https://example.org/gains",
    licence="research only",
    read=read,
    separate={"rescale": False, "normalize": False},
)
def gains(state, *, floor: float, names: tuple[str, ...] = ("a", "b")):
    """Gains above a floor."""
    values = state.take("net.gains", -1) + floor
    data = DataConfig(sources=names, sample_rate=8000)
    model = GainsConfig(count=len(values))
    config = Config(model=model, data=data, extensions=("own_gains",))
    return config, {"gains": values}
'''


def sepjax_commands(folder, *lines):
    """Run commands where the user's file is found, as it is from its folder."""
    paths = os.pathsep.join([str(folder), str(Path(sepjax.__file__).parents[1])])
    return forks([["-m", "sepjax", *line] for line in lines], PYTHONPATH=paths)


def checkpoint(path, **arguments):
    tensors, data = tensors_of({"net.gains": np.array([0.5, 0.25], "f4")})
    content = {"weights": tensors, "args": arguments}
    return write_zip(path, pickled(content), data)


def test_from_ones_own_checkpoint_to_stems(tmp_path):
    (tmp_path / "own_gains.py").write_text(FAMILY)
    path = checkpoint(tmp_path / "a.pth", n=2, floor=0.125)
    importing = ("import-weights", "own_gains:gain-net", path, "-o", tmp_path / "m")
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, 4000).astype(np.float32)
    soundfile.write(tmp_path / "song.wav", wave, 8000, "FLOAT")
    separating = ("separate", tmp_path / "song.wav", "-n", tmp_path / "m")
    (code, imported), (status, separated) = sepjax_commands(
        tmp_path,
        (*importing, "--option", "names=voice,rest"),
        (*separating, "-o", tmp_path, "--float32"),
    )
    assert code == 0, imported
    assert "restricts their use: " in imported
    assert status == 0, separated
    facts = json.loads((tmp_path / "m/weights.json").read_text())
    assert facts["family"] == "gain-net"
    assert facts["source"] == "https://example.org/gains"
    assert facts["options"] == {"floor": 0.125, "names": ["voice", "rest"]}
    for name, gain in (("voice", 0.625), ("rest", 0.375)):
        stem, rate = soundfile.read(tmp_path / f"song/{name}.wav")
        assert rate == 8000
        np.testing.assert_allclose(stem, gain * wave, atol=1e-6)


def test_ones_own_checkpoint_is_checked(tmp_path):
    (tmp_path / "own_gains.py").write_text(FAMILY)
    importing = ("import-weights", "own_gains:gain-net")
    cases = (
        ("a.pth", dict(n=2), "cannot tell 'floor' from the file"),
        ("b.pth", dict(n=3, floor=0.0), "says count = 3, but its arrays have 2"),
    )
    paths = [checkpoint(tmp_path / name, **facts) for name, facts, _ in cases]
    lines = [(*importing, path, "-o", tmp_path / "m") for path in paths]
    results = sepjax_commands(tmp_path, *lines)
    for path, (_, _, message), (code, output) in zip(paths, cases, results):
        assert code == 1
        assert f"{path}: " in output
        assert message in output
    assert not (tmp_path / "m").exists()
