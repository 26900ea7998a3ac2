"""Sweeps as jobs of submitit: its executor for this machine is a real one."""

import signal

import pytest

from sepjax.experiment.slurm import Jobs, parameter
from sepjax.experiment.sweep import Sweep
from tests.experiment import toy
from tests.experiment.test_sweep import statuses
from tests.experiment.toy import FAIL, HOLD, MEET, cpus, lines, members

program = toy.program


def run(rates, tmp_path, program, count, **options):
    jobs = Jobs("local", tmp_path / "submitit", options, "")
    return Sweep(rates, tmp_path, "run", [], program, cpus(count), start=jobs).run()


def test_jobs_run_side_by_side_each_with_its_devices(tmp_path, program):
    rates = members(a=MEET, b=MEET, bad=FAIL)
    outcomes = run(rates, tmp_path, program, 3)
    assert statuses(outcomes) == {"a": "done", "b": "done", "bad": "failed"}
    assert outcomes[2].reason == "error: the rate is too high"
    assert lines(tmp_path / "a" / "starts") == lines(tmp_path / "b" / "starts") == ["1"]


def test_a_preempted_job_saves_and_goes_on_by_itself(tmp_path, program):
    """SIGUSR2 is what Slurm sends, to the job and in some setups to all it started."""
    toy.send_later(signal.SIGUSR2, [tmp_path / "a"], whom=0)
    toy.send_later(signal.SIGUSR2, [tmp_path / "a"], whom=1)
    outcomes = run(members(a=HOLD), tmp_path, program, 1)
    assert statuses(outcomes) == {"a": "done"}
    assert len(lines(tmp_path / "a" / "starts")) == 2
    assert lines(tmp_path / "a" / "signals") == ["SIGTERM"]
    assert "stopped; the same command" in (tmp_path / "a" / "log.txt").read_text()


def test_ctrl_c_stops_all_jobs(tmp_path, program):
    toy.send_later(signal.SIGINT, [tmp_path / "a"], whom=2)
    outcomes = run(members(a=HOLD, b=0.001), tmp_path, program, 1)
    assert statuses(outcomes) == {"a": "stopped"}
    assert lines(tmp_path / "a" / "signals") == ["SIGTERM"]
    assert statuses(run(members(a=HOLD), tmp_path, program, 1)) == {"a": "done"}


def test_options_are_those_of_submitit():
    assert parameter("partition", "gpu") == ("slurm_partition", "gpu")
    assert parameter("slurm_time", "1:00:00") == ("slurm_time", "1:00:00")
    assert parameter("mem_gb", "1.5") == ("mem_gb", 1.5)


@pytest.mark.parametrize(
    ("cluster", "options", "message"),
    [
        ("slurm", {}, "srun"),
        ("local", {"colour": "red"}, "Unknown argument 'colour'"),
        ("local", {"timeout_min": "soon"}, "timeout_min"),
        ("local", {"nodes": "2", "tasks_per_node": "4"}, "8 processes .*=auto"),
    ],
)
def test_what_submitit_refuses_is_one_message(tmp_path, cluster, options, message):
    with pytest.raises(ValueError, match=message):
        Jobs(cluster, tmp_path, options, "")
