"""Whole runs on toy music: stopping, going on, giving up, and what they leave."""

import json
import os
import signal

import jax
import numpy as np
import pytest

from sepjax.train import checkpoint, loop
from sepjax.train.log import read_log
from sepjax.train.program import make_program
from tests.support.toy import ToyData, log, one_device, run, stop, toy_config


def at(step, action):
    return lambda now: action() if now == step else None


def slowly(*steps):
    """The same truth at other steps."""
    return [pytest.param(step, marks=pytest.mark.slow) for step in steps]


# A threshold that nothing reaches: the rate is halved at every third evaluation.
PLATEAU = dict(optim__plateau_threshold=50.0, optim__lr_decay_patience=1)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    assert run(folder, toy_config(**PLATEAU)) is True
    return folder


@pytest.mark.parametrize("step", [5, *slowly(1, 8)])
def test_stopped_and_resumed_is_the_straight_run(tmp_path, straight, step):
    config = toy_config(**PLATEAU)
    assert run(tmp_path, config, before=at(step, stop)) is False
    # The signal came while batch `step` was made: its step is the last.
    assert checkpoint.describe(tmp_path)["step"] == step + 1
    assert run(tmp_path, config) is True
    assert checkpoint.describe(tmp_path) == checkpoint.describe(straight)
    ours, theirs = (
        checkpoint.load(folder, which="latest") for folder in (tmp_path, straight)
    )
    jax.tree.map(np.testing.assert_array_equal, ours[1], theirs[1])


@pytest.mark.parametrize("step", [7, *slowly(4, 10)])
def test_killed_and_resumed_is_the_straight_run(tmp_path, straight, step):
    def die():
        raise KeyboardInterrupt  # as a kill: nothing is saved on the way out

    config = toy_config(**PLATEAU)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, config, before=at(step, die))
    # A line that the kill cut off:
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    assert run(tmp_path, config) is True
    assert checkpoint.describe(tmp_path) == checkpoint.describe(straight)
    assert log(tmp_path) == log(straight)


# Every log_every = 2 steps, and where a checkpoint is saved: 3, 9 (and 4, 6, 8, 12).
TRAIN_RECORDS = [2, 3, 4, 6, 8, 9, 10, 12]


def test_log_of_the_straight_run(straight):
    records = log(straight)
    kinds = [(r["kind"], r["step"]) for r in records]
    assert [s for kind, s in kinds if kind == "train"] == TRAIN_RECORDS
    assert [s for kind, s in kinds if kind == "valid"] == [4, 8, 12]
    valid = [r for r in records if r["kind"] == "valid"]
    assert set(valid[0]) == {"kind", "step", "loss", "si_sdr/bass", "si_sdr/vocals"}
    mean = np.mean([valid[0]["si_sdr/bass"], valid[0]["si_sdr/vocals"]])
    assert valid[0]["loss"] == pytest.approx(-mean)
    rates = [r["learning_rate"] for r in records if r["kind"] == "train"]
    # First evaluation: the best ever; the next two fall short of the threshold.
    assert rates == pytest.approx([1e-2] * 8)
    with checkpoint.open_manager(straight) as manager:
        meta = checkpoint.read_meta(manager, 12)
    assert meta["progress"]["plateau"]["learning_rate"] == 5e-3
    seconds = [r["seconds"] for r in read_log(straight / "metrics.jsonl")]
    assert seconds == sorted(seconds)
    assert list((straight / "events").iterdir())


def test_prolonged_run_is_a_longer_run(tmp_path):
    # 10 is no multiple of eval_every: the evaluation at the end does not count.
    short, long = (toy_config(train__steps=n, **PLATEAU) for n in (10, 14))
    assert run(tmp_path / "prolonged", short)
    assert run(tmp_path / "prolonged", long)
    assert run(tmp_path / "long", long)
    prolonged, at_once = (
        checkpoint.describe(tmp_path / name) for name in ("prolonged", "long")
    )
    assert prolonged["params_sha256"] == at_once["params_sha256"]
    assert prolonged["step"] == 14


def test_a_step_is_compiled_once():
    config = toy_config(train__steps=4)
    program = make_program(config, one_device())
    state = program.init(jax.random.key(0))
    sizes = []
    for step in range(3):
        state, _ = program.train_step(state, ToyData(config).batch(step))
        sizes.append(program.train_step._cache_size())
    assert sizes[0] == sizes[2]  # what comes out is what went in, weak types as well


def test_finished_run_is_left_alone(straight):
    before = checkpoint.describe(straight), log(straight)

    def never(step):
        raise AssertionError("a batch was asked for")

    assert run(straight, toy_config(**PLATEAU), before=never) is True
    assert (checkpoint.describe(straight), log(straight)) == before


def test_rate_on_device_follows_the_plateau(tmp_path):
    config = toy_config(
        train__steps=16,
        optim__lr_decay_patience=0,
        **{name: value for name, value in PLATEAU.items() if "patience" not in name},
    )
    assert run(tmp_path, config, before=at(9, stop)) is False
    assert run(tmp_path, config) is True
    rates = {
        r["step"]: r["learning_rate"] for r in log(tmp_path) if r["kind"] == "train"
    }
    # Cut at evaluations 8 and 12 (and at 16, after the last step).
    expected = {2: 1, 4: 1, 6: 1, 8: 1, 10: 0.5, 12: 0.5, 14: 0.25, 16: 0.25}
    for step, factor in expected.items():
        assert rates[step] == pytest.approx(1e-2 * factor)


def test_early_stop(tmp_path, monkeypatch):
    losses = iter([-5.0, -6.0, -5.5, -5.9, -7.0])
    monkeypatch.setattr(loop, "validate", lambda *_: [{"loss": next(losses)}])
    config = toy_config(train__early_stop=2, train__steps=400)
    assert run(tmp_path, config) is True
    found = checkpoint.describe(tmp_path)
    assert (found["step"], found["best"]) == (16, {"step": 8, "loss": -6.0})
    assert run(tmp_path, config, before=lambda step: pytest.fail("went on")) is True


def test_non_finite_loss_names_step_source_and_track(tmp_path):
    def spoil(step, batch):
        if step == 4:
            batch["gains"][2, 1] = np.nan
        return batch

    # The loss is looked at before a checkpoint is written, however seldom it is logged.
    config = toy_config(train__log_every=50, train__checkpoint_every=1)
    with pytest.raises(loop.NonFiniteError) as caught:
        run(tmp_path, config, spoil=spoil)
    message = str(caught.value)
    assert "step 5:" in message
    assert "song_4" in message
    assert "vocals" in message
    # What was saved last is from before.
    assert checkpoint.describe(tmp_path)["step"] == 4
    _, variables, _ = checkpoint.load(tmp_path, which="latest")
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(variables))


def test_validation_without_any_sound_is_an_error(tmp_path):
    with pytest.raises(loop.NonFiniteError, match="no class sounds"):
        run(tmp_path, toy_config(), silent_valid=True)


def test_second_ctrl_c_interrupts_at_once(tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, toy_config(), before=at(3, twice))
    after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert after == before


def test_other_configuration_is_refused(straight):
    config = toy_config(**PLATEAU, optim__lr_decay_gamma=0.1, data__gain_low=0.5)
    config.seed = 2
    with pytest.raises(checkpoint.CheckpointError) as caught:
        run(straight, config)
    for line in (
        "seed: 1 -> 2",
        "optim.lr_decay_gamma: 0.5 -> 0.1",
        "data.gain_low: 0.75 -> 0.5",
    ):
        assert line in str(caught.value)


def test_log_lines_are_json(straight):
    lines = (straight / "metrics.jsonl").read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
