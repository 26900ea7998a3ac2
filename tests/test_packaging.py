"""What a wheel holds, and where an installed sepjax is found."""

import fnmatch
import importlib.metadata
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import sepjax.configs
from tools import release

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_files_that_are_no_modules_are_declared():
    """The wheel has what pyproject.toml says; nobody would miss a style sheet here."""
    declared = PROJECT["tool"]["setuptools"]["package-data"]
    lost = []
    for package in ("sepjax", "data_pipelines"):
        for path in (ROOT / package).rglob("*"):
            if path.is_dir() or path.suffix in (".py", ".pyc"):
                continue
            home = next(one for one in path.parents if (one / "__init__.py").exists())
            name = ".".join(home.relative_to(ROOT).parts)
            patterns = declared["*"] + declared.get(name, [])
            inside = str(path.relative_to(home))
            if not any(fnmatch.fnmatchcase(inside, each) for each in patterns):
                lost.append(str(path.relative_to(ROOT)))
    assert not lost


def test_the_configurations_of_the_clone_are_those_of_the_package():
    assert Path(sepjax.configs.__file__).samefile(ROOT / "configs" / "__init__.py")


def test_every_dependency_has_its_reason():
    reasons = (ROOT / "docs/decisions/0002-dependencies.md").read_text()
    for line in PROJECT["project"]["dependencies"]:
        assert line.partition(">")[0] in reasons


def test_beside_a_clone_of_its_name_the_package_is_found(tmp_path, monkeypatch):
    """By what this environment has installed, not by PYTHONPATH."""
    if not list(importlib.metadata.distributions(name="sepjax")):
        pytest.skip("sepjax is not installed here")
    (tmp_path / "sepjax").symlink_to(ROOT)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    code = "import sepjax, sepjax.models; print(sepjax.load.__name__)"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout == "load\n", shown.stderr


@pytest.mark.slow
def test_an_editable_install_is_found_beside_its_clone(tmp_path, capsys):
    tree = release.checkout(tmp_path / "sepjax")
    try:
        release.try_beside_clone(sys.executable, tree)
    except SystemExit as error:
        if "No matching distribution" in str(error):
            pytest.skip("no package index")
        raise
    assert "the package is found" in capsys.readouterr().out


def test_archives_are_compared_by_content_and_searched_for_junk(tmp_path):
    wheel, source = tmp_path / "a-1-any.whl", tmp_path / "a-1.tar.gz"
    files = {"a/__init__.py": b"", "a/one.flac": b"take", "a/two.flac": b"take"}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "x.py").touch()
    with tarfile.open(source, "w:gz") as archive:
        archive.add(tmp_path / "tests", "a-1/tests")
    assert set(release.digests(wheel)) == set(files)
    assert release.junk(wheel) == ["a take is twice in a-1-any.whl"]
    assert release.junk(source) == ["a-1/tests/x.py in a-1.tar.gz"]
