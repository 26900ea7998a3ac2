"""``sepjax report`` of a folder of runs: their pages, and an index of them."""

import pytest
from curve_runs import write_curves
from fake_run import write_fake_run

from sepjax.commands.cli import main
from sepjax.report.pages.index import write_pages


def test_a_folder_of_runs_gets_an_index(tmp_path, capsys):
    write_fake_run(tmp_path / "runs" / "a & b", name="first")
    write_curves(tmp_path / "runs" / "sweep" / "seed_1", "second", steps=458)
    (tmp_path / "runs" / ".cache" / "run").mkdir(parents=True)
    assert main(["report", str(tmp_path / "runs")]) == 0
    index = tmp_path / "runs" / "report.html"
    assert capsys.readouterr().out.split() == [str(index)]
    text = index.read_text()
    for name, path in (("first", "a%20%26%20b"), ("second", "sweep/seed_1")):
        assert f'href="{path}/report.html"' in text
        assert f"<td>{name}</td>" in text
    assert text.count("<td>tasnet</td>") == 2
    assert (tmp_path / "runs" / "sweep" / "seed_1" / "report.html").exists()
    assert text.count("href=") == 2 + 1  # and the icon


def test_a_damaged_run_is_named_and_the_others_listed(tmp_path, capsys):
    for name in ("bad", "good"):
        write_fake_run(tmp_path / name)
    (tmp_path / "bad" / "results.json").write_text("{}")
    assert main(["report", str(tmp_path)]) == 1
    assert "1 of 2 runs could not be read" in capsys.readouterr().err
    text = (tmp_path / "report.html").read_text()
    assert "good/report.html" in text
    assert "results.json: model: is missing" in text


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match="is no run, and has none in it"):
        write_pages(tmp_path)
    assert not (tmp_path / "report.html").exists()
