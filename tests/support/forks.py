"""Many short calls of ``run_experiment.py``, which import what it imports once.

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


def finish_forks(calls: list[list[str]], *, devices: int, code: int) -> list[str]:
    """The outputs of calls with these arguments, which all end with a status."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.support.forks"],
        cwd=ROOT,
        env=os.environ | environment(devices),
        input=json.dumps(calls),
        stdout=subprocess.PIPE,
        text=True,
        timeout=240,
        check=True,
    )
    results = json.loads(process.stdout)
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
    program = str(ROOT / "run_experiment.py")
    sys.argv, status = [program, *arguments], 0
    try:
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
