"""Every table and figure of the thesis by its one command, tiny, on the demo music."""

import json

import pytest

from sepjax.commands.cli import main
from sepjax.configs.thesis import SCALES, TARGETS
from sepjax.experiment.reproduce import scaled
from sepjax.experiment.sweep import Outcome


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("reproductions")


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_made_at_the_smallest_scale(name, output, capsys):
    assert main(["reproduce", name, "-o", str(output)]) == 0
    base = output / "smoke" / name.replace(".", "_")
    page = base.with_name(f"{base.name}.html").read_text()
    assert "<title>" in page
    if name.startswith("table"):
        assert base.with_name(f"{base.name}.md").read_text().count("\n| ") > 2
        assert json.loads(base.with_name(f"{base.name}.json").read_text())
    # What is there is not trained once more.
    text = capsys.readouterr().out
    if TARGETS[name].members:
        assert main(["reproduce", name, "-o", str(output)]) == 0
        assert "started on" not in capsys.readouterr().out
        assert "members are done" in text


def test_what_cannot_be_is_told_before_anything_runs(tmp_path, capsys):
    wrong = {
        ("table-4.5",): "table-4.4",
        ("figure-5.10", "steps"): "FIELD=VALUE",
        ("figure-5.10", "train.stps=3"): "did you mean 'steps'",
    }
    for arguments, text in wrong.items():
        assert main(["reproduce", *arguments, "-o", str(tmp_path / "out")]) == 1
        assert text in capsys.readouterr().err
        assert not (tmp_path / "out" / "smoke" / "runs").exists()


def test_full_models_do_not_train_on_the_demo_unasked(tmp_path, capsys):
    for name in ("figure-5.10", "table-4.1", "figure-4.2"):
        full = ["reproduce", name, "--scale", "full", "-o", str(tmp_path / "out")]
        assert main([*full, "train.seeds=1"]) == 1
        assert "data.root=DIR" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    full[1] = "figure-5.3"  # a diagram
    assert main(full) == 0


def test_a_target_that_fails_leaves_the_others(tmp_path, capsys, monkeypatch):
    def draw(name, *_):
        if name == "table-4.2":
            raise ValueError("no such songs")
        return True

    monkeypatch.setattr("sepjax.experiment.reproduce.reproduce", draw)
    assert main(["reproduce", "all", "-o", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "table-4.2: no such songs" in captured.err
    assert f"({len(TARGETS)} of {len(TARGETS)})" in captured.out
    assert "not whole: table-4.2\n" in captured.out


def test_a_signal_ends_all_targets(tmp_path, capsys, monkeypatch):
    started = []

    class Stopped:
        def __init__(self, members, *_, **__):
            started.append(members)

        def run(self):
            return [Outcome(next(iter(started[-1])), "stopped")]

    monkeypatch.setattr("sepjax.experiment.reproduce.Sweep", Stopped)
    few = {name: TARGETS[name] for name in ("figure-5.10", "figure-5.11")}
    monkeypatch.setattr("sepjax.experiment.reproduce.TARGETS", few)
    assert main(["reproduce", "all", "-o", str(tmp_path)]) == 130
    assert len(started) == 1


def test_rows_are_those_of_the_package_in_any_folder(tmp_path, capsys, monkeypatch):
    other = tmp_path / "configs" / "appendix_a.py"
    other.parent.mkdir()
    other.write_text("raise ValueError('not this one')")
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "list"]) == 0
    assert "figure-5.10" in capsys.readouterr().out
    members = scaled(TARGETS["figure-5.10"].members, "smoke")
    assert {member.overrides["model.N"] for member in members.values()} == {
        SCALES["smoke"]["tasnet"]["N"]
    }
