"""Scores of runs beside each other, if they are scores of the same thing."""

import json

import pytest

from sepjax.report.figures.bars import write_bars
from sepjax.report.score_table import score_table


def scores(value, *, seed=0, split="test", clean=None):
    def column(level):
        return {"bass": {"si_sdr": level}, "vocals": {"si_sdr": level + 2}}

    columns = {"model": value, "mixture": -5.0, "oracle": 9.0, "improvement": value + 5}
    results = {name: column(level) for name, level in columns.items()}
    results["mean"] = {n: {"si_sdr": level + 1} for n, level in columns.items()}
    results["definition"] = {"seed": seed, "split": split, "dataset": "toy"}
    results["definition"]["sample_rate"] = 8000
    results["tracks"] = [{}, {}]
    if clean is not None:
        heard = {"model": clean, "mixture": -6.0, "recorded": 12.0}
        results["clean"] = {name: column(level) for name, level in heard.items()}
        results["clean"]["mean"] = {n: {"si_sdr": v + 1} for n, v in heard.items()}
    return results


@pytest.fixture
def write(tmp_path):
    def write(name, results):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps(results))
        return tmp_path / name.split("/")[0]

    return write


def test_seeds_are_a_row_with_their_spread(write):
    for seed in (1, 2):
        band = write(f"band/seed_{seed}", scores(2.0 * seed, seed=seed))
    one = write("one", scores(7.0))
    lines = score_table([band, one]).splitlines()
    assert lines[0] == "| SI-SDR (dB) | bass | vocals | mean |"
    assert "| (the mixture) | -5.00 | -3.00 | -4.00 |" in lines
    assert "| (ideal ratio masks) | 9.00 | 11.00 | 10.00 |" in lines
    assert "| band | 3.00 ± 1.41 | 5.00 ± 1.41 | 4.00 ± 1.41 |" in lines
    assert "| one | 12.00 | 14.00 | 13.00 |" in lines  # its improvement


def test_runs_stand_beside_each_other_in_any_metric(write):
    results = scores(1.0)
    for column in (results["model"], {"mean": results["mean"]["model"]}):
        for name, cell in column.items():
            cell["sdr"] = None if name == "vocals" else 7.0
    run = write("one", results)
    lines = score_table([run], "sdr").splitlines()
    assert lines[0] == "| SDR (dB) | bass | vocals | mean |"
    assert lines[2] == "| one | 7.00 | - | 7.00 |"
    with pytest.raises(ValueError, match="not scored by 'isr'"):
        score_table([run], "isr")


def test_live_music_is_held_against_what_was_played(write):
    text = score_table([write("live", scores(1.0, clean=0.5))])
    assert "SI-SDR against what was played" in text
    assert "| (the recorded stems) | 12.00 | 14.00 | 13.00 |" in text
    assert "| live | 0.50 | 2.50 | 1.50 |" in text


def test_scores_of_different_definitions_share_no_table(write):
    runs = [write("a", scores(1.0)), write("b", scores(1.0, split="valid"))]
    with pytest.raises(ValueError, match=r"b was scored by another definition \(split"):
        score_table(runs)


def test_what_was_never_scored_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="sepjax evaluate"):
        score_table([tmp_path])


def test_bars_show_runs_and_seeds(write, tmp_path):
    for seed in (1, 2):
        band = write(f"band/seed_{seed}", scores(2.0 * seed, seed=seed))
    one = write("one", scores(7.0))
    files, text = write_bars([band, one], tmp_path / "bars.svg")
    drawn = files[0].read_text()
    assert drawn.startswith("<?xml")
    assert "band: 2 seeds. one: 1 seed." in text
    assert "2 songs" in text


def test_runs_of_one_name_have_a_row_each(write):
    write("x/run", scores(1.0))
    write("y/run", scores(2.0))
    folder = write("z", scores(3.0)).parent
    text = score_table([folder / "x/run", folder / "y/run"])
    assert f"| {folder / 'x/run'} | 6.00 |" in text
    assert f"| {folder / 'y/run'} | 7.00 |" in text


def test_a_seed_without_a_score_is_told(write):
    write("band/seed_1", scores(2.0, seed=1))
    other = scores(4.0, seed=2)
    other["improvement"]["bass"]["si_sdr"] = None
    band = write("band/seed_2", other)
    line = [x for x in score_table([band]).splitlines() if "band" in x][-1]
    assert line.startswith("| band | 7.00 (1 of 2 seeds) | ")
