"""Files of Hybrid Demucs: both layouts, bags, releases, and what is refused."""

import json
import shutil
import warnings
from fractions import Fraction

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sepjax.foreign.restricted_pickle import as_fraction
from sepjax.foreign.torch_file import read_torch_file
from sepjax.models.htdemucs.config import HTDemucsConfig
from sepjax.models.htdemucs.model import HybridDemucs
from sepjax.models.htdemucs.weights import read_arguments
from sepjax.models.importers import run_importer
from sepjax.models.releases import RELEASES
from sepjax.storage import sha256
from sepjax.weights import from_state_dict, load_imported, write_imported

NAME = "htdemucs_tiny_4"


@pytest.fixture
def vectors(shared_data):
    return shared_data / "model_ref_modern"


def equal(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


def run(path, family="htdemucs", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return run_importer(family, [path], options)


def changed(vectors, folder, name="model.safetensors", state=None, **texts):
    """The safetensors file with other metadata."""
    state = state or load_file(vectors / f"{NAME}.safetensors")
    arguments = read_torch_file(vectors / f"{NAME}.th")["kwargs"]
    arguments["segment"] = {"_type": "fraction", "numerator": 3, "denominator": 4}
    kwargs = json.dumps(arguments | texts.pop("kwargs", {}))
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": kwargs}
    save_file(state, folder / name, metadata=metadata | texts)
    return folder / name


def test_both_layouts_are_one_model(vectors, tmp_path):
    torch, plain = (run(vectors / f"{NAME}{end}") for end in (".th", ".safetensors"))
    assert torch.config == plain.config
    equal(torch.params, plain.params)
    with np.load(vectors / f"{NAME}.npz") as data:
        kernel = data["p/decoder.0.conv_tr.weight"]  # (in, out, bins, 1)
        table = data["p/freq_emb.embedding.weight"]
    found = torch.params["decoder_3"]["conv"]["kernel"]
    np.testing.assert_array_equal(found, kernel[..., 0].transpose(2, 0, 1))
    np.testing.assert_array_equal(torch.params["frequency_embedding"]["table"], table)
    assert (torch.config.model.segment, torch.config.data.sample_rate) == (0.75, 8000)
    assert torch.facts["separate"] == dict(chunk=0.75, overlap=0.25, rescale=False)
    assert torch.facts["files"][0]["sha256"] == sha256(vectors / f"{NAME}.th")
    assert "not known" in torch.facts["licence"]
    write_imported(tmp_path / "mine", *torch)
    model, variables, config = load_imported(tmp_path / "mine")
    equal(variables["params"], torch.params)
    assert (config.eval.chunk_seconds, config.eval.rescale) == (0.75, False)
    assert model.sources == ("drums", "bass", "other", "vocals")


def test_sizes_come_from_arrays_or_from_options(vectors):
    state = load_file(vectors / f"{NAME}.safetensors")
    options = dict(dconv_comp=2, t_heads=4, t_hidden_scale=2.0)
    config, params = from_state_dict(state, family="htdemucs", **options)
    model = config.model
    assert (model.channels, model.depth, model.n_fft) == (4, 4, 2048)
    assert (model.dconv_mode, model.t_layers, model.segment) == (3, 3, 0)
    equal(params, run(vectors / f"{NAME}.th").params)
    with pytest.raises(ValueError, match=r"conv.*has shape \(2, 4, 3\)|leaves 0 of"):
        from_state_dict(state, family="htdemucs", t_heads=4)
    with pytest.raises(ValueError, match=r"no option 't_head'.*t_heads"):
        from_state_dict(state, family="htdemucs", t_head=4)
    del state["decoder.1.rewrite.bias"]
    with pytest.raises(KeyError, match=r"decoder\.1\.rewrite\.bias"):
        from_state_dict(state, family="htdemucs", **options)


def test_options_override_what_a_file_tells(vectors):
    found = run(vectors / f"{NAME}.th", segment="1", sources="a,b,c,d")
    assert found.config.model.segment == 1.0
    assert found.config.data.sources == ("a", "b", "c", "d")


def test_a_bag_is_one_model(vectors, tmp_path):
    state = load_file(vectors / f"{NAME}.safetensors")
    changed(vectors, tmp_path, "one.safetensors", state)
    other = {key: 2 * array for key, array in state.items()}
    changed(vectors, tmp_path, "two.safetensors", other)
    bag = tmp_path / "both.yaml"
    bag.write_text(
        "models: ['one', 'two']\nweights: [[1, 0, 0, 1], [0, 1, 1, 1]]\nsegment: 0.5"
    )
    for path in (bag, tmp_path):
        config, params, facts = run(path)
        assert config.model.networks == 2
        assert config.model.weights == (1, 0, 0, 1, 0, 1, 1, 1)
        bias = params["encoder_0"]["conv"]["bias"]
        np.testing.assert_array_equal(bias[1], 2 * bias[0])
        assert facts["separate"]["chunk"] == 0.5
        assert [file["name"] for file in facts["files"]] == [
            "one.safetensors",
            "two.safetensors",
        ]
    write_imported(tmp_path / "bag", config, params, facts)
    changed(vectors, tmp_path, "two.safetensors", kwargs={"freq_emb": 0.5})
    with pytest.raises(ValueError, match=r"networks of .* differ .*import each"):
        run(bag)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: [three]", "names three, of which 0 files are beside it"),
        ("models: ['../one']", "'models' must be signatures"),
        ("models: one", "no list 'models'"),
        ("models: [one]\nweights: [[1, 0, 0, 1], [1, 1, 1, 1]]", "2 rows for 1 models"),
        ("models: [one]\nweights: [[a]]", "could not convert"),
        ("models: [&x [*x]]", "bag.yaml"),
        ("- [", "bag.yaml"),
    ],
)
def test_bags_that_are_damaged(tmp_path, text, message):
    (tmp_path / "bag.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "bag.yaml")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (dict(klass="demucs.demucs.Demucs"), "it is a Demucs, not a HTDemucs or"),
        (dict(structure="{}"), "quantized by DiffQ"),
        (dict(kwargs={"cac": False}), "the file says cac = False"),
        (dict(kwargs={"t_emb": "cape"}), "the file says t_emb = 'cape'"),
        (dict(kwargs={"t_heads": "4"}), "the file says t_heads = '4'"),
        (dict(kwargs={"t_heads": 5}), "t_heads=5"),
        (dict(kwargs={"depth": 10**6}), "make no network: model.depth=1000000"),
        (dict(kwargs={"segment": -1}), "its segment is -1 s"),
        (dict(kwargs={"segment": {"_type": "fraction"}}), "numerator"),
        (dict(kwargs={"dconv_comp": 4}), "'encoder.0.dconv.layers.0.0.bias' has"),
        (dict(args="[1, 2, 3, 4, 5, 6]"), "more than 5 unnamed"),
        (dict(args="{"), "args"),
    ],
)
def test_files_that_cannot_be_imported(vectors, tmp_path, texts, message):
    with pytest.raises(ValueError, match=message):
        run(changed(vectors, tmp_path, **texts))


