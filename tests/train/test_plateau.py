"""The plateau schedule against PyTorch's traces."""

import json
import math

import pytest

from sepjax.train.optim.plateau import PlateauState, plateau_step


def run(losses, rate=0.01, **settings):
    state, states = PlateauState(rate), []
    for loss in losses:
        state = plateau_step(state, loss, **settings)
        states.append(state)
    return states


def test_every_trace_of_pytorch(shared_data):
    path = shared_data / "model_ref" / "reduce_lr_on_plateau.json"
    table = json.loads(path.read_text())
    assert len(table["traces"]) >= 66
    # Floors of the rate and maxima are not ours.
    traces = [
        t for t in table["traces"] if t["config"] not in ("min_lr", "max_mode_abs")
    ]
    assert len(traces) >= 54
    for trace in traces:
        settings = {
            name: value
            for name, value in table["configs"][trace["config"]].items()
            if name != "mode"
        }
        losses = table["sequences"][trace["sequence"]]
        states = run(losses, table["initial_lr"], **settings)
        where = (trace["sequence"], trace["config"])
        assert [s.learning_rate for s in states] == trace["lr_after"], where
        assert [s.bad for s in states] == trace["num_bad_epochs"], where
        assert [s.best for s in states] == [float(b) for b in trace["best"]], where


def test_the_cut_comes_after_one_more_than_patience():
    states = run([-1.0] * 6, 1.0, factor=0.5, patience=3)
    assert [s.learning_rate for s in states] == [1, 1, 1, 1, 0.5, 0.5]


def test_relative_threshold_takes_worse_for_better_when_negative():
    # The reason for the absolute default: -9.999 is worse than -10, yet "improves".
    worsening = [-10 + 9e-4 * k for k in range(8)]
    relative = run(worsening, 1.0, factor=0.5, patience=3, threshold_mode="rel")
    absolute = run(worsening, 1.0, factor=0.5, patience=3, threshold_mode="abs")
    assert relative[-1].learning_rate == 1.0
    assert relative[-1].best == worsening[-1] > worsening[0]
    assert absolute[-1].learning_rate == 0.5
    assert absolute[-1].best == worsening[0]


def test_nan_never_counts_as_better():
    states = run([-1.0, math.nan, -1.1], 1.0, factor=0.5, patience=3)
    assert [s.best for s in states] == [-1.0, -1.0, -1.1]
    assert [s.bad for s in states] == [0, 1, 0]


def test_rate_stops_falling_where_the_change_is_negligible():
    # 1.25e-8 stays: another cut would change it by less than 1e-8.
    states = run([0.0] * 100, 1e-7, factor=0.5, patience=0)
    assert states[-1].learning_rate == pytest.approx(1e-7 / 2**3)
