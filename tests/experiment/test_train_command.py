"""``sepjax train`` and ``sepjax demo``: names, mistakes, and what starts them again."""

import os
import subprocess
import sys

import pytest

from sepjax.commands import cli
from sepjax.experiment import program
from sepjax.experiment.named import FOLDER, config_file, config_modules, with_files
from sepjax.experiment.names import configuration_of
from tests.tiny_run import finish_forks, forks


def test_every_configuration_has_a_name():
    for name, module in config_modules().items():
        for variant in getattr(module, "NAMES", ()):
            (flag,) = with_files([f"--config={name}:{variant}"])
            config = configuration_of([flag])
            assert config == module.get_config(variant)


def test_a_name_is_the_packages_and_a_path_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_file("configs/demo.py:causal") == f"{FOLDER}/demo.py:causal"
    assert config_file("own/demo.py") == "own/demo.py"
    assert config_file("configs/mine.py") == "configs/mine.py"
    own = tmp_path / "configs" / "demo.py"
    own.parent.mkdir()
    own.touch()
    assert config_file("configs/demo.py") == "configs/demo.py"
    assert config_file("demo") == f"{FOLDER}/demo.py"


def test_the_flag_may_stand_apart_from_its_value():
    line = with_files(["--config", "demo", "--mode=check", "--config"])
    assert line == [f"--config={FOLDER}/demo.py", "--mode=check", "--config"]


MISTAKES = {
    "name": (["--config=demmo"], 1, "did you mean demo or "),
    "row": (["--config=large_simple"], 1, "did you mean appendix_a:large_simple "),
    "no_configuration": (["--config=sweeps"], 1, "--config=sweeps is unknown"),
    "variant": (["--config=demo:musik"], 1, "did you mean 'music'?"),
    "field": (["--config=demo", "--config.model.layer=3"], 1, "mean 'layers'"),
    "flag": (["--config=demo", "--wrkdir=x"], 1, "Did you mean: workdir"),
    "no_workdir": (["--config=demo"], 1, "--workdir is missing"),
    "no_flag": (["demo"], 2, "a configuration is --config=NAME"),
    "nothing": ([], 2, "try --config=demo"),
    "sweep": (["--sweep=figure_5.1", "--mode=list"], 1, "did you mean 'figure_5.1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_end_in_one_line(name):
    flags, code, text = MISTAKES[name]
    ((status, output),) = forks([["-m", "sepjax", "train", *flags]])
    assert status == code, output
    assert text in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1


def test_the_last_configuration_counts(tmp_path):
    flags = ["--config=demo:remixed", "--config.model.N=0", f"--workdir={tmp_path}"]
    ((status, output),) = forks([["-m", "sepjax", "demo", "--nokeep_memory", *flags]])
    assert (status, output) == (
        1,
        "error: invalid configuration:\n  model.N=0 must be positive\n",
    )


def test_both_doors_take_names_and_say_so():
    (listed,) = finish_forks([["--mode=list"]], devices=1, code=0)
    assert "demo:causal" in listed
    calls = [["run_experiment.py", "--help"], ["-m", "sepjax", "train", "--help"]]
    (_, script), (_, command) = forks(calls)
    assert script.replace("run_experiment.py -", "sepjax train -") == command
    assert "--[no]keep_memory" in command


def test_members_of_a_sweep_start_as_this_program_does(tmp_path):
    """The command of the members is one that works, in any folder."""
    from sepjax.commands.train import COMMAND

    line = [*COMMAND, "--sweep=figure_5.10", "--mode=list"]
    (tmp_path / "yaml.py").write_text("raise ImportError('of the working directory')")
    listed = subprocess.run(
        line, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("appendix_a:") == 4


def test_help_of_the_demo_says_what_it_is(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["demo", "--help"])
    assert "--config=demo --workdir=runs/demo" in capsys.readouterr().out
    assert cli.main([]) == 0
    assert "demo " in capsys.readouterr().out


def test_memory_is_kept_by_starting_once_more(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execve", lambda *call: started.append(call))
    monkeypatch.setattr(sys, "platform", "linux")
    for name in program.MEMORY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "7")
    program.keep_memory()
    ((executable, line, variables),) = started
    assert (executable, line) == (sys.executable, sys.orig_argv)
    assert variables["MALLOC_MMAP_MAX_"] == "7"  # a person's own stays
    assert variables["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    program.keep_memory()
    assert len(started) == 1
