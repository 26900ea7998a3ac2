"""Several seeds in one program, and runs that start from other runs."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from sepjax.functional.augment import prepare_excerpts
from sepjax.functional.spectral import log_power
from sepjax.train import checkpoint, start
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.log import read_log
from sepjax.train.mesh import make_mesh
from sepjax.train.optim.freeze import frozen_leaves
from tests.support.toy import (
    ToyData,
    latest,
    one_device,
    run,
    shared_program,
    stop,
    toy_config,
)

# Every checkpoint takes a while.
SELDOM = dict(train__eval_every=6, train__checkpoint_every=6)


def bare(**fields):
    """A model of ideal masks, without separator: it compiles quickest."""
    return toy_config(model__ideal_mask=True, **SELDOM, **fields)


def assert_close(one, two, tolerance):
    worst = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), one, two)
    assert max(jax.tree.leaves(worst)) <= tolerance, worst


@pytest.fixture(scope="module")
def band(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "band"
    assert run(folder, bare(train__seeds=2)) is True
    return folder


def test_each_seed_is_a_run_of_its_own(band, tmp_path):
    assert sorted(path.name for path in band.iterdir()) == ["seed_1", "seed_2"]
    config = bare()
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
    config = bare(train__seeds=2)
    assert run(tmp_path, config, make_mesh()) is True
    for name in ("seed_1", "seed_2"):
        # Sums over devices round otherwise, as above.
        assert_close(latest(band / name), latest(tmp_path / name), 1e-3)


def test_seeds_that_are_a_checkpoint_apart_go_on_together(band, tmp_path):
    folder = tmp_path / "killed"
    short = bare(train__seeds=2)
    short.train.steps = 9
    assert run(folder, short) is True
    newest = folder / "seed_2" / "checkpoints" / "9"
    shutil.rmtree(newest)  # as if killed after seed 1 was saved
    assert run(folder, bare(train__seeds=2)) is True
    for name in ("seed_1", "seed_2"):
        one, two = (latest(parent / name) for parent in (band, folder))
        assert_close(one, two, 0)
        steps = [
            [r["step"] for r in read_log(f / name / "metrics.jsonl")]
            for f in (band, folder)
        ]
        assert steps[0] == steps[1]


def test_a_band_that_was_enlarged_is_refused_before_its_logs_are_touched(
    band, tmp_path
):
    folder = tmp_path / "band"
    shutil.copytree(band, folder)
    before = (folder / "seed_1" / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=r"no checkpoint in common.*seed_3 0"):
        run(folder, bare(train__seeds=3))
    assert (folder / "seed_1" / "metrics.jsonl").read_bytes() == before
    with pytest.raises(CheckpointError, match=r"optim\.lr"):
        run(folder, bare(train__seeds=3, optim__lr=0.5))


def test_seeds_that_share_no_checkpoint_are_refused(band, tmp_path):
    folder = tmp_path / "band"
    shutil.copytree(band, folder)
    alone = bare(train__steps=15)
    alone.seed = 2
    assert run(folder / "seed_2", alone) is True
    with pytest.raises(CheckpointError, match="seed_1 12, seed_2 15"):
        run(folder, bare(train__seeds=2, train__steps=15))
    alone.seed = 1  # as the message advises
    assert run(folder / "seed_1", alone) is True
    assert run(folder, bare(train__seeds=2, train__steps=15)) is True


class Saved:
    """The steps of a checkpoint manager."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def all_steps(self):
        return list(self.steps)

    def delete(self, step):
        self.steps.remove(step)


@pytest.mark.parametrize(
    ("saved", "step"),
    [
        (((), ()), 0),
        (((9, 12), (9, 12)), 12),
        (((9, 12), (6, 9)), 9),  # killed while step 12 was saved
        (((3,), ()), 0),  # killed while the first was
        (((6, 9), ()), None),  # enlarged
        (((4, 9, 12), (4, 24)), None),  # one went on alone: only an old best is shared
    ],
)
def test_the_step_to_go_on_from(saved, step):
    config = bare(train__seeds=2)
    runs = [
        start.SeedRun(config, Path(f"seed_{i}"), {}, Saved(*steps), None)
        for i, steps in enumerate(saved)
    ]
    if step is None:
        with pytest.raises(CheckpointError, match="no checkpoint in common"):
            start.common_step(runs, force=True)
        assert [run.manager.steps for run in runs] == [list(s) for s in saved]
    else:
        assert start.common_step(runs, force=True) == step
        assert all(max(run.manager.steps, default=0) == step for run in runs)


