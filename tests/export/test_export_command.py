"""``sepjax export``: files, what stands in their manifest, and what is refused."""

import functools
import io
import json
import tarfile

import jax
import jaxtyping
import numpy as np
import pytest

from sepjax.commands import cli
from sepjax.export import bundle, page
from sepjax.inference.separator import load_ensemble
from sepjax.models.build import model_of
from sepjax.weights.store import write_imported
from tests.support.models import config_of

UNMIX = dict(hidden=4, layers=1, n_fft=64, hop=32, bandwidth=0.0, bidirectional=False)


def write_model(folder, **fields):
    """A folder of weights, two classes at 8 kHz."""
    fields = dict(name="open_unmix", wiener_iterations=0) | UNMIX | fields
    config = config_of(sources=("vocals", "rest"), sample_rate=8000, **fields)
    config.data.normalize, config.eval.rescale = False, False
    model = model_of(config)
    shape = (1, 2, 800) if model.audio_channels > 1 else (1, 800)
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros(shape, np.float32))
    variables = jax.tree.map(np.asarray, variables)
    params = dict(variables["params"], batch_stats=variables["batch_stats"])
    facts = dict(family="open_unmix", files=[], licence="CC0-1.0")
    write_imported(folder, config, params, facts)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "files"
    formats = "stablehlo,step" + (",onnx" if bundle.version_of("onnx") else "")
    words = ["export", str(model), "-o", str(folder), "--formats", formats]
    # Annotations, which tests check, know no sizes that are symbols.
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        assert cli.main([*words, "--seconds", "0.2"]) == 0
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    return folder


def test_the_manifest_says_what_was_measured(exported):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["sources"] == ["vocals", "rest"]
    assert manifest["licence"] == "CC0-1.0"
    assert not manifest["left_out"]
    files = {each["file"]: each for each in manifest["artefacts"]}
    assert files.keys() >= {"separate.stablehlo", "step.stablehlo"}
    for name, each in files.items():
        content = (exported / name).read_bytes()
        assert each["bytes"] == len(content)
        assert each["null_db"] <= -90
        assert each["outputs"][0]["name"] == "estimates"
    assert files["separate.stablehlo"]["inputs"][0]["shape"][0] == "batch"
    step = files["step.stablehlo"]
    assert (step["latency"], step["block"], step["delay"]) == (62, 160, 31)
    first = {each["name"]: each["first"] for each in step["inputs"][2:]}
    assert first["state.clock.position"] == -step["lead"]


def test_any_batch_of_a_chunk_in_jax_alone(exported):
    """The file has learned nothing of sepjax: what it is given is an array."""
    content = bytearray((exported / "separate.stablehlo").read_bytes())
    program = jax.export.deserialize(content)
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}
    wave = np.random.default_rng(0).normal(size=(3, 1600)).astype(np.float32)
    together = program.call(wave)[0]
    assert together.shape == (3, 2, 1600)
    alone = program.call(wave[1:2])[0]
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--formats", "torch"], "give some of stablehlo,onnx,step,web"),
        (["--formats", "step"], "in which form"),
        (["--block", "0"], "--block 0.0 must be"),
        (["--runtime", "nowhere"], "--runtime nowhere"),
        (["--seconds", "-1"], "chunk=-1.0 must be"),
    ],
)
def test_wrong_words_are_refused(model, tmp_path, capsys, words, text):
    assert cli.main(["export", str(model), "-o", str(tmp_path / "new"), *words]) == 1
    assert text in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_other_folders_are_not_replaced(model, tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("dear")
    (tmp_path / "manifest.json").write_text('{"name": "an application"}')
    assert cli.main(["export", str(model), "-o", str(tmp_path)]) == 1
    assert "something else than an export" in capsys.readouterr().err
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_what_needs_a_package_says_which(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bundle, "version_of", lambda package: "")
    words = ["export", str(model), "-o", str(tmp_path / "new")]
    assert cli.main([*words, "--web"]) == 1
    assert "pip install 'sepjax[onnx]'" in capsys.readouterr().err


def test_a_model_of_the_future_has_no_step(tmp_path):
    write_model(tmp_path / "both", bidirectional=True)
    (member,) = load_ensemble([tmp_path / "both"]).members
    left = []
    programs = bundle.programs_of(
        member, ["stablehlo", "step"], 0.02, lambda *why: left.append(why)
    )
    assert [program.name for program in programs] == ["separate"]
    ((name, why),) = left
    assert name == "step"
    assert "its networks hear the future" in why


def pack(path, names):
    """A package as npm makes it."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = 4
            archive.addfile(info, io.BytesIO(b"code"))


def test_the_page_has_all_its_files(tmp_path):
    pack(tmp_path / "web.tgz", page.FILES)
    folder = tmp_path / "page"
    folder.mkdir()
    files = page.runtime_files(tmp_path / "web.tgz", print)
    page.write_page(folder, {"sources": ["a"]}, files)
    names = {path.name for path in folder.iterdir()}
    assert names == {*page.OWN, *page.FILES, "base.css", "model.json"}
    text = "".join((folder / name).read_text() for name in page.OWN)
    known = ("http.server", "http://localhost")
    assert "http" not in functools.reduce(lambda t, k: t.replace(k, ""), known, text)
    for bad in ("none.tgz", "web.txt"):
        pack(tmp_path / "none.tgz", ["other.js"])
        (tmp_path / "web.txt").write_text("no package")
        with pytest.raises(FileNotFoundError, match="as `npm pack` makes it"):
            page.runtime_files(tmp_path / bad, print)
