"""Every table and figure of the thesis by its one command, tiny, on the demo music."""

import json

import pytest

from configs.thesis import TARGETS
from sepjax.commands.cli import main


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
