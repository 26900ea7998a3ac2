"""RoFormers from files: checkpoints of both kinds, the toolkit's YAML, odd ones."""

import json

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from torch_writer import pickled, tensors_of, write_zip

import sepjax
from sepjax.commands import cli
from sepjax.foreign.state_dict import state_of
from sepjax.foreign.torch_file import read_torch_file
from sepjax.models.importers import from_state_dict, run_importer

MEL = dict(n_fft=256, hop=55)
YAML = """
audio:
  chunk_size: 22050
  sample_rate: 44100
model:
  dim: 24
  depth: 2
  stereo: true
  num_stems: 1
  heads: 2
  dim_head: 8
  num_bands: 12
  sample_rate: 44100
  stft_n_fft: 256
  stft_hop_length: 55
  stft_win_length: 256
  mask_estimator_depth: 2
  multi_stft_resolutions_window_sizes: !!python/tuple
  - 96
  - 64
training:
  instruments: [vocals, other]
  target_instrument: vocals
inference:
  num_overlap: 4
"""


@pytest.fixture
def checkpoint(shared_data):
    return shared_data / "model_ref_modern/msst_mel_stereo_1stem.pth"


@pytest.fixture
def state(checkpoint):
    return dict(state_of(read_torch_file(checkpoint)))


def trees_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for one, other in zip(*map(jax.tree.leaves, (left, right))):
        np.testing.assert_array_equal(one, other)


def test_command_reads_checkpoint_and_yaml(checkpoint, tmp_path, capsys):
    (tmp_path / "model.yaml").write_text(YAML)
    folder, files = tmp_path / "mine", [checkpoint, tmp_path / "model.yaml"]
    assert (
        cli.main(["import-weights", "roformer", *map(str, files), "-o", str(folder)])
        == 0
    )
    assert "sources vocals, other" in capsys.readouterr().out
    facts = json.loads((folder / "weights.json").read_text())
    assert [len(file["sha256"]) for file in facts["files"]] == [64, 64]
    assert facts["licence"].startswith("of the weights: not known")
    assert facts["separate"] == dict(
        normalize=False, rescale=False, chunk=0.5, overlap=0.75
    )
    model, _, config = sepjax.load(folder)
    assert model.sources == ("vocals", "other")
    assert (config.eval.chunk_seconds, config.eval.overlap) == (0.5, 0.75)
    assert (config.model.difference, config.model.zero_dc) == (True, True)


@pytest.mark.parametrize("key", ["state", "model_state_dict", "state_dict"])
def test_wrapped_and_plain_are_the_same(state, tmp_path, key):
    options = dict(hop="55", n_fft="256")
    expected = from_state_dict(state, family="roformer", **MEL)[1]
    tensors, data = tensors_of({f"module.{name}": leaf for name, leaf in state.items()})
    path = write_zip(tmp_path / "model.ckpt", pickled({key: tensors, "epoch": 3}), data)
    trees_equal(run_importer("roformer", [path], options).params, expected)
    save_file(state, tmp_path / "model.safetensors")
    path = tmp_path / "model.safetensors"
    trees_equal(run_importer("roformer", [path], options).params, expected)


def test_sixteen_bits_are_read(state, tmp_path):
    options = dict(hop="55", n_fft="256")
    for kind in (np.float16, ml_dtypes.bfloat16):
        narrow = {name: leaf.astype(kind) for name, leaf in state.items()}
        path = tmp_path / "model.safetensors"
        save_file(narrow, path)
        params = run_importer("roformer", [path], options).params
        wide = {n: np.asarray(leaf, np.float32) for n, leaf in narrow.items()}
        wide |= {name: state[name] for name in state if name.endswith(".freqs")}
        trees_equal(params, from_state_dict(wide, family="roformer", **MEL)[1])


def test_one_name_more_is_what_is_left(state):
    config, _ = from_state_dict(state, family="roformer", sources=("v", "rest"), **MEL)
    assert (config.data.sources, config.model.difference) == (("v", "rest"), True)
    config, _ = from_state_dict(state, family="roformer", sources=("v",), **MEL)
    assert (config.data.sources, config.model.difference) == (("v",), False)


def changed(name, change):
    def damage(state):
        key = next(key for key in state if key.endswith(name))
        state[key] = change(state[key])

    return damage


@pytest.mark.parametrize(
    ("damage", "options", "error", "message"),
    [
        (None, dict(n_fft=512), ValueError, "numbers, .* in all, but those of audio_"),
        (None, dict(sample_rate=8000), ValueError, "give what is right with --option"),
        (None, dict(sources=("a", "b", "c")), ValueError, "are 3, the model has 1"),
        (None, dict(zero_dc="perhaps"), ValueError, "zero_dc='perhaps' must be one of"),
        (None, dict(audio_channels=0), ValueError, "of audio_channels=0, "),
        (None, dict(n_fft=10**9), ValueError, "n_fft=1000000000 must be even"),
        (lambda s: s.clear(), {}, ValueError, "is it of another family"),
        (
            lambda s: s.pop("layers.1.0.layers.0.1.net.4.bias"),
            {},
            KeyError,
            "no 'layers.1.0.layers.0.1.net.4.bias'",
        ),
        (changed("freqs", lambda a: 2 * a), {}, ValueError, "other frequencies"),
        (changed("to_gates.weight", lambda a: a[:, 1:]), {}, ValueError, "expected"),
        (
            lambda s: s.update({"layers.0.0.layers.0.0.static_alpha": np.ones(4)}),
            {},
            ValueError,
            "num_residual_streams=1",
        ),
    ],
)
def test_odd_states_are_told(state, damage, options, error, message):
    state = dict(state)
    if damage:
        damage(state)
    with pytest.raises(error, match=message):
        from_state_dict(state, family="roformer", **MEL | options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model: {dim: 25, stereo: true}",
            "says channels = 25, but its arrays have 24",
        ),
        ("model: {channels: 4}", "no settings of a RoFormer"),
        ("model: [", "not readable as YAML"),
        ("[]", "no settings of a RoFormer"),
        ("model: {dim: 24, stft_n_fft: many}", "a value is of another kind"),
        ("{model: {dim: 24}, audio: {chunk_size: 1}}", "another kind: chunks of 1"),
        ("{model: {dim: 24}, inference: {num_overlap: -2}}", "kind: chunks of 352800"),
        ("model: !!python/object:os.system {}", "not readable as YAML"),
    ],
)
def test_odd_settings_are_told(checkpoint, tmp_path, text, message):
    path = tmp_path / "model.yaml"
    path.write_text(text)
    options = dict(hop="55", n_fft="256", window="256")
    with pytest.raises(ValueError, match=message):
        run_importer("roformer", [path, checkpoint], options)


def test_odd_files_are_told(checkpoint, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        run_importer("roformer", [path], dict(hop="55"))
    with pytest.raises(ValueError, match="2 checkpoints and 0 YAML files"):
        run_importer("roformer", [checkpoint, path], dict(hop="55"))
    with pytest.raises(ValueError, match="give it with --option hop"):
        run_importer("roformer", [checkpoint], {})
