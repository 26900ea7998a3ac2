"""Epochs: a run stores the steps that follow from the songs that are there."""

import json

import pytest

from data_pipelines.manifest import DataError
from sepjax.config import Config, resolve, to_dict
from sepjax.config.tree import epochs_in_steps
from sepjax.configs import chapter6
from sepjax.configs.sweeps import Member
from sepjax.experiment.members import configuration, finished
from sepjax.experiment.run import counted_in_steps
from sepjax.models.tasnet.config import TasNetConfig
from tests.tiny_run import finish, flags, start


def test_the_songs_of_the_thesis_give_the_steps_of_the_thesis():
    config = resolve(chapter6.get_config("finetune"))
    config = epochs_in_steps(config, 344)
    train = config.train
    assert (train.eval_every, train.checkpoint_every) == (344, 344)
    assert (train.steps, train.early_stop) == (344_000, 140)
    # In steps it is what it is.
    assert epochs_in_steps(config, 12) == config


def test_what_was_applied_as_it_is_needs_no_step():
    config = resolve(chapter6.get_config("unmix"))
    assert epochs_in_steps(config, 344).train.steps == 0


def test_epochs_of_too_many_steps_are_refused():
    config = resolve(chapter6.get_config("finetune"))
    with pytest.raises(
        ValueError, match=r"train\.steps=3000000000000 must be a number"
    ):
        epochs_in_steps(config, 3 * 10**9)


def test_a_warm_up_is_compared_in_steps():
    config = resolve(chapter6.get_config("finetune"))
    config.train.steps, config.optim.warmup_steps = 1, 100
    assert resolve(config) == config
    with pytest.raises(ValueError, match=r"optim\.warmup_steps=100 must be below"):
        epochs_in_steps(config, 50)


def test_a_member_of_a_sweep_is_finished_in_steps(tmp_path):
    config = Config(model=TasNetConfig())
    config.train.epoch_samples, config.train.steps, config.train.eval_every = 8, 6, 2
    stored = to_dict(epochs_in_steps(config, 7))
    assert stored["train"]["steps"] == 42
    (tmp_path / "config.json").write_text(json.dumps(stored))
    (tmp_path / "results.json").write_text("{}")
    assert finished(tmp_path, config)
    config.train.steps = 7
    assert not finished(tmp_path, config)
    config.train.eval_every = 20  # of which the stored steps make no epoch
    assert not finished(tmp_path, config)


@pytest.mark.slow
def test_a_run_counts_its_songs(tmp_path):
    fields = dict(train__epoch_samples=2, train__steps=2, train__eval_every=1)
    fields |= dict(train__checkpoint_every=1, data__songs=9)
    command = flags(tmp_path / "run", **fields)
    member = configuration(Member("configs/demo.py", {}), command[2:])
    epoch = 5  # nine songs twice in batches of four
    (output,) = finish(start(*command))
    stored = json.loads((tmp_path / "run" / "config.json").read_text())["train"]
    assert (stored["steps"], stored["eval_every"]) == (2 * epoch, epoch)
    assert f"step {2 * epoch}/{2 * epoch}" in output
    assert finished(tmp_path / "run", member)
    # The same command again finds its run.
    (output,) = finish(start(*command))
    assert f"resuming from step {2 * epoch} of {2 * epoch}" in output


def test_steps_need_no_songs_to_train_on():
    class Tested:
        def songs(self, split):
            raise DataError(f"no track in split '{split}'")

    config = resolve(Config(model=TasNetConfig()))
    assert counted_in_steps(config, Tested()) is config
    config.train.epoch_samples = 8
    with pytest.raises(DataError, match="train"):
        counted_in_steps(config, Tested())
