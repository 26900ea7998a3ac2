"""Checkpoint files of Meta-TasNet's trainer: imported, checked and run."""

import functools
import json

import numpy as np
import pytest
import soundfile
from torch_writer import pickled, tensors_of, write_zip
from vectors import assert_near, load, quick

import sepjax
from sepjax.commands import cli
from sepjax.weights import from_state_dict

TOLERANCE = 1e-4  # the README of the vectors: what float32 can reach
FILES = ("zip", "legacy_cuda", "dataparallel")


def run_import(*files, output, options=()):
    given = ["meta-tasnet", *map(str, files), "-o", str(output), *options]
    return cli.main(["import-weights", *given])


@pytest.fixture(scope="module")
def folders(shared_data, tmp_path_factory):
    """Imports of all three files."""
    root = tmp_path_factory.mktemp("imported")
    for name in FILES:
        path = shared_data / f"model_ref/meta_checkpoint_{name}.pth"
        assert run_import(path, output=root / name) == 0
    return {name: root / name for name in FILES}


def test_all_formats_are_the_same_model(folders):
    models = [(path / "model.safetensors").read_bytes() for path in folders.values()]
    assert models[1:] == models[:1] * 2
    facts = json.loads((folders["zip"] / "weights.json").read_text())
    assert facts["source"] == "https://github.com/pfnet-research/meta-tasnet"
    assert "trained on MUSDB18" in facts["licence"]
    assert "of the code: MIT" in facts["licence"]


def test_the_files_model_is_that_of_the_source(shared_data, folders):
    arrays, _, meta = load(shared_data, "meta_checkpoint_expect")
    model, variables, config = sepjax.load(folders["legacy_cuda"])
    assert config.data.sources == ("drums", "bass", "other", "vocals")
    assert config.data.sample_rate == 32000
    assert config.model.generator_bottleneck == meta["args"]["E_2"]
    mixtures = tuple(arrays[f"in/mix_{i}"][:, 0] for i in range(3))
    run = quick(functools.partial(model.apply, method="separate_levels"))
    for i, found in enumerate(run(variables, mixtures)):
        assert_near(found.estimates, arrays[f"out/separated_{i}"][:, :, 0], TOLERANCE)


def test_separate_runs_it(folders, tmp_path):
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, (22050, 2)).astype(np.float32)
    soundfile.write(tmp_path / "song.wav", wave, 44100, "FLOAT")
    command = ["separate", str(tmp_path / "song.wav"), "-n", str(folders["zip"])]
    assert cli.main([*command, "-o", str(tmp_path), "--float32"]) == 0
    stems = [
        soundfile.read(tmp_path / f"song/{name}.wav", always_2d=True)[0]
        for name in ("drums", "bass", "other", "vocals")
    ]
    assert all(stem.shape == wave.shape for stem in stems)
    # Least squares: what is left over has nothing in common with any stem. Both were
    # resampled, which keeps what lies below 16 kHz.
    for channel in range(2):
        each = np.stack([stem[:, channel] for stem in stems])
        rest = wave[:, channel] - each.sum(0)
        cosines = each @ rest / np.linalg.norm(each, axis=1) / np.linalg.norm(rest)
        assert np.abs(cosines).max() < 0.05


def checkpoint(path, shared_data, args=None, state=None):
    """A file as the trainer writes it, with other arguments or arrays."""
    arrays, _, meta = load(shared_data, "meta_checkpoint_expect")
    own = {key[2:]: array for key, array in arrays.items() if key.startswith("p/")}
    tensors, data = tensors_of(own | (state or {}))
    content = {"epoch": 7, "state_dict": tensors, "steps": 2}
    if args is not None:
        content["args"] = meta["args"] | args
    return write_zip(path, pickled(content), data)


@pytest.mark.parametrize(
    ("args", "state", "message"),
    [
        (dict(E_2=5), {}, "generator_bottleneck = 5, but its arrays have 3"),
        (dict(stages_num=2), {}, "stages = 2, but its arrays have 3"),
        (dict(layers=3), {}, "layers=3: the 2 blocks do not divide"),
        (dict(independent_params=True), {}, "independent_params = True"),
        (dict(num_mels=256), {}, "mels = 256, but its arrays have 4"),
        (None, {}, "--option layers="),
        ({}, {"stages.1.mask.prelu_1.weight": np.ones(2, "f4")}, "has shape (2,)"),
    ],
)
def test_what_the_file_says_is_checked(
    shared_data, tmp_path, capsys, args, state, message
):
    path = checkpoint(tmp_path / "a.pth", shared_data, args, state)
    assert run_import(path, output=tmp_path / "m") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "m").exists()


def test_without_arguments_and_with_a_stranger(shared_data, tmp_path, capsys, folders):
    state = {"stages.0.extra": np.ones(2, "f4")}
    path = checkpoint(tmp_path / "a.pth", shared_data, None, state)
    options = ["--option", "layers=1"]
    assert run_import(path, output=tmp_path / "m", options=options) == 0
    assert "stages.0.extra" in capsys.readouterr().err
    found = (tmp_path / "m/model.safetensors").read_bytes()
    assert found == (folders["zip"] / "model.safetensors").read_bytes()


def test_a_missing_array_is_named(shared_data):
    state = load(shared_data, "meta_weights")[1]
    del state["stages.2.mask.tcn.1.dconv1d.bottleneck.bias"]
    with pytest.raises(KeyError, match=r"no 'stages\.2\.mask\.tcn\.1\.dconv1d\.bott"):
        from_state_dict(state, family="meta_tasnet", layers=2)
