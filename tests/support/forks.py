"""Many short calls of Python, which import what takes seconds once.

Every call is a fork of one process, with an output of its own.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback

from tests.tiny_run import ROOT, environment


def forks(
    calls: list[list[str]], *, devices: int = 1, **variables: str
) -> list[tuple[int, str]]:
    """Status and output of each call, one after the other.

    A call is what would stand behind ``python``: a program of the root or ``-m`` and a
    module, and arguments; ``variables`` are added to the environment.
    """
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.support.forks"],
        cwd=ROOT,
        env=os.environ | environment(devices) | variables,
        input=json.dumps([[str(part) for part in call] for call in calls]),
        stdout=subprocess.PIPE,
        text=True,
        timeout=240,
        check=True,
    )
    return json.loads(process.stdout)


def finish_forks(calls: list[list[str]], *, devices: int, code: int) -> list[str]:
    """The outputs of ``run_experiment.py`` with these flags, always with a status."""
    results = forks([["run_experiment.py", *call] for call in calls], devices=devices)
    for status, output in results:
        assert status == code, output[-3000:]
    return [output for _, output in results]


def call(arguments: list[str]) -> tuple[int, str]:
    """Status and output of one call."""
    with tempfile.TemporaryFile("w+") as file:
        child = os.fork()
        if child == 0:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            os._exit(run(arguments))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        file.seek(0)
        return status, file.read()


def run(arguments: list[str]) -> int:
    """The program as a person starts it; its exit status."""
    status = 0
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            program = str(ROOT / arguments[0])
            sys.argv = [program, *arguments[1:]]
            runpy.run_path(program, run_name="__main__")
    except SystemExit as stop:
        status = stop.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status or 0


if __name__ == "__main__":
    import sepjax.experiment.run  # noqa: F401  what takes seconds

    print(json.dumps([call(arguments) for arguments in json.load(sys.stdin)]))
