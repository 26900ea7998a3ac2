"""Sweeps: what they hold, how they are split, and a run of one with a toy program."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from configs import appendix_a
from configs.sweeps import SWEEPS, TITLES, Member
from sepjax.config import Config, member_folders, to_dict
from sepjax.sweep import (
    Sweep,
    best,
    configuration,
    finished,
    missing_sources,
    select,
    summary,
)
from tests.tiny_run import ROOT

PROGRAM = """
import json, pathlib, signal, sys, time
from sepjax.config import to_dict
from sepjax.sweep import configuration
options = dict(a.lstrip("-").split("=", 1) for a in sys.argv[1:])
folder = pathlib.Path(options["workdir"])
assert options["mode"] == "run"
class Member:
    config, overrides = options["config"], {}
fields = [a for a in sys.argv[1:] if a.startswith("--config.")]
config = configuration(Member, fields)
if config.optim.lr > 0.02:
    sys.exit("error: the rate is too high")
if config.optim.lr > 0.009:
    def stop(*_):
        sys.exit("stopping")
    signal.signal(signal.SIGINT, stop)
    print("waiting", flush=True)
    (folder / "waiting").touch()
    time.sleep(60)
(folder / "config.json").write_text(json.dumps(to_dict(config)))
lines = [{"kind": "valid", "step": s, "loss": -s / 2.0} for s in (1, 3, 2)]
(folder / "metrics.jsonl").write_text("\\n".join(map(json.dumps, lines)))
(folder / "results.json").write_text("{}")
"""
FREE = "configs/appendix_a.py:irm_fb_sinc_free_uniform"
MEMBERS = {
    name: Member(FREE, {"optim.lr": lr})
    for name, lr in {"low": 0.001, "high": 0.05, "middle": 0.005}.items()
}


@pytest.fixture
def program(tmp_path, monkeypatch):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return path


@pytest.mark.parametrize("name", SWEEPS)
def test_members_are_valid_runs_with_names_of_their_own(name):
    assert TITLES[name]
    for run, member in SWEEPS[name].items():
        config = configuration(member)
        assert config.name == run
        assert config.train.pretrained_from in ("", *SWEEPS[name])


def test_sections_and_figures_are_whole():
    for key, part in appendix_a.SECTIONS.items():
        assert set(part.rows) <= set(SWEEPS[key])
    assert list(SWEEPS["figure_5.10"]) == list(appendix_a.FIGURES["5.10"])
    assert set(SWEEPS["appendix_a"]) == set(appendix_a.ROWS)
    assert not [name for name in SWEEPS["gammatone_ratio"] if "H640" in name]
    rates = {
        (configuration(m).model.who_is_pinv, configuration(m).optim.lr)
        for m in SWEEPS["learning_rate"].values()
    }
    values = (0.001, 0.003, 0.005, 0.007, 0.01, 0.03, 0.05)
    assert rates == {(side, lr) for side in ("none", "dec") for lr in values}
    in_hertz = SWEEPS["learning_rate_hz"].values()
    assert {configuration(m).model.fb_parameters for m in in_hertz} == {"hz"}


def test_a_source_comes_before_what_starts_from_it():
    order = list(SWEEPS["figure_5.14"])
    row = "large_hybrid_pmpgtf_pretrained_encoder"
    assert order.index("irm_hybrid_pmpgtf") < order.index(row)


def test_shards_are_a_partition():
    for count in (1, 3, 8):
        parts = [
            list(select(SWEEPS, "A.2.2", f"{k}/{count}")) for k in range(1, count + 1)
        ]
        together = [name for part in parts for name in part]
        assert sorted(together) == sorted(SWEEPS["A.2.2"])
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"])
def test_wrong_shards_are_errors(shard):
    with pytest.raises(ValueError, match=f"--shard={shard} must be k/n"):
        select(SWEEPS, "A.4", shard)


def test_wrong_names_are_errors():
    with pytest.raises(ValueError, match=r"did you mean 'figure_5.14'"):
        select(SWEEPS, "figure_5.144", "1/1")


def test_a_source_in_another_shard_is_told(tmp_path):
    row, source = "large_hybrid_pmpgtf_pretrained_encoder", "irm_hybrid_pmpgtf"
    members = {row: SWEEPS["figure_5.14"][row]}
    assert missing_sources(members, tmp_path) == [(row, source)]
    (tmp_path / source).mkdir()
    assert missing_sources(members, tmp_path) == []
    assert missing_sources(SWEEPS["figure_5.14"], tmp_path / "new") == []


def test_the_users_fields_win_over_the_members():
    config = configuration(
        MEMBERS["low"],
        [
            *("--config.optim.lr=0.5", "--config.train.steps=7"),
            *("--config.model.skip=false", "--config.data.sources=vocals,bass"),
        ],
    )
    assert (config.optim.lr, config.train.steps, config.model.skip) == (0.5, 7, False)
    assert config.data.sources == config.model.sources == ("vocals", "bass")


def test_a_sweep_runs_on_after_a_failure_and_skips_what_is_done(
    tmp_path, program, capsys
):
    few = ["--config.train.steps=3"]
    outcomes = Sweep(MEMBERS, tmp_path, "run", few, program).run()
    assert [o.status for o in outcomes] == ["done", "failed", "done"]
    assert [o.best for o in outcomes] == ["1.50 dB", "", "1.50 dB"]
    told = capsys.readouterr().out
    assert "1/3 low" in told
    assert "failed: error: the rate is too high" in told
    assert str(tmp_path / "high" / "log.txt") in told
    assert "left" in told
    table = summary(outcomes, 3)
    assert "2 of 3 members are done" in table

    again = Sweep(MEMBERS, tmp_path, "run", few, program).run()
    assert [o.status for o in again] == ["finished before", "failed", "finished before"]
    # Results of another length are not those that were asked for.
    longer = Sweep(MEMBERS, tmp_path, "run", ["--config.train.steps=4"], program).run()
    assert [o.status for o in longer] == ["done", "failed", "done"]


def test_several_seeds_are_finished_together(tmp_path):
    config = Config()
    config.train.seeds = 2
    assert not finished(tmp_path, config)

    for seed in (42, 43):
        folder = tmp_path / f"seed_{seed}"
        folder.mkdir()
        one = Config(seed=seed)
        (folder / "config.json").write_text(json.dumps(to_dict(one)))
        line = {"kind": "valid", "step": 1, "loss": -float(seed)}
        (folder / "metrics.jsonl").write_text(json.dumps(line))
        (folder / "results.json").write_text("{}")
    assert not finished(tmp_path, config)
    (tmp_path / "band.json").write_text('{"seeds": [42, 43]}')
    assert finished(tmp_path, config)
    assert best(member_folders(config, tmp_path)) == "42.50 dB (mean of 2)"
    for other in (1, 3):
        config.train.seeds = other
        assert not finished(tmp_path, config)


def test_ctrl_c_ends_the_run_and_the_sweep(tmp_path, program):
    code = (
        "import pathlib, sys; from sepjax.sweep import *;"
        "from configs.sweeps import Member;"
        f"members = {{n: Member({FREE!r}, {{'optim.lr': 0.01}}) for n in 'ab'}};"
        f"sweep = Sweep(members, pathlib.Path({str(tmp_path)!r}), 'run', [],"
        f" pathlib.Path({str(program)!r}));"
        "print(summary(sweep.run(), 2))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "a" / "waiting").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=30)[0]
    assert "stopped" in told
    assert "0 of 2 members are done" in told
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.train.seeds=x", "invalid literal"),
        ("--config.model.deep_types=pmpgtf,convv", "deep_types"),
    ],
)
def test_a_wrong_value_is_one_message(flag, message):
    with pytest.raises(ValueError, match=message):
        configuration(MEMBERS["low"], [flag])


def test_flags_mean_what_they_mean_to_a_run():
    more = ["--config.train.seeds", "3", "--config.model.consistency"]
    config = configuration(MEMBERS["low"], more)
    assert config.train.seeds == 3
    assert config.model.consistency is True