def test_files_are_what_their_names_say(vectors, tmp_path):
    path = tmp_path / "955717e8-8726e21a.th"
    shutil.copy(vectors / f"{NAME}.th", path)
    with pytest.raises(ValueError, match=r"begin with 8726e21a, and begins with"):
        run(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        run(path.rename(tmp_path / "short.th"))
    (tmp_path / "short.safetensors").write_bytes(b"\x08" + bytes(20))
    with pytest.raises(ValueError, match=r"short.safetensors is damaged"):
        run(tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match=r"must hold one model, .* short.safetensors"):
        run(tmp_path)


@pytest.mark.parametrize("name", ["htdemucs_6s", "htdemucs"])
def test_released_files_are_fetched_and_told(vectors, tmp_path, monkeypatch, name):
    source = vectors / f"{NAME}.th"
    digest = sha256(source)[:8]
    place = tmp_path / "server"
    place.mkdir()
    shutil.copy(source, place / f"signature-{digest}.th")
    files = {f"signature-{digest}.th": digest}
    release = RELEASES[name]._replace(place=place.as_uri(), files=files)
    monkeypatch.setitem(RELEASES, name, release)
    found = run(tmp_path / "cache", name, download="true")
    assert found.facts["published"]
    assert found.facts["family"] == name
    assert found.facts["licence"] == release.licence
    (place / f"signature-{digest}.th").unlink()
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(OSError, match=f"(?s)Put these .*import-weights {name} FOLDER"):
        run(tmp_path / "cache", name, download="true")


def test_the_released_bag_takes_each_source_from_its_own_network():
    weights = np.reshape(RELEASES["htdemucs_ft"].model["weights"], (4, 4))
    np.testing.assert_array_equal(weights, np.eye(4))
    assert len(RELEASES["htdemucs_ft"].files) == 4


def test_fractions_are_small():
    assert as_fraction("39/5") == as_fraction(39, 5) == Fraction(39, 5)
    for text in ("1e999999999", "1/", "1" * 50, "1.5"):
        with pytest.raises(ValueError, match="is no fraction"):
            as_fraction(text)
    assert read_arguments({"segment": Fraction(39, 5)})["segment"] == 7.8
    assert HybridDemucs(HTDemucsConfig(segment=7.8), (), 44100).segment == 343_980
    assert "segment" not in read_arguments({"use_train_segment": False})
