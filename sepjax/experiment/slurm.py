"""Runs of a sweep as jobs: of Slurm, or of submitit's executor on this machine."""

import ast
import contextlib
import functools
import math
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import submitit
from submitit.core.utils import UncompletedJobError

from sepjax.experiment.sweep import start_process

# Parameters that submitit has for every executor; others belong to Slurm.
_SHARED = "timeout_min mem_gb nodes cpus_per_task gpus_per_node tasks_per_node".split()
_PERIOD = {"LocalJob": 0.0, "SlurmJob": 5.0}  # s between two looks at a job
_GRACE = 60  # s; Slurm kills a cancelled job after KillWait, 30 s as a rule
_PATIENCE = 600  # s; Slurm queues a preempted job again only if it did not end itself


class Task:
    """Runs a command in a job; continues in another job when the first one must end."""

    def __init__(self, command: list[str], variables: dict[str, str], log: Path):
        self.command, self.variables, self.log = command, variables, log
        self._process: subprocess.Popen | None = None
        self._asked = False

    def __call__(self) -> int:
        """Run the command; returns its exit code."""
        # Slurm may send SIGUSR2 to all processes of a job: it would end the run.
        ignore = functools.partial(signal.signal, signal.SIGUSR2, signal.SIG_IGN)
        run = "", self.command, self.variables, self.log
        self._process = start_process(*run, preexec_fn=ignore)
        signal.signal(signal.SIGTERM, self._stop)
        code = self._process.wait()
        if self._asked and code and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
            time.sleep(_PATIENCE)
        return code

    def checkpoint(self) -> "submitit.helpers.DelayedSubmission":
        """Let the run save and stop; submitit calls this to learn how to continue.

        It does so at SIGUSR2, which a job receives when it is preempted and some time
        before its end, and queues the job again.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            # Not Popen.wait: this is a signal handler within it, and it holds a lock.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        again = Task(self.command, self.variables, self.log)
        return submitit.helpers.DelayedSubmission(again)

    def _stop(self, number: int, frame: object) -> None:
        self._asked = True
        self._process.send_signal(signal.SIGTERM)


class Job:
    """A job of submitit with the interface that a sweep expects of a process."""

    def __init__(self, job: "submitit.Job", log: Path):
        self.job, self.log, self.pid = job, log, job.job_id
        self._next = 0.0  # time of the next look
        self._end = math.inf  # time by which a cancelled job has ended

    def poll(self) -> int | None:
        """The exit code of the run (of its first process), once the job has ended."""
        if time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + _PERIOD[type(self.job).__name__]
        cancelled = self._end < math.inf
        if not self.job.done(force_check=cancelled) and time.monotonic() < self._end:
            return None
        task = self.job.task(0)
        if cancelled and not task.paths.result_pickle.exists():
            return 1  # submitit would look for a result for a while
        try:
            return task.result()
        except UncompletedJobError as error:  # killed
            with self.log.open("a") as file:
                print(error, file=file)
            return 1

    def send_signal(self, number: int) -> None:
        """Let the run save and stop, whichever the signal."""
        if isinstance(self.job, submitit.LocalJob):  # which passes it on
            os.kill(int(self.job.job_id), signal.SIGTERM)
        else:
            self.job.cancel(check=False)
            self._end = time.monotonic() + _GRACE


class Jobs:
    """Starts runs as jobs; see ``sweep.Start``.

    ``folder`` is for submitit's own files; all machines see it. ``options`` are those
    of submitit's ``update_parameters``, of Slurm with or without ``slurm_``; the flag
    ``distributed`` is empty where a job is one process.

    Raises:
        ValueError: there is no Slurm here, or an option is not known.
    """

    def __init__(
        self, cluster: str, folder: Path, options: Mapping[str, str], distributed: str
    ):
        values = {"timeout_min": 24 * 60}
        values |= dict(map(parameter, options, options.values()))
        tasks = values.get("nodes", 1) * values.get("tasks_per_node", 1)
        if tasks > 1 and not distributed:
            raise ValueError(f"{tasks} processes a job are one run: --distributed=auto")
        self.flags = [f"--distributed={distributed}"] if distributed else []
        often = {f"{cluster}_max_num_timeout": 1000}
        try:
            self.executor = submitit.AutoExecutor(folder, cluster=cluster, **often)
            self.executor.update_parameters(**values)
        except (AssertionError, NameError, RuntimeError, TypeError) as error:
            line = str(error).splitlines()[0]
            raise ValueError(f"--launcher: {line}") from error

    def __call__(
        self, name: str, command: list[str], variables: dict[str, str], log: Path
    ) -> Job:
        """Submit a run."""
        self.executor.update_parameters(name=f"sepjax_{name}")
        # A terminal's Ctrl-C goes to jobs of this machine too, and would kill them:
        # blocked here, it is blocked in what is started here.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            return Job(self.executor.submit(Task(command, variables, log)), log)
        except UncompletedJobError as error:
            raise ValueError(f"--launcher: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def parameter(name: str, text: str) -> tuple[str, object]:
    """Return the name and the value of an option in submitit's form.

    Example:
        >>> parameter("partition", "gpu"), parameter("gpus_per_node", "2")
        (('slurm_partition', 'gpu'), ('gpus_per_node', 2))
    """
    known = name in _SHARED or name.startswith(("slurm_", "local_"))
    value: object = text
    with contextlib.suppress(SyntaxError, ValueError):
        value = ast.literal_eval(text)
    return name if known else f"slurm_{name}", value
