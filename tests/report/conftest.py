from pathlib import Path

import pytest
from fake_run import write_fake_run

from sepjax.report import write_report


@pytest.fixture
def run(tmp_path) -> Path:
    """A folder with everything a report reads, for a test to change."""
    return write_fake_run(tmp_path / "run")


@pytest.fixture(scope="session")
def page(tmp_path_factory) -> Path:
    """The report of an unchanged run: two excerpts, four tracks, three classes."""
    folder = tmp_path_factory.mktemp("report") / "run"
    return write_report(write_fake_run(folder, excerpts=2))
