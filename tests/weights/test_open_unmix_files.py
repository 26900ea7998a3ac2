"""Open-Unmix from files: anyone's folder, and the released models by name.

The released files are not here: random weights have their names, forms and, where it
says so, their hashes.
"""

import json

import jax
import numpy as np
import pytest
import soundfile
from open_unmix_folder import (
    contents,
    random_state,
    run,
    states_of,
    vectors,
    write_json,
    write_state,
)
from vectors import assert_near, quick

import sepjax
from sepjax.commands import cli
from sepjax.config import resolve
from sepjax.configs.chapter6 import get_config
from sepjax.models.build import model_of
from sepjax.models.releases import RELEASES
from sepjax.train.pretrained import require_same_meaning
from sepjax.weights import as_variables, load_safetensors, save_safetensors

# The README of the vectors: what a float32 implementation can reach.
TOLERANCE = 1e-5


@pytest.fixture
def folder(shared_data, tmp_path):
    """A folder as Open-Unmix' scripts leave it, of the separator's vectors."""
    states = states_of(vectors(shared_data, "separator_n1"))
    place = tmp_path / "trained"
    place.mkdir()
    told = dict(sample_rate=44100.0, nfft=512, nhop=128, nb_channels=2)
    for target, state in states.items():
        write_state(place / f"{target}.pth", state)
        (place / f"{target}.chkpnt").write_bytes(b"of the optimizer")
        write_json(place / f"{target}.json", args=told | {"hidden_size": 16})
    write_json(place / "separator.json", **told)
    return place


def test_from_files_to_stems(shared_data, folder, tmp_path, capsys):
    data = vectors(shared_data, "separator_n1")
    order = ",".join(data["targets"].tolist())
    options = ["--sources", order]
    assert run("open-unmix", folder, output=tmp_path / "m", options=options) == 0
    printed, error = capsys.readouterr()
    assert "open_unmix, " in printed
    assert not error  # nothing that the files hold is unknown
    model, variables, config = sepjax.load(tmp_path / "m")
    found = quick(model.apply)(variables, data["audio"])
    assert_near(found.estimates, data["estimates"], TOLERANCE)
    assert set(variables) == {"params", "batch_stats"}
    # Whole excerpts of 300 frames, as loud as they are.
    assert config.data.normalize is False
    assert round(config.eval.chunk_seconds * 44100) == 599 * 128
    soundfile.write(tmp_path / "a.wav", data["audio"][0].T, 44100, "FLOAT")
    command = ["separate", str(tmp_path / "a.wav"), "-n", str(tmp_path / "m")]
    command += ["-o", str(tmp_path), "--float32", "--chunk", str(5000 / 44100)]
    assert cli.main(command) == 0
    for number, target in enumerate(data["targets"].tolist()):
        stem, _ = soundfile.read(tmp_path / f"a/{target}.wav", dtype="float32")
        assert_near(stem.T, data["estimates"][0, number], TOLERANCE)


