"""Sweeps of a toy program: side by side, one after the other, and stopped."""

import signal

import pytest

from sepjax.configs.sweeps import Member
from sepjax.experiment.sweep import Outcome, Sweep, eta, summary
from tests.experiment import toy_program as toy
from tests.experiment.toy_program import FAIL, FREE, HOLD, MEET, cpus, lines, members

program = toy.program


def statuses(outcomes):
    return {outcome.name: outcome.status for outcome in outcomes}


def test_a_sweep_runs_on_after_a_failure_and_skips_what_is_done(
    tmp_path, program, capsys
):
    rates, few = members(low=0.001, high=FAIL), ["--config.train.steps=3"]
    outcomes = Sweep(rates, tmp_path, "run", few, program, cpus(1)).run()
    assert [o.status for o in outcomes] == ["done", "failed"]
    assert [o.best for o in outcomes] == ["1.50 dB", ""]
    text = capsys.readouterr().out
    assert "1/2 low  started on cpu 0" in text
    assert "2/2 high  failed: error: the rate is too high" in text
    assert str(tmp_path / "high" / "log.txt") in text
    assert "about 0 min left" in text
    table = summary(outcomes, 2)
    assert "1 of 2 members are done" in table
    assert "error: the rate is too high" in table

    again = Sweep(rates, tmp_path, "run", few, program, cpus(1)).run()
    assert [o.status for o in again] == ["finished before", "failed"]
    # Results of another length are not those that were asked for.
    more = ["--config.train.steps=4"]
    longer = Sweep(rates, tmp_path, "run", more, program, cpus(1)).run()
    assert [o.status for o in longer] == ["done", "failed"]


def test_members_run_side_by_side_each_with_its_devices(tmp_path, program):
    # Each ends only if it sees the other one running.
    both = members(a=MEET, b=MEET)
    outcomes = Sweep(both, tmp_path, "run", [], program, cpus(2)).run()
    assert statuses(outcomes) == {"a": "done", "b": "done"}
    assert lines(tmp_path / "a" / "starts") == lines(tmp_path / "b" / "starts") == ["1"]


def test_a_member_waits_for_the_run_that_it_starts_from(tmp_path, program):
    few = {"train.pretrained_from": "first", "train.steps": 3}
    chain = members(first=FAIL) | {"second": Member(FREE, few)}
    outcomes = Sweep(chain, tmp_path, "run", [], program, cpus(2)).run()
    assert statuses(outcomes) == {"first": "failed", "second": "skipped"}
    assert outcomes[1].reason == "it starts from first, which is failed"
    assert not (tmp_path / "second").exists()

    chain |= members(first=0.001)
    outcomes = Sweep(chain, tmp_path, "run", [], program, cpus(2)).run()
    assert statuses(outcomes) == {"first": "done", "second": "done"}
    begins = [(tmp_path / n / "starts").stat().st_mtime for n in ("first", "second")]
    assert (tmp_path / "first" / "results.json").stat().st_mtime < begins[1]


def test_what_is_in_the_way_is_that_members_failure(tmp_path, program):
    # A source that does not come first is the run's own business, and no deadlock.
    itself = {"train.pretrained_from": "itself", "train.steps": 3}
    two = members(odd=0.001) | {"itself": Member(FREE, itself)}
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "results.json").write_text("[")
    outcomes = Sweep(two, tmp_path, "run", [], program, cpus(1)).run()
    assert statuses(outcomes) == {"odd": "failed", "itself": "done"}
    assert "results.json" in outcomes[0].reason


def test_ctrl_c_stops_what_runs_once_and_the_same_command_goes_on(tmp_path, program):
    three = members(a=HOLD, b=HOLD, c=0.001)
    folders = [tmp_path / "a", tmp_path / "b"]
    toy.send_later(signal.SIGINT, folders, whom=1)
    outcomes = Sweep(three, tmp_path, "run", [], program, cpus(2)).run()
    assert statuses(outcomes) == {"a": "stopped", "b": "stopped"}
    assert [lines(folder / "signals") for folder in folders] == [["SIGINT"]] * 2
    assert not (tmp_path / "c").exists()

    outcomes = Sweep(three, tmp_path, "run", [], program, cpus(2)).run()
    assert statuses(outcomes) == dict.fromkeys("abc", "done")


def test_a_signal_to_one_member_stops_that_one_only(tmp_path, program, capsys):
    three = members(a=HOLD, b=0.001, c=0.001)
    toy.send_later(signal.SIGTERM, [tmp_path / "a"], whom=0)
    outcomes = Sweep(three, tmp_path, "run", [], program, cpus(2)).run()
    assert statuses(outcomes) == {"a": "stopped", "b": "done", "c": "done"}
    assert "1/3 a  stopped: the same command goes on" in capsys.readouterr().out

    outcomes = Sweep(three, tmp_path, "run", [], program, cpus(2)).run()
    done = {"a": "done", "b": "finished before", "c": "finished before"}
    assert statuses(outcomes) == done


def test_a_batch_that_does_not_divide_is_refused_for_that_member(tmp_path, program):
    two = members(odd=0.001, even=0.001)
    two["even"].overrides["train.batch_size"] = 8
    two["odd"].overrides["train.batch_size"] = 7
    outcomes = Sweep(two, tmp_path, "run", [], program, cpus(2), per_run=2).run()
    assert statuses(outcomes) == {"odd": "refused", "even": "done"}
    assert outcomes[0].reason.endswith("--devices_per_run=1")
    assert lines(tmp_path / "even" / "starts") == ["2"]


@pytest.mark.parametrize(
    ("at_once", "text"), [(1, "1.5 h"), (2, "1.0 h"), (4, "30 min")]
)
def test_the_time_that_is_left(at_once, text):
    assert eta([Outcome("a", "done", 30.0)], 4, at_once) == f"about {text} left"
