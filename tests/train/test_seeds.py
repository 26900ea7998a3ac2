"""Several seeds in one program, and runs that start from other runs."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import ToyData, one_device, share_programs, toy_config

from sepjax.functional.augment import prepare_excerpts
from sepjax.functional.spectral import log_power
from sepjax.models import build_model
from sepjax.train import checkpoint, loop
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.freeze import frozen_leaves
from sepjax.train.mesh import make_mesh
from sepjax.train.metrics import read_log


@pytest.fixture(scope="module", autouse=True)
def _programs():
    patch = pytest.MonkeyPatch()
    share_programs(patch)
    yield
    patch.undo()


def run(folder, config, mesh=None, **data):
    folder.mkdir(exist_ok=True, parents=True)
    return loop.train(
        config,
        folder,
        ToyData(config, **data),
        mesh or one_device(),
        provenance={"commit": "x", "data_sha256": "d" * 64},
    )


def latest(folder):
    return checkpoint.load(folder, which="latest")[1]["params"]


def assert_close(one, two, tolerance):
    worst = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), one, two)
    assert max(jax.tree.leaves(worst)) <= tolerance, worst


@pytest.fixture(scope="module")
def band(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "band"
    assert run(folder, toy_config(train__seeds=2)) is True
    return folder


def test_each_seed_is_a_run_of_its_own(band, tmp_path):
    assert sorted(path.name for path in band.iterdir()) == ["seed_1", "seed_2"]
    config = toy_config()
    config.seed = 2
    assert run(tmp_path / "alone", config) is True
    # One program rounds otherwise than the other: twelve steps at rate 0.01 move a
    # parameter by up to 0.12, and must agree to a hundredth of that.
    assert_close(latest(band / "seed_2"), latest(tmp_path / "alone"), 1e-3)
    apart = jax.tree.map(
        lambda a, b: float(np.abs(a - b).max()),
        latest(band / "seed_1"),
        latest(band / "seed_2"),
    )
    assert max(jax.tree.leaves(apart)) > 0.05
    stored = json.loads((band / "seed_2" / "config.json").read_text())
    assert (stored["seed"], stored["train"]["seeds"]) == (2, 1)
    assert stored["provenance"]["seed"] == 2
    logs = [
        read_log(f / "metrics.jsonl") for f in (band / "seed_2", tmp_path / "alone")
    ]
    assert [r["step"] for r in logs[0]] == [r["step"] for r in logs[1]]
    losses = [[r["loss"] for r in log] for log in logs]
    np.testing.assert_allclose(*losses, rtol=0, atol=0.05)


def test_devices_share_the_rows_of_all_seeds(band, tmp_path):
    assert jax.device_count() == 4
    assert run(tmp_path, toy_config(train__seeds=2), make_mesh()) is True
    for name in ("seed_1", "seed_2"):
        # Sums over devices round otherwise, as above.
        assert_close(latest(band / name), latest(tmp_path / name), 1e-3)


def test_seeds_that_are_a_checkpoint_apart_go_on_together(band, tmp_path):
    folder = tmp_path / "killed"
    short = toy_config(train__seeds=2)
    short.train.steps = 9
    assert run(folder, short) is True
    newest = folder / "seed_2" / "checkpoints" / "9"
    shutil.rmtree(newest)  # as if killed after seed 1 was saved
    assert run(folder, toy_config(train__seeds=2)) is True
    for name in ("seed_1", "seed_2"):
        one, two = (latest(parent / name) for parent in (band, folder))
        assert_close(one, two, 0)
        steps = [
            [r["step"] for r in read_log(f / name / "metrics.jsonl")]
            for f in (band, folder)
        ]
        assert steps[0] == steps[1]


def test_one_seed_of_a_band_goes_on_alone(band, tmp_path):
    folder = tmp_path / "seed_2"
    shutil.copytree(band / "seed_2", folder)
    config = toy_config(train__steps=16)
    config.seed = 2
    assert run(folder, config) is True
    assert checkpoint.describe(folder)["step"] == 16


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "oracle"
    assert run(folder, toy_config(model__ideal_mask=True)) is True
    return folder


PRETRAINED = dict(train__pretrained_from="oracle", train__freeze=("encoder", "decoder"))


def test_frozen_parts_stay_and_the_rest_learns(oracle):
    folder = oracle.parent / "finetuned"
    fields = PRETRAINED | dict(optim__weight_decay=0.1)
    assert run(folder, toy_config(**fields)) is True
    given, found = checkpoint.load(oracle)[1]["params"], latest(folder)
    for name in ("encoder", "decoder"):
        assert_close(given[name], found[name], 0)
    init = jax.jit(build_model(toy_config().model).init)
    start = init(jax.random.key(1), jnp.ones((1, 2000)))
    moved = jax.tree.map(
        lambda a, b: float(np.abs(a - b).max()),
        start["params"]["separator"],
        found["separator"],
    )
    assert min(jax.tree.leaves(moved["mask"])) > 1e-3
    facts = checkpoint.describe(folder)["provenance"]["pretrained"]
    assert facts["run"].endswith("oracle")
    assert facts["params_sha256"] == checkpoint.params_sha256(given)


def test_a_pretrained_run_that_is_missing_or_does_not_fit(oracle, tmp_path):
    with pytest.raises(CheckpointError, match=r"no trained run .*nowhere"):
        run(tmp_path / "x", toy_config(train__pretrained_from="nowhere"))
    wrong = toy_config(train__pretrained_from=str(oracle), model__N=8)
    with pytest.raises(CheckpointError, match="does not fit this model: it has no"):
        run(tmp_path / "y", wrong)
    wrong = toy_config(train__pretrained_from=str(oracle), data__sample_rate=4000)
    with pytest.raises(CheckpointError, match="8000 Hz, this run hears 4000 Hz"):
        run(tmp_path / "z", wrong)


def test_freezing_what_is_not_there_suggests_what_is():
    params = {
        "encoder": {"bank": {"kernel": 0.0}},
        "separator": {"mask": {"bias": 0.0}},
    }
    with pytest.raises(ValueError, match="no part 'encodr': did you mean 'encoder'"):
        frozen_leaves(params, ["encodr"])
    assert frozen_leaves(params, ["separator/mask"]) == {
        "encoder": {"bank": {"kernel": False}},
        "separator": {"mask": {"bias": True}},
    }


@pytest.mark.parametrize("seeds", [1, 2])
def test_spectrogram_statistics_are_those_of_the_training_data(tmp_path, seeds):
    fields = dict(model__fb_type="stft", train__statistics_excerpts=12)
    config = toy_config(**fields, train__steps=2, train__seeds=seeds)
    assert run(tmp_path / "run", config) is True
    folder = tmp_path / "run" / ("" if seeds == 1 else "seed_2")
    params = latest(folder)["encoder"]["filterbanks_0"]
    data = ToyData(toy_config())
    waves = [prepare_excerpts(data.batch(step)).mixture for step in range(3)]
    power = log_power(jnp.concatenate(waves), n_fft=1024, hop=256)
    power = np.asarray(power, np.float64).reshape(-1, 513)
    # Decades of power; where there is next to none, they are those of rounding errors.
    np.testing.assert_allclose(params["mean"], power.mean(0), rtol=0, atol=2e-3)
    np.testing.assert_allclose(params["std"], power.std(0), rtol=0, atol=2e-3)
    assert np.abs(params["scale"] - 1).max() > 1e-3  # these do learn