def test_one_seed_of_a_band_goes_on_alone(band, tmp_path):
    folder = tmp_path / "seed_2"
    shutil.copytree(band / "seed_2", folder)
    config = bare(train__steps=16)
    config.seed = 2
    assert run(folder, config) is True
    assert checkpoint.describe(folder)["step"] == 16


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "oracle"
    assert run(folder, bare()) is True
    return folder


PRETRAINED = dict(train__pretrained_from="oracle", train__freeze=("encoder", "decoder"))


def test_frozen_parts_stay_and_the_rest_learns(oracle):
    folder = oracle.parent / "finetuned"
    config = toy_config(**PRETRAINED, **SELDOM, optim__weight_decay=0.1)
    assert run(folder, config) is True
    given, found = checkpoint.load(oracle)[1]["params"], latest(folder)
    for name in ("encoder", "decoder"):
        assert_close(given[name], found[name], 0)
    drawn = shared_program(config, one_device()).init(jax.random.key(config.seed))
    moved = jax.tree.map(
        lambda a, b: float(np.abs(np.asarray(a) - b).max()),
        drawn.params["separator"],
        found["separator"],
    )
    assert min(jax.tree.leaves(moved["mask"])) > 1e-3
    facts = checkpoint.describe(folder)["provenance"]["pretrained"]
    assert facts["run"].endswith("oracle")
    assert facts["params_sha256"] == checkpoint.params_sha256(given)


def test_a_pretrained_run_that_is_missing_or_does_not_fit(oracle, tmp_path):
    with pytest.raises(CheckpointError, match=r"no trained run .*nowhere"):
        run(tmp_path / "x", bare(train__pretrained_from="nowhere"))
    wrong = bare(train__pretrained_from=str(oracle), model__N=8)
    with pytest.raises(CheckpointError, match="does not fit this model: it has no"):
        run(tmp_path / "y", wrong)
    wrong = bare(train__pretrained_from=str(oracle), data__sample_rate=4000)
    with pytest.raises(CheckpointError, match="sample_rate: 8000 -> 4000"):
        run(tmp_path / "z", wrong)
    wrong = bare(train__pretrained_from=str(oracle), model__encoder_act="relu")
    with pytest.raises(CheckpointError, match="encoder_act: 'none' -> 'relu'"):
        run(tmp_path / "w", wrong)
    # The oracle has no separator: frozen, it would stay as it was drawn.
    fields = dict(train__pretrained_from=str(oracle), train__freeze=("separator/mask",))
    with pytest.raises(CheckpointError, match="has no separator/mask"):
        run(tmp_path / "v", toy_config(**fields))


def test_a_run_that_is_still_trained_is_no_source(oracle, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(oracle, half)
    meta = bare(train__steps=100)
    assert run(half, meta, before=lambda step: step == 13 and stop()) is False
    with pytest.raises(CheckpointError, match=r"is at step \d+ of 100: let it end"):
        run(tmp_path / "x", bare(train__pretrained_from=str(half)))


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


@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_spectrogram_statistics_are_those_of_the_training_data(tmp_path, seeds):
    fields = dict(model__encoding="hybrid", model__fb_type="stft")
    fields |= dict(train__statistics_excerpts=12)
    config = bare(**fields, train__steps=2, train__seeds=seeds)
    assert run(tmp_path / "run", config) is True
    folder = tmp_path / "run" / ("" if seeds == 1 else "seed_2")
    params = latest(folder)["encoder"]["filterbanks_0"]
    data = ToyData(toy_config())

    @jax.jit
    def power_of(batch):
        return log_power(prepare_excerpts(batch).mixture, n_fft=1024, hop=256)

    power = np.stack([power_of(data.batch(step)) for step in range(3)])
    power = np.asarray(power, np.float64).reshape(-1, 513)
    # Decades of power; where there is next to none, they are those of rounding errors.
    np.testing.assert_allclose(params["mean"], power.mean(0), rtol=0, atol=2e-3)
    np.testing.assert_allclose(params["std"], power.std(0), rtol=0, atol=2e-3)
    assert np.abs(params["scale"] - 1).max() > 1e-3  # these do learn
