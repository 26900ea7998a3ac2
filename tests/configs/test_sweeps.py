"""Sweeps: what they hold, and how they are split."""

import json

import pytest

from sepjax.config import Config, member_folders, to_dict
from sepjax.configs import appendix_a
from sepjax.configs.sweeps import SWEEPS, TITLES, Member
from sepjax.experiment.members import (
    configuration,
    finished,
    missing_sources,
    select,
)
from sepjax.experiment.sweep import best
from sepjax.models.tasnet.config import TasNetConfig

FREE = Member("configs/appendix_a.py:irm_fb_sinc_free_uniform", {"optim.lr": 0.001})


@pytest.mark.parametrize("name", SWEEPS)
def test_members_are_valid_runs_with_names_of_their_own(name):
    assert TITLES[name]
    for run, member in SWEEPS[name].items():
        config = configuration(member)
        assert config.name == run
        source = config.train.pretrained_from
        assert source in ("", *SWEEPS[name]) or source.startswith("weights/")


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


def test_chapters_run_on_prepared_folders():
    runs = {n: configuration(m) for n, m in SWEEPS["chapter4"].items()}
    roots = {name: config.data.root for name, config in runs.items()}
    assert roots["meta_guitar"] == roots["meta_all_instruments"]
    assert roots["meta_all_data"] == "prepared/all_data"
    assert runs["meta_guitar"].data.sources == runs["meta_all_data"].data.sources
    root = ["--config.data.root=concerts"]
    live = [configuration(m, root) for m in SWEEPS["chapter6"].values()]
    assert {config.data.root for config in live} == {"concerts"}
    together = [*runs.values(), *live]
    assert {config.data.dataset for config in together} == {"prepared"}
    assert {config.name: config.train.fit for config in live}["tl"] == ("fc2", "fc3")


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
    configs = {n: configuration(m) for n, m in SWEEPS["figure_5.14"].items()}
    alone = {row: configs[row]}
    assert missing_sources(alone, tmp_path) == [(row, source)]
    (tmp_path / source).mkdir()
    assert missing_sources(alone, tmp_path) == []
    assert missing_sources(configs, tmp_path / "new") == []


def test_the_users_fields_win_over_the_members():
    config = configuration(
        FREE,
        [
            *("--config.optim.lr=0.5", "--config.train.steps=7"),
            *("--config.model.skip=false", "--config.data.sources=vocals,bass"),
        ],
    )
    assert (config.optim.lr, config.train.steps, config.model.skip) == (0.5, 7, False)
    assert config.data.sources == ("vocals", "bass")


def test_several_seeds_are_finished_together(tmp_path):
    config = Config(model=TasNetConfig())
    config.train.seeds = 2
    assert not finished(tmp_path, config)

    for seed in (42, 43):
        folder = tmp_path / f"seed_{seed}"
        folder.mkdir()
        one = Config(model=TasNetConfig(), seed=seed)
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


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.train.seeds=x", "invalid literal"),
        ("--config.model.deep_types=pmpgtf,convv", "deep_types"),
    ],
)
def test_a_wrong_value_is_one_message(flag, message):
    with pytest.raises(ValueError, match=message):
        configuration(FREE, [flag])


def test_flags_mean_what_they_mean_to_a_run():
    more = ["--config.train.seeds", "3", "--config.model.consistency"]
    config = configuration(FREE, more)
    assert config.train.seeds == 3
    assert config.model.consistency is True