def test_the_same_bytes_again(shared_data, folder, tmp_path, capsys):
    assert run("open-unmix", folder, output=tmp_path / "m") == 0
    first = contents(tmp_path / "m")
    assert run("open-unmix", *folder.glob("*.pth"), output=tmp_path / "n") == 0
    assert contents(tmp_path / "n") == first
    config, params = load_safetensors(tmp_path / "m/model.safetensors")
    save_safetensors(tmp_path / "again", config, params)
    assert (tmp_path / "again").read_bytes() == first["model.safetensors"]
    assert config.data.sources == ("vocals", "drums", "bass")
    capsys.readouterr()
    assert cli.main(["inspect", "--json", str(tmp_path / "m")]) == 0
    shown = json.loads(capsys.readouterr().out)
    trained = as_variables(params)["params"]
    # Statistics are no parameters.
    assert shown["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(trained))
    assert [file["name"] for file in shown["weights"]["files"]] == [
        *("vocals.pth", "drums.pth", "bass.pth")
    ]


@pytest.mark.parametrize("name", ["core_stereo", "core_uni"])
def test_one_target_of_any_kind(shared_data, tmp_path, name):
    data = vectors(shared_data, name)
    state = {key[2:]: value for key, value in data.items() if key.startswith("p/")}
    write_state(tmp_path / "lead_voice.pth", state, old=True)
    options = ["--sample-rate", "16000", "--option", "hop=16"]
    assert run("open-unmix", tmp_path, output=tmp_path / "m", options=options) == 0
    model, variables, config = sepjax.load(tmp_path / "m")
    assert model.sources == ("lead_voice",)
    assert (config.model.hop, config.data.sample_rate) == (16, 16000)
    x = data["x"].transpose(0, 3, 1, 2)
    found = quick(lambda v: model.apply(v, x, method="magnitudes"))(variables)
    assert_near(found[:, 0], data["y_eval"].transpose(0, 3, 1, 2), TOLERANCE)


def test_residual_and_iterations(folder, tmp_path):
    options = ["--option", "residual=true", "--option", "iterations=2"]
    assert run("open-unmix", folder, output=tmp_path / "m", options=options) == 0
    model = sepjax.load(tmp_path / "m")[0]
    assert model.sources == ("vocals", "drums", "bass", "residual")
    assert model.config.wiener_iterations == 2


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("separator.json", "{", [], "separator.json is damaged"),
        ("separator.json", "[]", [], "separator.json is damaged"),
        ("separator.json", '{"nfft": 512}', [], "sample_rate = None must be a whole"),
        (
            *("separator.json", '{"nfft": 64, "nhop": 16, "sample_rate": 1,'),
            *([], "is damaged"),
        ),
        (
            "separator.json",
            '{"nfft": 64, "nhop": 16, "sample_rate": 8000, "nb_channels": 2}',
            *([], "separator.json says n_fft = 64, but the files have 512"),
        ),
        ("separator.json", None, [], "there is no separator.json: give --sample-rate"),
        (
            *("drums.json", '{"args": {"hidden_size": 8}}', []),
            "drums.json says hidden = 8, but the files have 16",
        ),
        (
            *("a.txt", "", ["--sample-rate", "8000"]),
            "sample_rate = 8000, but separator.json says 44100",
        ),
        ("a.txt", "", ["--option", "hop=64"], "hop = 64, but separator.json says 128"),
        ("a.txt", "", ["--sources", "vocal"], "no 'vocal.pth': did you mean 'vocals'"),
        ("vocals.pth", "x", [], "vocals.pth is damaged, or no PyTorch checkpoint"),
        ("vocals-1234abcd.pth", "x", [], "are both of 'vocals'"),
        ("wind-1234abcd.pth", "x", [], "should begin with 1234abcd, and begins with"),
    ],
)
def test_folders_that_are_wrong(
    folder, tmp_path, capsys, name, content, options, message
):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    assert run("open-unmix", folder, output=tmp_path / "m", options=options) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "m").exists()


def test_an_empty_folder(tmp_path, capsys):
    assert run("open-unmix", tmp_path, output=tmp_path / "m") == 1
    assert "has no files <target>.pth" in capsys.readouterr().err


def test_statistics_are_checked(folder, tmp_path, capsys, shared_data):
    state = states_of(vectors(shared_data, "separator_n1"))["drums"]
    state["bn2.running_var"] = np.full(16, np.inf, np.float32)
    write_state(folder / "drums.pth", state)
    assert run("open-unmix", folder, output=tmp_path / "m") == 1
    assert "['batch_stats']['bn2']['var'] has values" in capsys.readouterr().err


# What follows has four targets of four channels inside and windows of 4096 samples.


TARGETS = RELEASES["umxhq"].sources


def public_name(target, model="umxhq"):
    return list(RELEASES[model].files)[TARGETS.index(target)]


@pytest.fixture(scope="module")
def states():
    rng = np.random.default_rng(0)
    return {target: random_state(rng, hidden=4) for target in TARGETS}


def publish(monkeypatch, name, states, place, **options):
    """Files with public names; the table knows their hashes and their place."""
    release, files = RELEASES[name], {}
    (place / "files").mkdir(parents=True)
    for target, state in states.items():
        path = place / "files" / target
        digest = write_state(path, state, **options)
        file = f"{target}-{digest[:8]}.pth"
        files[file] = digest[:8]
        path.rename(path.with_name(file))
    changed = release._replace(files=files, place=place.as_uri())
    monkeypatch.setitem(RELEASES, name, changed)
    return place / "files"


@pytest.fixture
def public(monkeypatch, states, tmp_path):
    return publish(monkeypatch, "umxhq", states, tmp_path / "record", old=True)


def test_the_table():
    for name, targets in (
        *((name, ["vocals", "drums", "bass", "other"]) for name in ("umx", "umxhq")),
        *(
            ("umxl", ["vocals", "drums", "bass", "other"]),
            ("umxse", ["speech", "noise"]),
        ),
    ):
        release = RELEASES[name]
        assert list(release.sources) == targets
        for target, (file, prefix) in zip(targets, release.files.items()):
            assert file in (f"{target}-{prefix}.pth", f"{target}_{prefix}.pth")
            assert len(prefix) == 8
    assert RELEASES["umxse"].files["noise_04a6fc2d.pth"] == "04a6fc2d"
    assert RELEASES["umxl"].place.endswith("zenodo.org/records/5069601")
    assert "bass-2ca1ce51.pth" in RELEASES["umxl"].files


