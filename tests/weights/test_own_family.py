"""A model family of a user's own file, with its importer: nothing of ours changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from torch_writer import pickled, tensors_of, write_zip

import sepjax

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


def sepjax_command(folder, *arguments):
    """Run a command where the user's file is found, as it is from its folder."""
    code = "import sys; from sepjax.commands import cli; sys.exit(cli.main())"
    paths = os.pathsep.join([str(folder), str(Path(sepjax.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )


def checkpoint(path, **arguments):
    tensors, data = tensors_of({"net.gains": np.array([0.5, 0.25], "f4")})
    content = {"weights": tensors, "args": arguments}
    return write_zip(path, pickled(content), data)


def test_from_ones_own_checkpoint_to_stems(tmp_path):
    (tmp_path / "own_gains.py").write_text(FAMILY)
    path = checkpoint(tmp_path / "a.pth", n=2, floor=0.125)
    importing = ("import-weights", "own_gains:gain-net", path, "-o", tmp_path / "m")
    done = sepjax_command(tmp_path, *importing, "--option", "names=voice,rest")
    assert done.returncode == 0, done.stderr
    assert "restricts their use: " in done.stderr
    facts = json.loads((tmp_path / "m/weights.json").read_text())
    assert facts["family"] == "gain-net"
    assert facts["source"] == "https://example.org/gains"
    assert facts["options"] == {"floor": 0.125, "names": ["voice", "rest"]}
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, 4000).astype(np.float32)
    soundfile.write(tmp_path / "song.wav", wave, 8000, "FLOAT")
    separating = ("separate", tmp_path / "song.wav", "-n", tmp_path / "m")
    done = sepjax_command(tmp_path, *separating, "-o", tmp_path, "--float32")
    assert done.returncode == 0, done.stderr
    for name, gain in (("voice", 0.625), ("rest", 0.375)):
        stem, rate = soundfile.read(tmp_path / f"song/{name}.wav")
        assert rate == 8000
        np.testing.assert_allclose(stem, gain * wave, atol=1e-6)


def test_ones_own_checkpoint_is_checked(tmp_path):
    (tmp_path / "own_gains.py").write_text(FAMILY)
    importing = ("import-weights", "own_gains:gain-net")
    for name, arguments, message in (
        ("a.pth", dict(n=2), "cannot tell 'floor' from the file"),
        ("b.pth", dict(n=3, floor=0.0), "says count = 3, but its arrays have 2"),
    ):
        path = checkpoint(tmp_path / name, **arguments)
        done = sepjax_command(tmp_path, *importing, path, "-o", tmp_path / "m")
        assert done.returncode == 1
        assert f"{path}: " in done.stderr
        assert message in done.stderr
    assert not (tmp_path / "m").exists()
