"""Jobs at once: failures that are outcomes, bugs that are not, processes that die."""

import os
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from data_pipelines.manifest import DataError
from data_pipelines.workers import in_order, reason, run_jobs


def double(number):
    if number < 0:
        raise ValueError(f"{number} is below zero")
    return 2 * number


def nothing():
    pass


def die_once(number, folder):
    """Job 1 kills its process the first time, job 2 always."""
    if number == 0:
        return number
    time.sleep(0.5)  # the first job is done by then
    mark = Path(folder, str(number))
    if number == 2 or not mark.exists():
        mark.touch()
        os._exit(9)
    return number


@pytest.mark.parametrize("workers", [1, 4])
def test_failures_are_outcomes_of_their_own_job(workers):
    jobs = [(number,) for number in (3, -1, 4)]
    outcomes = run_jobs(double, jobs, "doubling", workers=workers)
    found = {
        index: result if error is None else reason(error)
        for index, result, error in outcomes
    }
    assert found == {0: 6, 1: "-1 is below zero", 2: 8}


@pytest.mark.parametrize("workers", [1, 4])
def test_what_nobody_expects_stops_everything(workers):
    with pytest.raises(TypeError):
        list(run_jobs(double, [("a",), (1,)], "doubling", workers=workers))


def test_results_keep_their_order():
    def wait(seconds):
        time.sleep(seconds)
        if not seconds:
            raise DataError("broken")
        return seconds

    slow, broken, quick = in_order(wait, [(0.2,), (0,), (0.1,)], "waiting", 3)
    assert (slow, str(broken), quick) == (0.2, "broken", 0.1)


def test_a_process_that_dies_takes_no_other_job_with_it(tmp_path):
    jobs = [(number, str(tmp_path)) for number in range(3)]
    options = {"workers": 3, "start": nothing, "progress": False}
    outcomes = run_jobs(die_once, jobs, "dying", again=True, **options)
    found = {index: error or result for index, result, error in outcomes}
    assert (found[0], found[1]) == (0, 1)
    assert "want of memory" in str(found[2])
    with pytest.raises(BrokenProcessPool):
        list(run_jobs(die_once, jobs, "dying", **options))