def test_a_released_model(public, tmp_path, capsys, states):
    assert run("umxhq", public, output=tmp_path / "m") == 0
    printed, error = capsys.readouterr()
    assert "umxhq, " in printed
    assert not error
    facts = json.loads((tmp_path / "m/weights.json").read_text())
    assert facts["published"] is True
    assert "MIT" in facts["licence"]
    assert facts["licence_notice"] == ""
    for told, (name, prefix) in zip(facts["files"], RELEASES["umxhq"].files.items()):
        assert told["name"] == name
        assert told["sha256"].startswith(prefix)
        assert len(told["sha256"]) == 64
    _, variables, config = sepjax.load(tmp_path / "m")
    assert config.data.sources == ("vocals", "drums", "bass", "other")
    assert (config.model.n_fft, config.model.hop) == (4096, 1024)
    assert config.model.bandwidth == 16000
    assert config.model.wiener_iterations == 1
    kernel = variables["params"]["fc2"]["kernel"]
    np.testing.assert_array_equal(kernel[2], states["bass"]["fc2.weight"].T)


def test_a_file_that_is_not_what_its_name_says(public, tmp_path, capsys, states):
    name = public_name("drums")
    right = RELEASES["umxhq"].files[name]
    write_state(public / name, states["bass"])
    assert run("umxhq", public, output=tmp_path / "m") == 1
    error = capsys.readouterr().err
    assert f"{name} is damaged or another file" in error
    assert f"should begin with {right}" in error
    assert not (tmp_path / "m").exists()
    options = ["--option", "verify=false"]
    assert run("umxhq", public, output=tmp_path / "m", options=options) == 0
    assert f"warning: not the published files of umxhq: {name}" in (
        capsys.readouterr().err
    )
    facts = json.loads((tmp_path / "m/weights.json").read_text())
    assert facts["published"] is False
    assert facts["licence"].startswith("of the weights: not known")


def test_files_with_plain_names(public, tmp_path, capsys):
    for target, name in zip(TARGETS, RELEASES["umxhq"].files):
        (public / name).rename(public / f"{target}.pth")
    assert run("umxhq", public, output=tmp_path / "m") == 0
    assert not capsys.readouterr().err
    assert json.loads((tmp_path / "m/weights.json").read_text())["published"] is True
    # Where both are there, the public name is the one.
    (public / "bass.pth").rename(public / public_name("bass"))
    (public / "bass.pth").write_bytes(b"another")
    assert run("umxhq", public, output=tmp_path / "m") == 0


def test_missing_files_are_named_with_their_addresses(public, tmp_path, capsys):
    name = public_name("bass")
    url = f"{RELEASES['umxhq'].place}/files/{name}"
    (public / name).unlink()
    assert run("umxhq", public, output=tmp_path / "m") == 1
    error = capsys.readouterr().err
    assert f"lacks {name}. --download fetches" in error
    assert f"\n  {url}\n" in error
    assert f"sepjax import-weights umxhq {public} -o" in error
    options = ["--sources", "other,vocals"]  # without it there is enough
    assert run("umxhq", public, output=tmp_path / "m", options=options) == 0
    assert sepjax.load(tmp_path / "m")[0].sources == ("other", "vocals")
    options = ["--sources", "voice"]
    assert run("umxhq", public, output=tmp_path / "n", options=options) == 1
    assert "umxhq has no target 'voice': " in capsys.readouterr().err


def test_unknown_and_missing_arrays(monkeypatch, tmp_path, capsys, states):
    old = {"stft.window": np.ones(8, np.float32), "sample_rate": np.array(44100)}
    changed = states | {"bass": states["bass"] | old}
    public = publish(monkeypatch, "umxhq", changed, tmp_path / "a")
    assert run("umxhq", public, output=tmp_path / "m") == 0
    assert "warning: 2 arrays of the state dict are unknown and left out: " in (
        capsys.readouterr().err
    )
    short = {key: x for key, x in states["bass"].items() if key != "fc2.weight"}
    changed = states | {"bass": short}
    public = publish(monkeypatch, "umxhq", changed, tmp_path / "b")
    assert run("umxhq", public, output=tmp_path / "n") == 1
    assert "no 'bass/fc2.weight'" in capsys.readouterr().err


