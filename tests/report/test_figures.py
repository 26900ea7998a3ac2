"""Figures from runs: lines and bands, what is refused, what the caption owns up to."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from curve_runs import SOURCES, write_curves
from PIL import Image

from sepjax.commands import cli
from sepjax.configs.appendix_a import FIGURES
from sepjax.experiment.figures import draw, rows_of_figures
from sepjax.report.figures.comparison import find_runs, read_lines
from sepjax.report.figures.grid import COLORS, write_figure

ROWS = FIGURES["5.10"]


@pytest.fixture
def runs(tmp_path):
    """Two rows of figure 5.10, one of them with three seeds, and a stranger."""
    root = tmp_path / "runs"
    for seed in (42, 43, 44):
        folder = root / "large_hybrid_pmpgtf" / f"seed_{seed}"
        write_curves(folder, "large_hybrid_pmpgtf", seed=seed, level=3.0, H=640)
    write_curves(root / "large_hybrid_sinc", "large_hybrid_sinc", level=2.0)
    write_curves(root / "stranger", "stranger", level=1.0)
    return root


def test_runs_are_found_at_every_depth(runs):
    assert find_runs(runs / "stranger") == [runs / "stranger"]
    assert len(find_runs(runs / "large_hybrid_pmpgtf")) == 3
    assert len(find_runs(runs)) == len(find_runs(runs.parent)) == 5


def test_seeds_make_one_line_with_the_deviation_of_the_sample(runs):
    sinc, gammatone = read_lines([runs], ROWS)
    assert (sinc.name, gammatone.name) == ("large_hybrid_sinc", "large_hybrid_pmpgtf")
    assert gammatone.seeds == [42, 43, 44]
    assert list(gammatone.curves) == list(SOURCES)
    values = []
    for seed in (42, 43, 44):
        log = runs / "large_hybrid_pmpgtf" / f"seed_{seed}" / "metrics.jsonl"
        records = [json.loads(line) for line in log.read_text().splitlines()]
        values.append([record["si_sdr/bass"] for record in records])
    bass = gammatone.curves["bass"]
    # The same sums in another order: equal to the last digits of a double.
    np.testing.assert_allclose(bass.mean, np.mean(values, 0), rtol=1e-12)
    np.testing.assert_allclose(bass.deviation, np.std(values, 0, ddof=1), rtol=1e-9)
    assert not sinc.curves["bass"].deviation.any()


def test_seeds_of_different_length_share_what_they_have(tmp_path):
    write_curves(tmp_path / "seed_1", "a", seed=1, steps=1000, every=100)
    write_curves(tmp_path / "seed_2", "a", seed=2, steps=600, every=100)
    # Another length is another configuration, unless only early stopping made it so.
    for seed in (1, 2):
        path = tmp_path / f"seed_{seed}" / "config.json"
        tree = json.loads(path.read_text())
        tree["train"]["steps"] = 1000
        path.write_text(json.dumps(tree))
    (line,) = read_lines([tmp_path], {})
    assert line.steps.tolist() == [100, 200, 300, 400, 500, 600]


def test_another_configuration_is_another_line(tmp_path):
    write_curves(tmp_path / "a", "same", L=20)
    write_curves(tmp_path / "b", "same", L=25)
    names = [line.name for line in read_lines([tmp_path], {})]
    assert names == ["same (a)", "same (b)"]


def test_a_run_that_was_named_is_drawn_though_it_is_no_row(runs):
    assert "stranger" not in [line.name for line in read_lines([runs], ROWS)]
    for paths in ([runs, runs / "stranger"], [runs / "stranger", runs]):
        lines = read_lines(paths, ROWS)
        assert [line.name for line in lines][-1] == "stranger"
        assert len(lines) == 3


def test_chunks_are_those_of_validation(tmp_path):
    folder = write_curves(tmp_path / "short", "short")
    path = folder / "config.json"
    tree = json.loads(path.read_text())
    tree["data"] |= {"chunk_seconds": 0.5, "valid_seconds": 6.0}
    path.write_text(json.dumps(tree))
    _, text = write_figure([folder], tmp_path / "figure.svg", title="Curves", rows={})
    assert "chunks of 6 s" in text


def test_the_caption_tells_rows_data_seeds_and_what_is_missing(runs, tmp_path):
    files, text = write_figure(
        [runs], tmp_path / "out" / "figure", title="Figure 5.10", rows=ROWS
    )
    assert [file.suffix for file in files] == [".html", ".png", ".svg"]
    for part in (
        "large_hybrid_pmpgtf: certain row, batch 12, 4,580 steps, seeds 42, 43, 44",
        "large_hybrid_sinc: certain row, batch 12, 4,580 steps, seed 42",
        "demo, SHA-256 5a5a5a5a5a5a…, 8000 Hz, chunks of 8 s",
        "missing: large_hybrid_conv, large_hybrid_stft",
        "over optimizer steps",
        "one sample deviation",
    ):
        assert part in text
    page = files[0].read_text()
    assert "seeds 42, 43, 44" in page
    assert page.count("<tr>") == 3
    assert "http" not in page.replace("http://www.w3.org", "")
    assert not list((tmp_path / "out").glob("*.partial"))


def test_the_picture_has_a_panel_a_class_and_a_color_a_row(runs, tmp_path):
    files, _ = write_figure([runs], tmp_path / "figure", title="T", rows=ROWS)
    root = ElementTree.fromstring(files[2].read_text())
    groups = [node.get("id", "") for node in root.iter()]
    assert len([name for name in groups if name.startswith("axes_")]) == len(SOURCES)
    text = files[2].read_text()
    # The first row of the figure is missing, and its color with it.
    order = list(ROWS)
    for place, color in enumerate(COLORS):
        shown = order[place : place + 1] in (
            ["large_hybrid_sinc"],
            ["large_hybrid_pmpgtf"],
        )
        assert (color in text) == shown
    pixels = np.asarray(Image.open(files[1]).convert("RGB")).reshape(-1, 3)
    color = np.array([int(COLORS[1][i : i + 2], 16) for i in (1, 3, 5)])
    assert (np.abs(pixels.astype(int) - color).max(axis=1) < 3).sum() > 500


def test_the_same_runs_give_the_same_bytes(runs, tmp_path):
    first, _ = write_figure([runs], tmp_path / "a", title="T", rows=ROWS)
    second, _ = write_figure([runs], tmp_path / "b", title="T", rows=ROWS)
    assert [a.read_bytes() for a in first] == [b.read_bytes() for b in second]


def test_batches_that_differ_are_compared_by_what_was_heard(tmp_path):
    write_curves(tmp_path / "a", "a", batch=8)
    write_curves(tmp_path / "b", "b", batch=7)
    _, text = write_figure([tmp_path], tmp_path / "f.svg", title="T")
    assert "over training chunks heard" in text


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (dict(data="7b" * 32), "differ in data"),
        (dict(sources=("drums", "rest")), "differ in classes"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(runs, tmp_path, change, what):
    other = write_curves(tmp_path / "other", "large_hybrid_stft", **change)
    with pytest.raises(ValueError, match=what) as caught:
        write_figure([runs, other], tmp_path / "f.png", title="T", rows=ROWS)
    assert "large_hybrid_stft" in str(caught.value)
    assert "--by-data" in str(caught.value)
    files, text = write_figure(
        [runs, other], tmp_path / "f.svg", title="T", rows=ROWS, by_data=True
    )
    assert text.count("Data:") == 2
    assert files == [tmp_path / "f.svg"]


def test_seeds_on_other_data_are_not_one_line(tmp_path):
    write_curves(tmp_path / "a" / "seed_1", "a", seed=1)
    write_curves(tmp_path / "a" / "seed_2", "a", seed=2, data="7b" * 32)
    assert len(read_lines([tmp_path], {})) == 2


def test_nothing_to_draw_says_what_was_wanted(runs, tmp_path):
    with pytest.raises(ValueError, match=r"5 run folders looked at.*large_deep2") as e:
        draw("5.15", [runs], tmp_path / "f.png")
    assert str(runs) in str(e.value)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        draw("5.15", [tmp_path / "nope"], None)


def test_figures_are_those_of_the_configurations():
    assert rows_of_figures() == {k: v for k, v in FIGURES.items() if k[0] == "5"}


def test_the_command_prints_caption_and_files(runs, tmp_path, capsys):
    out = tmp_path / "f.png"
    command = ["report", "--figure", "5.10", str(runs), "-o", str(out)]
    assert cli.main(command) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("SI-SDR of validation chunks")
    assert told[1:] == [str(out)]
    assert out.stat().st_size > 10_000
    assert cli.main(["report", "--figure", "5.16", str(runs)]) == 1
    assert "did you mean" in capsys.readouterr().err


def test_filters_of_the_initialization_and_of_a_run(run, tmp_path):
    files, text = draw("5.2", [], tmp_path / "start")
    assert "sinc: 440 filters of 25 taps" in text
    assert "gammatone: 440 filters of 20 taps" in text
    assert "before training" in text
    assert all(file.stat().st_size > 5000 for file in files)
    files, text = draw("5.2", [run], tmp_path / "run.png")
    assert "filterbank: 48 filters of 20 taps" in text
    assert "after training" in text
    with pytest.raises(ValueError, match="one run"):
        draw("5.2", [run, run], None)
    (run / "filters.npz").unlink()
    with pytest.raises(ValueError, match="written when training ends"):
        draw("5.2", [run], None)
