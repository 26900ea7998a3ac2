"""Many short calls of Python, which import what takes seconds once.

Every call is a fork of one server for all tests of a process, and has its own output.
"""

import atexit
import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Fork:
    """A call that was begun, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(
        self, call: list[str], variables: dict[str, str], output: Path | None = None
    ):
        if output is None:
            handle, name = tempfile.mkstemp(dir=outputs().name)
            os.close(handle)
            output = Path(name)
        self._path = output
        self.returncode: int | None = None
        self._text = ""
        line = {"call": [str(part) for part in call], "output": str(self._path)}
        self.pid = ask(line | {"variables": os.environ | variables})

    def poll(self) -> int | None:
        """The exit status, minus the number of a signal, or None while it runs."""
        if self.returncode is None:
            self.returncode = ask({"status": self.pid})
        return self.returncode

    def wait(self, timeout: float = 240) -> int:
        """The exit status, once it has ended."""
        limit = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > limit:
                raise TimeoutError(f"{self.pid} runs for longer than {timeout} s")
            time.sleep(0.02)
        return self.returncode

    def communicate(self, timeout: float = 240) -> tuple[str, None]:
        """All that it said, once it has ended."""
        self.wait(timeout)
        if self._path.exists():
            self._text = self._path.read_text()
            self._path.unlink()
        return self._text, None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the call has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


@functools.cache
def outputs() -> tempfile.TemporaryDirectory:
    """A folder that goes with this process."""
    return tempfile.TemporaryDirectory(prefix="forks-")


@functools.cache
def server() -> subprocess.Popen:
    """The process that forks; it ends with the tests of this one."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.support.forks"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)
    return process


def ask(line: dict) -> int | None:
    """The server's answer."""
    process = server()
    process.stdin.write(json.dumps(line) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


# In the server.


def begin(line: dict) -> int:
    """Fork for a call; returns the process' id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with open(line["output"], "a") as file, open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        adopt(line["variables"])
        code = run(line["call"])
    finally:
        os._exit(code)


def status(child: int) -> int | None:
    """How a call has ended, if it has."""
    ended, code = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(code) if ended else None


def adopt(variables: dict[str, str]) -> None:
    """Read variables as a process that begins with them does."""
    import jax

    path = variables.get("PYTHONPATH", "")
    if path != os.environ.get("PYTHONPATH", ""):
        sys.path[:0] = path.split(os.pathsep)
    os.environ.clear()
    os.environ.update(variables)
    for name, read in READERS.items():
        if name in variables:
            jax.config.update(name.lower(), read(variables[name]))


READERS = {
    "JAX_PLATFORMS": str,
    "JAX_NUM_CPU_DEVICES": int,
    "JAX_DISABLE_MOST_OPTIMIZATIONS": lambda text: text in ("1", "true"),
    "JAX_COMPILATION_CACHE_DIR": str,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": float,
}


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


def serve() -> None:
    """Begin calls and tell how they ended, one line each, until there are no more."""
    gc.freeze()
    for line in map(json.loads, sys.stdin):
        answer = status(line["status"]) if "status" in line else begin(line)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    import sepjax.experiment.run  # noqa: F401  what takes seconds

    serve()
