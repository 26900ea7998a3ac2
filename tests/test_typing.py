"""The public surface as a type checker sees it from outside."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "typing"


def errors(*files):
    """Lines with an error, by file."""
    api = pytest.importorskip("mypy.api")
    text, problem, _ = api.run(["--no-error-summary", *map(str, files)])
    assert not problem
    return {
        (Path(m[1]).name, int(m[2])) for m in re.finditer(r"(.+?):(\d+): err", text)
    }


def test_a_right_program_is_accepted_and_every_wrong_call_refused():
    refused = HERE / "refused.py"
    wrong = {
        (refused.name, number)
        for number, line in enumerate(refused.read_text().splitlines(), start=1)
        if "# refused" in line
    }
    assert wrong
    assert errors(HERE / "consumer.py", refused) == wrong
