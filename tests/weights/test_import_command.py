"""``sepjax import-weights``: from the files of projects to stems."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import soundfile
from torch_writer import Call, name, pickled, tensors_of, write_zip
from vectors import assert_near, load, quick

import sepjax
from sepjax.commands import cli
from sepjax.models.importers import IMPORTERS, Imported, make_facts, run_importer

# The README of the vectors: what a float32 implementation can reach.
TOLERANCE = 1e-5
ADDRESSES = {
    "kaituoxu": "https://github.com/kaituoxu/Conv-TasNet",
    "asteroid": "https://github.com/asteroid-team/asteroid",
    "demucs": "https://github.com/facebookresearch/demucs/tree/v1",
    "demucs_tasnet": "https://github.com/facebookresearch/demucs/tree/v1",
}
FILES = (
    ("kaituoxu", "kaituoxu_gln_relu.pth.tar", "kaituoxu_gln_relu"),
    ("asteroid", "asteroid_gln_sigmoid.pth", "asteroid_gln_sigmoid"),
    ("demucs", "demucs_v1_depth3_mono.th.gz", "demucs_v1_depth3_mono"),
    ("demucs", "demucs_v1_depth3_mono_legacy_cuda.th", "demucs_v1_depth3_mono"),
    ("demucs_tasnet", "demucs_v1_tasnet_stereo.th.gz", "demucs_tasnet_stereo"),
)


def run(family, *files, output, options=()):
    given = [family, *map(str, files), "-o", str(output), *options]
    return cli.main(["import-weights", *given])


def plain_file(path, shared_data, vector):
    """A checkpoint with the state dict of a vector and nothing else."""
    state = load(shared_data, vector)[1]
    tensors, data = tensors_of(state)
    return write_zip(path, pickled(tensors), data)


def check_estimates(folder, shared_data, vector):
    arrays, _, meta = load(shared_data, vector)
    model, variables, config = sepjax.load(folder)
    demucs = config.model.name == "demucs"
    wave = arrays["in/track"][None] if demucs else arrays["in/x"]
    expected = arrays["out/track"][None] if demucs else arrays["out/y"]
    if wave.ndim == 3 and config.model.audio_channels == 1:
        wave = wave[:, 0]
    found = quick(model.apply)(variables, wave).estimates
    assert_near(found, expected.reshape(found.shape), TOLERANCE)
    return config, meta


@pytest.mark.parametrize(("family", "file", "vector"), FILES)
def test_files_of_projects(shared_data, tmp_path, capsys, family, file, vector):
    path = shared_data / "model_ref" / file
    folder = tmp_path / "model"
    assert run(family, path, output=folder) == 0
    assert f"{folder}: {family}, " in capsys.readouterr().out
    config, meta = check_estimates(folder, shared_data, vector)
    facts = json.loads((folder / "weights.json").read_text())
    assert facts["files"][0]["name"] == file
    assert len(facts["files"][0]["sha256"]) == 64
    assert facts["source"] == ADDRESSES[family]
    rate = meta["kwargs"].get("samplerate", meta["kwargs"].get("sample_rate"))
    assert config.data.sample_rate == (
        rate or {"demucs_tasnet": 44100}.get(family, 8000)
    )
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run(family, path, output=folder) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


@pytest.mark.parametrize(
    ("family", "vector", "options"),
    [
        ("naplab", "naplab_causal", ["--option", "layers=3"]),
        ("torchaudio", "torchaudio_default_like", ["--option", "layers=3"]),
    ],
)
def test_state_dicts_with_options(shared_data, tmp_path, family, vector, options):
    path = plain_file(tmp_path / "a.pth", shared_data, vector)
    count = 3 if family == "naplab" else 2
    names = [f"s{n}" for n in range(count)]
    options = [*options, "--sources", ",".join(names), "--sample-rate", "16000"]
    assert run(family, path, output=tmp_path / "m", options=options) == 0
    config, _ = check_estimates(tmp_path / "m", shared_data, vector)
    assert config.data.sources == tuple(names)
    assert config.data.sample_rate == 16000


def test_separate_and_inspect_take_the_folder(shared_data, tmp_path, capsys):
    path = shared_data / "model_ref/asteroid_gln_sigmoid.pth"
    licence = ["--licence", "CC BY-NC-SA 4.0", "--sources", "first,second"]
    folder = tmp_path / "model"
    assert run("asteroid", path, output=folder, options=licence) == 0
    assert "restricts their use: CC BY-NC-SA" in capsys.readouterr().err
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, (9000, 1)).astype(np.float32)
    soundfile.write(tmp_path / "song.wav", wave, 8000, "FLOAT")
    stems = tmp_path / "stems"
    command = ["separate", str(tmp_path / "song.wav"), "-n", str(folder), "--float32"]
    assert cli.main([*command, "-o", str(stems)]) == 0
    assert "restricts their use: CC BY-NC-SA" in capsys.readouterr().err
    model, variables, _ = sepjax.load(folder)
    expected = sepjax.separate(model, variables, wave, sample_rate=8000)
    for source in ("first", "second"):
        found, rate = soundfile.read(stems / f"song/{source}.wav", always_2d=True)
        assert rate == 8000
        np.testing.assert_allclose(found, expected[source], atol=1e-6)
    assert cli.main(["inspect", "--json", str(folder)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["weights"]["licence"] == "CC BY-NC-SA 4.0"
    assert shown["model"]["N"] == 24
    leaves = jax.tree.leaves(variables["params"])
    assert shown["parameters"] == sum(leaf.size for leaf in leaves)


def test_estimates_with_a_scale_keep_it(shared_data, tmp_path):
    path = shared_data / "model_ref/demucs_v1_depth3_mono.th.gz"
    assert run("demucs", path, output=tmp_path / "m") == 0
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, (4000, 1)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 8000, "FLOAT")
    command = ["separate", str(tmp_path / "a.wav"), "-n", str(tmp_path / "m")]
    assert cli.main([*command, "-o", str(tmp_path), "--float32"]) == 0
    model, variables, _ = sepjax.load(tmp_path / "m")
    raw, fitted = (
        sepjax.separate(model, variables, wave, sample_rate=8000, rescale=rescale)
        for rescale in (False, True)
    )
    found, _ = soundfile.read(tmp_path / "a/source_1.wav", always_2d=True)
    np.testing.assert_allclose(found, raw["source_1"], atol=1e-6)
    assert not np.allclose(fitted["source_1"], raw["source_1"], rtol=0.1)


@pytest.mark.parametrize(
    ("family", "file", "options", "message"),
    [
        ("kaitu", "kaituoxu_gln_relu.pth.tar", [], "did you mean 'kaituoxu'"),
        ("kaituoxu", "missing.pth", [], "No such file"),
        ("kaituoxu", "kaituoxu_gln_relu.npz", [], "no PyTorch checkpoint"),
        ("kaituoxu", "README.md", [], "no PyTorch checkpoint"),
        ("kaituoxu", "kaituoxu_gln_relu.pth.tar", ["--option", "x=1"], "no option 'x'"),
        ("kaituoxu", "kaituoxu_gln_relu.pth.tar", ["--option", "x"], "KEY=VALUE"),
        (
            *("kaituoxu", "kaituoxu_gln_relu.pth.tar", ["--sample-rate", "8k"]),
            "sample_rate=8k: no int",
        ),
        (
            *("kaituoxu", "kaituoxu_gln_relu.pth.tar", ["--sources", "a,b,c"]),
            "are 3, the model has 2",
        ),
        ("naplab", "kaituoxu_gln_relu.pth.tar", [], "--option layers="),
        ("asteroid", "kaituoxu_gln_relu.pth.tar", ["--option", "layers=3"], "family?"),
        ("demucs", "demucs_v1_tasnet_stereo.th.gz", [], "demucs.tasnet.ConvTasNet"),
        ("demucs", "kaituoxu_gln_relu.pth.tar", [], "no 'encoder.0.0.weight'"),
    ],
)
def test_one_line_about_what_is_wrong(
    shared_data, tmp_path, capsys, family, file, options, message
):
    path = shared_data / "model_ref" / file
    assert run(family, path, output=tmp_path / "m", options=options) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not list(tmp_path.iterdir())


def kaituoxu_file(path, shared_data, **changes):
    """The package of kaituoxu's, with other facts."""
    arrays = load(shared_data, "kaituoxu_gln_relu")[1]
    arrays |= changes.pop("more", {})
    state, data = tensors_of(arrays)
    facts = dict(N=24, X=3, R=2, norm_type="gLN", mask_nonlinear="relu", causal=False)
    program = pickled(facts | changes | {"state_dict": state})
    return write_zip(path, program, data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(X=8), "layers = 8, but its arrays have 3"),
        (dict(causal=True), "causal = True, but its arrays have False"),
        (dict(norm_type="BN"), "norm='BN'"),
        (dict(norm_type=["gLN"]), "norm = ['gLN']"),
        (dict(more={"encoder.conv1d_U.weight": np.zeros((5, 1, 16), "f4")}), "shape"),
        (
            dict(more={"encoder.conv1d_U.weight": np.full((24, 1, 16), np.inf, "f4")}),
            "not finite",
        ),
        (dict(state=Call("os", "system", "true")), "wants to run 'os.system'"),
    ],
)
def test_what_a_file_says_is_checked(shared_data, tmp_path, capsys, changes, message):
    path = kaituoxu_file(tmp_path / "a.pth", shared_data, **changes)
    assert run("kaituoxu", path, output=tmp_path / "m") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_unknown_arrays_are_told(shared_data, tmp_path, capsys):
    more = {"separator.extra": np.zeros(3, "f4")}
    path = kaituoxu_file(tmp_path / "a.pth", shared_data, more=more)
    assert run("kaituoxu", path, output=tmp_path / "m") == 0
    error = capsys.readouterr().err
    assert "sepjax: warning: 1 arrays of the state dict are unknown" in error
    assert "separator.extra" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(stride=2), "stride = 2"),
        (dict(resample=True), "resample = True"),
        (dict(channels=7), "channels = 7, but its arrays have 6"),
        (dict(sources=["a", "b", "c"]), "are 3, the model has 2"),
        (dict(sources=["drums", "rest"]), ""),
    ],
)
def test_arguments_of_demucs(shared_data, tmp_path, capsys, arguments, message):
    state = load(shared_data, "demucs_v1_depth3_mono")[1]
    tensors, data = tensors_of(state)
    content = (name("demucs.model", "Demucs"), (), arguments, tensors)
    path = write_zip(tmp_path / "a.th", pickled(content), data)
    assert run("demucs", path, output=tmp_path / "m") == (1 if message else 0)
    assert message in capsys.readouterr().err
    if not message:
        assert sepjax.load(tmp_path / "m")[0].sources == ("drums", "rest")


