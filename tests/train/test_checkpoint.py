"""Checkpoints: which are kept, who may use them, and what a full disk does."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.config import to_dict
from sepjax.models.build import model_of
from sepjax.train import checkpoint, init_state, make_optimizer
from sepjax.train.checkpoint import CheckpointError, Progress
from sepjax.train.damage import TRASH
from sepjax.train.optim.plateau import PlateauState
from tests.support.toy import TIME, toy_config

RECORD = {"provenance": {"commit": "abc"}}


@pytest.fixture(scope="module")
def fresh():
    config = toy_config()
    model, optimizer = model_of(config), make_optimizer(config.optim)
    init = jax.jit(lambda key: init_state(model, optimizer, key, TIME))
    return config, init(jax.random.key(0))


def save(manager, state, config, step, loss, best):
    state = state.replace(
        step=jnp.asarray(step, jnp.int32),
        params=jax.tree.map(lambda leaf: leaf + step, state.params),
    )
    progress = Progress(PlateauState(0.5**step, best[1], bad=step), *best)
    checkpoint.save(
        manager, state, progress, loss, RECORD | {"config": to_dict(config)}
    )


@pytest.fixture(scope="module")
def folder(fresh, tmp_path_factory):
    """Evaluations -1, -3 (best), -2, then a checkpoint that was not evaluated."""
    config, state = fresh
    run = tmp_path_factory.mktemp("run")
    with checkpoint.open_manager(run, create=True) as manager:
        losses = {1: -1.0, 2: -3.0, 3: -2.0, 4: math.inf}
        for step, loss in losses.items():
            best = (step, loss) if step < 2 else (2, -3.0)
            save(manager, state, config, step, loss, best)
        checkpoint.finish(manager)
    return run


def test_latest_and_best_are_kept(folder):
    with checkpoint.open_manager(folder) as manager:
        assert list(manager.all_steps()) == [2, 4]
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["2", "4"]


def test_load_takes_the_best_or_the_latest(folder, fresh):
    _, state = fresh
    for which, step in (("best", 2), ("latest", 4)):
        model, variables, config = checkpoint.load(folder, which=which)
        expected = jax.tree.map(lambda leaf, n=step: leaf + n, state.params)
        jax.tree.map(np.testing.assert_array_equal, variables["params"], expected)
        assert config == fresh[0]
    assert model.sources == ("bass", "vocals")
    estimates = jax.eval_shape(model.apply, variables, jnp.zeros((1, 99))).estimates
    assert estimates.shape == (1, 2, 99)
    with pytest.raises(ValueError, match="best or latest"):
        checkpoint.load(folder, which="first")


def test_restore_brings_back_everything(folder, fresh):
    config, state = fresh
    with checkpoint.open_manager(folder) as manager:
        found, progress = checkpoint.restore(manager, state, config, force=False)
    assert int(found.step) == 4
    assert progress == Progress(PlateauState(0.0625, -3.0, bad=4), 2, -3.0)
    assert jax.tree.structure(found) == jax.tree.structure(state)
    expected = jax.tree.map(lambda leaf: leaf + 4, state.params)
    jax.tree.map(np.testing.assert_array_equal, found.params, expected)
    jax.tree.map(np.testing.assert_array_equal, found.opt_state, state.opt_state)


def test_infinite_best_survives_json(fresh, tmp_path):
    config, state = fresh
    with checkpoint.open_manager(tmp_path, create=True) as manager:
        save(manager, state, config, 1, math.inf, (0, math.inf))
        checkpoint.finish(manager)
        _, progress = checkpoint.restore(manager, state, config, force=False)
    assert progress.best_loss == math.inf
    assert progress.plateau.best == math.inf


def test_another_configuration_is_refused_with_every_difference(folder, fresh):
    _, state = fresh
    other = toy_config(optim__lr=0.5, data__chunk_seconds=1.0, train__steps=99)
    with checkpoint.open_manager(folder) as manager:
        with pytest.raises(CheckpointError) as caught:
            checkpoint.restore(manager, state, other, force=False)
        found, progress = checkpoint.restore(manager, state, other, force=True)
    assert float(found.learning_rate) == 0.5
    assert progress.plateau == PlateauState(0.5)
    message = str(caught.value)
    assert "optim.lr: 0.01 -> 0.5" in message
    assert "data.chunk_seconds: 0.25 -> 1.0" in message
    assert "train.steps" not in message
    assert "--allow_config_change" in message
    assert int(found.step) == 4


def test_other_data_is_refused(fresh):
    config, _ = fresh
    meta = {"config": to_dict(config), "provenance": {"data_sha256": "a" * 64}}
    checkpoint.require_same("run", meta, config, "a" * 64)
    with pytest.raises(CheckpointError, match=r"content of the data: a{12} -> b{12}"):
        checkpoint.require_same("run", meta, config, "b" * 64)


def test_length_logging_and_scoring_may_change(folder, fresh):
    _, state = fresh
    fields = dict(train__steps=99, train__log_every=7, eval__split="valid")
    other = toy_config(**fields, data__feeder="streaming", data__root="/elsewhere")
    with checkpoint.open_manager(folder) as manager:
        found, _ = checkpoint.restore(manager, state, other, force=False)
    assert int(found.step) == 4


def test_describe_is_json(folder, fresh):
    config, state = fresh
    tree = json.loads(json.dumps(checkpoint.describe(folder), allow_nan=False))
    assert tree["step"] == 4
    assert tree["best"] == {"step": 2, "loss": -3.0}
    assert tree["config"] == json.loads(json.dumps(to_dict(config)))
    assert tree["provenance"] == {"commit": "abc"}
    expected = jax.tree.map(lambda leaf: leaf + 4, state.params)
    assert tree["params_sha256"] == checkpoint.params_sha256(expected)


def test_hash_sees_values_names_types_and_shapes():
    params = {"a": np.zeros((2, 3), np.float32), "b": np.ones(2, np.float32)}
    variants = [
        params,
        params | {"a": np.zeros((3, 2), np.float32)},
        params | {"a": np.zeros((2, 3), np.float16)},
        params | {"a": np.full((2, 3), -0.0, np.float32)},
        params | {"b": np.nextafter(params["b"], 2, dtype=np.float32)},
        {"a": params["a"], "c": params["b"]},
        params | {"c": np.zeros(0, np.float32)},
    ]
    hashes = [checkpoint.params_sha256(variant) for variant in variants]
    assert len(set(hashes)) == len(variants)
    reordered = {name: jnp.asarray(params[name]) for name in ("b", "a")}
    assert checkpoint.params_sha256(reordered) == hashes[0]


def test_no_run_and_empty_run_have_their_own_messages(tmp_path):
    with pytest.raises(CheckpointError, match="missing does not exist"):
        checkpoint.load(tmp_path / "missing")
    with pytest.raises(CheckpointError, match="holds no checkpoints"):
        checkpoint.describe(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="no checkpoint was finished yet"):
        checkpoint.describe(tmp_path)


def test_half_written_checkpoint_is_not_seen(folder, fresh, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    debris = run / "checkpoints" / "7.orbax-checkpoint-tmp"
    shutil.copytree(run / "checkpoints" / "4", debris)
    assert checkpoint.describe(run)["step"] == 4
    config, state = fresh
    assert debris.exists()  # who only reads deletes nothing
    with checkpoint.open_manager(run, create=True) as manager:
        save(manager, state, config, 5, -1.0, (2, -3.0))
        checkpoint.finish(manager)
    assert checkpoint.describe(run)["step"] == 5
    assert not debris.exists()


def test_old_checkpoints_are_renamed_before_they_are_deleted(fresh, tmp_path):
    config, state = fresh
    with checkpoint.open_manager(tmp_path, create=True) as manager:
        for step in (1, 2):
            save(manager, state, config, step, -float(step), (step, -float(step)))
        manager.wait_until_finished()
        # A kill at this moment leaves no half checkpoint among the others.
        assert list(manager.all_steps()) == [2]
        trash = tmp_path / "checkpoints" / TRASH
        assert [path.name for path in trash.iterdir()] == ["1"]
        save(manager, state, config, 3, math.inf, (2, -2.0))
        checkpoint.finish(manager)
        assert list(manager.all_steps()) == [2, 3]
        assert not trash.exists()


def test_lack_of_space_is_told_before_training(fresh, tmp_path, monkeypatch):
    _, state = fresh
    checkpoint.check_space(tmp_path, state)
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CheckpointError, match="has 0 MiB free") as caught:
        checkpoint.check_space(tmp_path, state)
    assert "--workdir" in str(caught.value)


# In another process, because a limit on file sizes can only be lowered; a write beyond
# it fails as on a full disk, but with its own error number.
FULL = """
import resource, signal, sys
from pathlib import Path
import jax.numpy as jnp
from sepjax.config import Config, to_dict
from sepjax.train import TrainState, checkpoint
from sepjax.train.optim.plateau import PlateauState

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run, record = Path(sys.argv[1]), {"config": to_dict(Config()), "provenance": {}}
with checkpoint.open_manager(run, create=True) as manager:
    def save(step):
        # Not compressible, so that the size on disk is known.
        noise = jnp.asarray(numpy.random.default_rng(step).normal(size=200_000))
        state = TrainState(jnp.asarray(step), {"kernel": noise}, ())
        progress = checkpoint.Progress(PlateauState(1.0))
        checkpoint.save(manager, state, progress, 0.0, record)
        checkpoint.finish(manager)

    import numpy
    save(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        save(2)
    except checkpoint.CheckpointError as error:
        print(error)
        sys.stdout.flush()
        import os
        os._exit(7)
"""


def test_full_disk_leaves_the_previous_checkpoint(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(checkpoint.__file__).parents[2],
    )
    assert done.returncode == 7, done.stdout + done.stderr[-2000:]
    assert "cannot save a checkpoint" in done.stdout
    assert "Earlier checkpoints are unharmed" in done.stdout
    with checkpoint.open_manager(tmp_path) as manager:
        assert list(manager.all_steps()) == [1]
    noise = np.random.default_rng(1).normal(size=200_000).astype(np.float32)
    expected = checkpoint.params_sha256({"kernel": noise})
    assert checkpoint.describe(tmp_path)["params_sha256"] == expected