def test_speech_and_noise(monkeypatch, tmp_path, capsys, states):
    rng = np.random.default_rng(1)
    small = dict(hidden=4, bins=513, heard=513, channels=1)
    two = {target: random_state(rng, **small) for target in RELEASES["umxse"].sources}
    public = publish(monkeypatch, "umxse", two, tmp_path / "record")
    assert run("umxse", public, output=tmp_path / "m") == 0
    model, _, config = sepjax.load(tmp_path / "m")
    assert model.sources == ("speech", "noise")
    assert (config.model.audio_channels, config.model.hop) == (1, 512)
    assert config.data.sample_rate == 16000
    # Right files of another model: rate and hop would be wrong, unnoticed.
    wrong = {target: states["bass"] for target in two}
    public = publish(monkeypatch, "umxse", wrong, tmp_path / "wrong")
    assert run("umxse", public, output=tmp_path / "n") == 1
    assert "umxse says n_fft = 1024, but the files have 4096" in capsys.readouterr().err


def test_a_licence_that_restricts_use_is_told(monkeypatch, tmp_path, capsys, states):
    public = publish(monkeypatch, "umxl", states, tmp_path / "record")
    assert run("umxl", public, output=tmp_path / "m") == 0
    wave = np.zeros((100, 2), np.float32)  # silence needs no network
    soundfile.write(tmp_path / "a.wav", wave, 44100)
    command = ["separate", str(tmp_path / "a.wav"), "-n", str(tmp_path / "m")]
    assert cli.main([*command, "-o", str(tmp_path / "stems")]) == 0
    notice = "restricts their use: CC BY-NC-SA 4.0"
    assert capsys.readouterr().err.count(notice) == 2
    # Other files under this name may be derived from the released ones.
    write_state(public / public_name("bass", "umxl"), states["drums"])
    options = ["--option", "verify=false"]
    assert run("umxl", public, output=tmp_path / "m", options=options) == 0
    assert notice in capsys.readouterr().err


def test_a_download(public, tmp_path, capsys):
    assert run("umxhq", output=tmp_path / "m") == 0
    fetched = tmp_path / "m.download"
    assert contents(fetched) == contents(public)
    assert sepjax.load(tmp_path / "m")[0].sources[0] == "vocals"
    # Into a folder that has some of them, also under plain names.
    for target in ("vocals", "bass"):
        (fetched / public_name(target)).rename(fetched / f"{target}.pth")
    (fetched / public_name("other")).unlink()
    assert run("umxhq", fetched, output=tmp_path / "n", options=["--download"]) == 0
    assert len(list(fetched.iterdir())) == 4
    assert contents(tmp_path / "n").keys() == contents(tmp_path / "m").keys()


def test_a_download_without_internet(public, tmp_path, capsys):
    for path in public.iterdir():
        path.unlink()
    assert run("umxhq", tmp_path / "w", output=tmp_path / "m", options=["--download"])
    error = capsys.readouterr().err
    assert "No such file" in error
    for name in RELEASES["umxhq"].files:
        assert f"\n  {RELEASES['umxhq'].place}/files/{name}\n" in error
    assert f"sepjax import-weights umxhq {tmp_path / 'w'} -o" in error
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ((), [], "naplab: give the checkpoint file; only hdemucs_mmi, htdemucs, ht"),
        (("a.pth",), ["--download"], "naplab: give the checkpoint file"),
    ],
)
def test_what_cannot_be_downloaded(tmp_path, capsys, files, options, message):
    assert run("naplab", *files, output=tmp_path / "m", options=options) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_full_size(monkeypatch, tmp_path):
    """As large as umxhq: 3 s of stereo through all of the command line."""
    rng = np.random.default_rng(0)
    states = {target: random_state(rng, hidden=512) for target in TARGETS}
    public = publish(monkeypatch, "umxhq", states, tmp_path / "record", old=True)
    assert run("umxhq", public, output=tmp_path / "m") == 0
    model, variables, config = sepjax.load(tmp_path / "m")
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert count == 4 * 8_893_348  # as counted in the source
    assert model_of(config) == model
    # The recipe of chapter 6 starts from it.
    require_same_meaning(tmp_path, config, resolve(get_config("tl")), whole=True)
    wave = rng.uniform(-0.1, 0.1, (3 * 44100, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 44100, "FLOAT")
    command = ["separate", str(tmp_path / "a.wav"), "-n", str(tmp_path / "m")]
    assert cli.main([*command, "-o", str(tmp_path), "--float32", "--chunk", "3"]) == 0
    total = 0
    for source in config.data.sources:
        stem, rate = soundfile.read(tmp_path / f"a/{source}.wav", dtype="float32")
        assert (stem.shape, rate) == (wave.shape, 44100)
        total = total + stem
    # One iteration of the filter distributes the mixture, but for its regularization.
    np.testing.assert_allclose(total, wave, atol=1e-4)