def test_a_licence_inside_a_file_is_told(shared_data, tmp_path, capsys):
    state = load(shared_data, "asteroid_gln_sigmoid")[1]
    tensors, data = tensors_of(state)
    notes = {"dataset": "x", "license_note": "derived from x, CC BY-NC 4.0"}
    content = {
        "model_name": "ConvTasNet",
        "state_dict": tensors,
        "model_args": {"n_blocks": 3, "sample_rate": 8000.0},
        "infos": notes,
    }
    path = write_zip(tmp_path / "a.pth", pickled(content), data)
    assert run("asteroid", path, output=tmp_path / "m") == 0
    assert "derived from x, CC BY-NC 4.0" in capsys.readouterr().err


def test_an_importer_of_ones_own(tmp_path, monkeypatch, shared_data):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")

    def mine(paths, *, size: int, deep: bool = False, names: tuple[str, ...] = ()):
        facts = make_facts("mine", paths, source="here", licence="MIT", size=size)
        return Imported(None, (deep, names), facts)

    monkeypatch.setitem(IMPORTERS, "mine", mine)
    given = {"size": "3", "deep": "true", "names": "a, b"}
    found = run_importer("mine", [path, path], given)
    assert found.params == (True, ("a", "b"))
    assert found.facts["size"] == 3
    assert found.facts["files"][1]["name"] == "a.bin"
    assert found.facts["files"][0]["sha256"].startswith("ba7816bf")  # of "abc"
    assert found.facts["licence_notice"] == ""
    for options, message in (
        ({}, "'size' from the file: give it"),
        ({"size": "3", "deep": "yes"}, "true or false"),
        ({"size": "3.5"}, "no int"),
    ):
        with pytest.raises(ValueError, match=message):
            run_importer("mine", [path], options)


def test_no_torch_is_needed():
    code = "import sys; import sepjax.weights; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
