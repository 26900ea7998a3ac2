"""The thesis' 74 rows: as printed, as configurations, as models, as training runs."""

import ast
import dataclasses
import inspect
import itertools
import json
import math
import operator
import shutil

import jax
import jax.numpy as jnp
import pytest

from sepjax.config import Config, differences, from_dict, resolve, to_dict
from sepjax.configs import appendix_a
from sepjax.configs.appendix_a import (
    DEFAULTS,
    EXTRA,
    FIGURES,
    NAMES,
    NOT_REPRODUCIBLE,
    NOTES,
    PATHS,
    ROWS,
    SECTIONS,
    UNLISTED,
    figures,
    get_config,
    overrides,
)
from sepjax.experiment.names import name_problems
from sepjax.models.build import model_of
from sepjax.models.tasnet.config import TasNetConfig

COUNTS = {
    **{"A.1.1": 23, "A.1.2": 8, "A.2.1": 7, "A.2.2": 13, "A.3.1": 2, "A.3.2": 5},
    **{"A.4": 8, "A.5": 4, "A.6": 4},
}


@pytest.fixture(scope="module")
def printed(shared_data):
    """The appendix as it was read from the thesis, beside the checkout."""
    yaml = pytest.importorskip("yaml")
    path = shared_data.parent / "spec" / "experiments.yaml"
    if not path.exists():
        pytest.skip(f"no {path}")
    return yaml.safe_load(path.read_text())


def test_every_section_has_its_rows():
    assert {key: len(part.rows) for key, part in SECTIONS.items()} == COUNTS
    assert len(ROWS) == sum(COUNTS.values()) == 74
    assert len(NAMES) == 76


def test_rows_are_those_of_the_thesis(printed):
    assert printed["defaults"] == DEFAULTS
    assert [row["name"] for row in printed["experiments"]] == list(ROWS)
    for row in printed["experiments"]:
        name = row["name"]
        assert ROWS[name] == row["row"], name
        assert overrides(name) == row["overrides"], name
        assert EXTRA.get(name, {}) == row.get("extra", {}), name
        seen = {figure["id"]: figure["confidence"] for figure in row["figures"]}
        assert figures(name) == seen, name
        assert row["reproducible"] == (name not in NOT_REPRODUCIBLE), name
        assert appendix_a.SECTION_OF[name] == row["section"]
    for row in printed["unlisted"]:
        assert overrides(row["key"]) == row["overrides"]
        assert UNLISTED[row["key"]][0] == row["section"]


def test_figures_are_those_of_the_thesis(printed):
    index = {
        figure: [name.removesuffix("?") for name in names]
        for figure, names in printed["figure_index"].items()
    }
    assert {figure: list(rows) for figure, rows in FIGURES.items()} == index
    for figure, names in printed["figure_index"].items():
        unsure = {n for n, kind in FIGURES[figure].items() if kind == "alternative"}
        assert unsure == {n.removesuffix("?") for n in names if n.endswith("?")}


def test_nothing_names_a_row_that_is_not_there():
    for table in (EXTRA, NOTES, *FIGURES.values()):
        assert set(table) <= set(NAMES)
    for cells in EXTRA.values():
        assert cells.get("pretrained_from", "irm_simple") in ROWS


def test_every_cell_has_a_field():
    cells = set(DEFAULTS).union(*EXTRA.values())
    # An epoch is made of one; the other has no meaning here.
    assert cells - set(PATHS) == {"track_samples", "threads"}
    for path in PATHS.values():
        operator.attrgetter(path)(Config(model=TasNetConfig()))


@pytest.mark.parametrize("name", NAMES)
def test_configurations_are_valid_and_come_back(name):
    config = get_config(name)
    assert config.name == name
    assert config == resolve(config)
    again = from_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert {type(field) for field in leaves(config)} <= {int, float, str, bool, tuple}


def leaves(node):
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        yield from leaves(value) if dataclasses.is_dataclass(value) else [value]


def test_a_row_differs_from_the_defaults_in_its_cells_only():
    base = Config(model=TasNetConfig())
    config = get_config("large_hybrid_stft")
    ours, theirs = config.model, base.model
    changed = {
        field.name
        for field in dataclasses.fields(ours)
        if getattr(ours, field.name) != getattr(theirs, field.name)
    }
    assert changed == {"fb_type", "L", "W", "H", "layers", "stack"}
    assert config.optim == base.optim
    assert config.data == base.data


def test_units_and_epochs():
    config = get_config("large_hybrid_stft")
    assert config.data.sample_rate == 8000
    assert config.data.chunk_seconds == 8.0
    assert config.train.batch_size == 8
    assert config.train.eval_every == config.train.checkpoint_every == 86 * 64 // 8
    assert config.train.steps == 100 * config.train.eval_every
    assert config.train.early_stop == 10
    assert get_config("full_data_huge_hybrid_pmpgtf_L50_W50").data.sample_rate == 44100


