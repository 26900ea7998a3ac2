"""Tables of the thesis: ours, printed and published values beside each other."""

import json
from pathlib import Path

import pytest

from sepjax.commands.cli import main
from sepjax.configs.thesis import SCALES, TABLES, TARGETS
from sepjax.experiment.reproduce import find_targets, scaled, write_table
from sepjax.report.figures.diagrams import DIAGRAMS, write_diagram


def results(value, classes, metrics, seed=0):
    row = dict.fromkeys(metrics, value)
    return {
        "definition": {"preset": "thesis", "seed": seed, "data_sha256": "ab" * 32},
        "model": {name: dict(row) for name in classes},
        "mean": {"model": row},
        "tracks": [{"name": "one"}],
    }


def write_run(folder, *values, table="table-5.1"):
    layout = TABLES[table]
    for seed, value in enumerate(values):
        place = folder / f"seed_{seed}" if len(values) > 1 else folder
        place.mkdir(parents=True)
        tree = results(value, layout.classes, layout.metrics, seed)
        (place / "results.json").write_text(json.dumps(tree))
    return folder


def test_a_table_has_the_thesis_cells_below_ours(tmp_path):
    name = "full_data_huge_hybrid_pmpgtf_L100_W100"
    run = write_run(tmp_path / name, 3.0, 5.0)
    files, text = write_table("5.1", [run], tmp_path / "table")
    lines = text.splitlines()
    assert "| Conv-TasNet-filterbanks | ours | SDR |" + " 4.00 ± 1.41 |" * 5 in lines
    unknown = "| ? " * 4
    assert f"| Conv-TasNet-filterbanks | printed | SDR {unknown}| 4.03 |" in lines
    published = "| Conv-TasNet | published | SDR | 6.81 | 6.08 | 5.66 | 4.37 | 5.73 |"
    assert published in lines
    assert [path.suffix for path in files] == [".md", ".json", ".html"]
    facts = json.loads(files[1].read_text())["facts"]
    assert facts["seeds"] == {name: [0, 1]}
    assert "abababababab" in files[2].read_text()


def test_published_values_have_the_means_that_were_published():
    for _, cells in TABLES["table-5.1"].published.values():
        four = [cells["sdr"][name] for name in TABLES["table-5.1"].classes]
        assert sum(four) / 4 == pytest.approx(cells["sdr"]["mean"], abs=0.0051)


def test_a_demonstration_and_a_model_of_ones_own_find_their_rows(tmp_path):
    runs = [
        write_run(tmp_path / name, 1.0, table="table-6") for name in ("demo_tl", "my")
    ]
    text = write_table("6", runs, tmp_path / "t")[1]
    assert "| tl | ours | SDR |" in text
    assert "| my | ours | SDR |" in text
    assert "| my | printed" not in text


def test_the_command_takes_a_table_or_a_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = write_run(tmp_path / "demo_meta", 1.0, table="table-6")
    assert main(["report", "--table", "6", str(run)]) == 0
    assert Path("table_6.html").exists()
    assert main(["report", "--table", str(run)]) == 0
    assert "demo_meta" in capsys.readouterr().out
    assert main(["report", "--table", "4.5", str(run)]) == 1
    assert "'4.4'" in capsys.readouterr().err


def test_targets_are_found_or_suggested():
    assert list(find_targets("table-6")) == ["table-6"]
    assert find_targets("all") == TARGETS
    with pytest.raises(ValueError, match=r"did you mean .*'figure-5\.1'"):
        find_targets("figure-5.16")


@pytest.mark.parametrize("scale", SCALES)
def test_every_run_of_every_target_has_a_valid_configuration(scale):
    for target in TARGETS.values():
        members = target.members if scale == "full" else target.small or target.members
        few = dict(list(members.items())[:2])  # the rest differs in the rows' cells
        small = scaled(few, scale)
        assert small.keys() == few.keys()


def test_scales_leave_what_is_applied_untrained_and_demonstrations_their_size():
    live = TARGETS["table-6"].small
    smoke, reduced = (scaled(live, scale) for scale in ("smoke", "reduced"))
    assert "train.steps" not in smoke["demo_unmix"].overrides
    assert smoke["demo_tl"].overrides["train.steps"] == 20
    assert reduced["demo_tl"].overrides == {"train.seeds": 3}


@pytest.mark.parametrize("number", DIAGRAMS)
def test_diagrams_are_drawn_with_all_their_boxes(number, tmp_path):
    files, _ = write_diagram(number, tmp_path / "diagram")
    page = files[0].read_text()
    assert DIAGRAMS[number].title in page
    for start, end, _ in DIAGRAMS[number].arrows:
        assert {start, end} <= DIAGRAMS[number].boxes.keys()


def test_runs_of_the_same_row_all_stay(tmp_path):
    places = ("demo_tl", "tl", "a/meta", "b/meta")
    runs = [
        write_run(tmp_path / name, float(place), table="table-6")
        for place, name in enumerate(places, 1)
    ]
    text = write_table("6", runs, tmp_path / "t")[1]
    for name, value in (("demo_tl", 1), ("tl", 2), ("meta", 3), (f"{runs[3]}", 4)):
        assert f"| {name} | ours | SDR |" + f" {value}.00 |" * 5 in text


def test_a_mean_is_that_of_the_classes_of_the_table(tmp_path):
    run = write_run(tmp_path / "meta", 1.0, table="table-6")
    tree = json.loads((run / "results.json").read_text())
    del tree["model"]["bass"]
    (run / "results.json").write_text(json.dumps(tree))
    text = write_table("6", [run], tmp_path / "t")[1]
    assert "| meta | ours | SDR | 1.00 | 1.00 | - | 1.00 | - |" in text