def test_what_only_the_prose_says():
    assert get_config("irm_fb_sinc_enc_conv_dec").model.decoder == "conv"
    assert get_config("irm_hybrid_sinc_free").model.decoder == "hybrid"
    assert get_config("irm_hybrid_sinc_pseudodec").model.who_is_pinv == "dec"
    assert get_config("large_hybrid_pmpgtf_stft_capacity").model.fb_post_conv
    pretrained = get_config("large_hybrid_pmpgtf_pretrained_encoder").train
    assert pretrained.pretrained_from == "irm_hybrid_pmpgtf"
    assert pretrained.freeze == ("encoder", "decoder")
    stacked = get_config("irm_stacked3_fb_pmpgtf_conv").model
    assert (stacked.encoding, stacked.filters) == ("deep", 3)
    assert stacked.deep_types == ("pmpgtf", "conv", "conv")
    assert get_config("irm_simple_gammatone_init").model.gammatone_init
    assert get_config("demucs_8k").model.name == "demucs"


def test_duplicates_of_the_thesis_are_duplicates_here():
    twins = ("large_hybrid_pmpgtf", "large_hybrid_pmpgtf_fratio0.5_H640")
    first, second = (get_config(name) for name in twins)
    second.name = first.name
    assert first == second


def test_no_code_branches_on_a_name():
    tree = ast.parse(inspect.getsource(appendix_a))
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    text = {
        leaf.value
        for node in tests
        for leaf in ast.walk(node)
        if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
    }
    assert not text & set(NAMES)
    assert not any(
        isinstance(n, ast.Attribute) and n.attr in ("startswith", "endswith")
        for n in ast.walk(tree)
    )


@pytest.mark.parametrize("name", ["large_hybrid_stfd", "", "zzz"])
def test_an_unknown_row_is_an_error_that_helps(name):
    with pytest.raises(ValueError, match="--mode=list prints all 76 names") as caught:
        get_config(name)
    assert ("did you mean large_hybrid_stft" in str(caught.value)) == (len(name) > 3)


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_the_recipe_of_the_thesis(name):
    ours, config = get_config(name), get_config(f"{name}@thesis")
    assert config.name == f"{name}@thesis"
    assert config == resolve(config, name_problems)
    changes = {line.partition(":")[0] for line in differences(ours, config)}
    form = {"model.fb_parameters"} if config.model.name == "tasnet" else set()
    start = {"train.pretrained_from"} if ours.train.pretrained_from else set()
    recipe = {"optim.weight_decay_kind", "optim.decay", "optim.clip"}
    assert changes == {"name", *recipe, *form, *start}
    optim = config.optim
    assert (optim.optimizer, optim.weight_decay_kind, optim.decay) == (
        *("adam", "l2", "all"),
    )
    assert (optim.weight_decay, optim.clip) == (5e-4, 0)


def test_a_row_starts_from_the_same_recipe():
    config = get_config("large_hybrid_pmpgtf_pretrained_encoder@thesis")
    assert config.train.pretrained_from == "irm_hybrid_pmpgtf@thesis"


@pytest.mark.parametrize("recipe", ["thsis", "", "thesis@thesis"])
def test_an_unknown_recipe_is_an_error_that_helps(recipe):
    with pytest.raises(ValueError, match=r"irm_simple@.*: Known: thesis|'thesis'"):
        get_config(f"irm_simple@{recipe}")


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_a_model(name):
    config = resolve(get_config(name))
    model = model_of(config)
    # One second is enough: no parameter depends on the length.
    mixture = jnp.zeros((1, config.data.sample_rate))
    sources = jnp.zeros((1, len(config.data.sources), config.data.sample_rate))
    more = (sources,) if model.needs_sources else ()
    out, variables = jax.eval_shape(
        model.init_with_output, jax.random.key(0), mixture, *more
    )
    assert out.estimates.shape == sources.shape
    assert all(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))


class FewChunks:
    """Data with two validation batches: this is about training, not about scores."""

    def __init__(self, data):
        self._data = data

    def __getattr__(self, name):
        return getattr(self._data, name)

    def valid_batches(self, *arguments):
        return itertools.islice(self._data.valid_batches(*arguments), 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_row_trains(name, tmp_path_factory):
    from data_pipelines.pipeline import open_data
    from sepjax.train import loop, mesh
    from sepjax.train.log import read_log

    config = resolve(get_config(name))
    config.train.batch_size = 2
    config.train.steps = config.train.eval_every = config.train.checkpoint_every = 3
    config.train.log_every = 1
    config.data.chunk_seconds = 0.5
    root = tmp_path_factory.getbasetemp() / "rows"
    source = config.train.pretrained_from
    if source and not (root / source).exists():
        pytest.skip(f"{source} was not trained before")
    one = mesh.make_mesh(jax.local_devices()[:1])
    data = open_data(config, sharding=mesh.batch_sharding(one))
    record = {"data_sha256": data.digest}
    assert loop.train(config, root / name, FewChunks(data), one, provenance=record)
    losses = [r["loss"] for r in read_log(root / name / "metrics.jsonl")]
    assert len(losses) == 4
    assert all(math.isfinite(loss) for loss in losses)
    # Nobody starts from the others: their checkpoints would fill the disk.
    if name not in {cells.get("pretrained_from") for cells in EXTRA.values()}:
        shutil.rmtree(root / name)
