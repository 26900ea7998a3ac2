"""Many runs, as many at once as there are devices, each in a process of its own."""

import math
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sepjax.config import member_folders
from sepjax.experiment.devices import Devices, environment, share_devices
from sepjax.experiment.members import Member, configuration, finished
from sepjax.progress import read_log
from sepjax.registry import aligned
from sepjax.report.run_folder import number

PAUSE = 0.2  # s between two looks at what is running

# (name of the run, command, variables of its environment, file for its output) to a
# process, or anything else that has ``pid``, ``poll`` and ``send_signal``.
Start = Callable[[str, list[str], dict[str, str], Path], subprocess.Popen]


def start_process(
    name: str, command: list[str], variables: dict[str, str], log: Path, **options: Any
) -> subprocess.Popen:
    """Start a run on this machine; its output goes to the end of a file."""
    environ = os.environ | variables
    with log.open("a") as file:
        # In a session of its own: Ctrl-C comes once, through the sweep, not twice.
        options |= dict(stdout=file, stderr=file, start_new_session=True)
        return subprocess.Popen(command, env=environ, **options)


class Outcome(NamedTuple):
    """The end of a member."""

    name: str
    status: str  # done | finished before | failed | stopped | skipped | refused
    minutes: float = 0.0
    best: str = ""  # validation SI-SDR, dB
    reason: str = ""  # why it has no results

    @property
    def good(self) -> bool:
        """Whether the member has the result that the sweep wants."""
        return self.status in ("done", "finished before")


class Started(NamedTuple):
    """A member that is running."""

    process: subprocess.Popen
    group: tuple[str, ...]  # devices that are taken
    log: Path
    offset: int  # of its output in the log, bytes
    time: float  # s


class Sweep:
    """Runs members side by side; Ctrl-C and SIGTERM let all of them save and stop.

    Members start in their order, each as soon as a group of devices is free and the run
    that it starts from, if that comes before it, has ended.

    Raises:
        ValueError: a field is wrong, or ``per_run`` is not possible here.
    """

    def __init__(
        self,
        members: Mapping[str, Member],  # by the name of their run folder
        workdir: Path,  # of these folders; unused by ``mode="check"``
        mode: str,  # of every run: run, train or check
        fields: Sequence[str],  # ``--config.…`` flags for all of them
        program: Sequence[str],  # the command that runs one
        devices: Devices | None = None,  # None: a cluster gives every run its own
        per_run: int = 0,  # devices of every run; 0 leaves it to ``share_devices``
        start: Start = start_process,
        flags: Sequence[str] = (),  # more of them for all runs
    ):
        self.members, self.workdir, self.mode = members, workdir, mode
        self.program, self.start, self.devices = program, start, devices
        self.arguments = [*fields, *flags, f"--mode={mode}"]
        self.configs = {n: configuration(m, fields) for n, m in members.items()}
        self.plan = share_devices(self.configs, devices, per_run)
        self._free, self._waiting = list(self.plan.groups), list(members)
        self._running: dict[str, Started] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._stopped, self._trains = False, mode != "check"

    def run(self) -> list[Outcome]:
        """Run every member without results; print a line as each starts and ends."""
        before = {
            number: signal.signal(number, self._forward)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            with tempfile.TemporaryDirectory() as scratch:
                while self._running or (self._waiting and not self._stopped):
                    self._settle(Path(scratch))
                    time.sleep(PAUSE if self._running else 0)
        finally:
            for started in self._running.values():  # left only where this has failed
                started.process.send_signal(signal.SIGTERM)
            for number, handler in before.items():
                signal.signal(number, handler)
        return [self._outcomes[name] for name in self.members if name in self._outcomes]

    def _settle(self, scratch: Path) -> None:
        """Report what has ended, then start what can be."""
        for name, started in list(self._running.items()):
            if (code := started.process.poll()) is not None:
                self._end(name, code)
        pending = list(self._running)
        for name in list(self._waiting):
            source = self.configs[name].train.pretrained_from
            blocked = self._trains and source in pending
            if self._stopped or blocked or not self._free:
                pending.append(name)
                continue
            self._waiting.remove(name)
            try:
                outcome = self._known(name)
            except (OSError, ValueError) as error:  # of a folder that is not a run's
                outcome = Outcome(name, "failed", reason=str(error))
            if outcome:
                self._report(outcome)
            else:
                pending.append(name)
                self._begin(name, scratch)

    def _known(self, name: str) -> Outcome | None:
        """The outcome of a member that need not or cannot run."""
        config = self.configs[name]
        trained = self.mode == "train"
        if self._trains and finished(self.workdir / name, config, trained):
            return Outcome(name, "finished before", best=self._best(name))
        if name in self.plan.refused:
            return Outcome(name, "refused", reason=self.plan.refused[name])
        source = self._outcomes.get(config.train.pretrained_from)
        if self._trains and source and not source.good:
            reason = f"it starts from {source.name}, which is {source.status}"
            return Outcome(name, "skipped", reason=reason)
        return None

    def _begin(self, name: str, scratch: Path) -> None:
        member, folder, group = self.members[name], self.workdir / name, self._free[0]
        command = [*self.program, f"--config={member.config}"]
        command += [f"--config.{path}={v}" for path, v in member.overrides.items()]
        command += self.arguments
        log = scratch / f"{name}.txt"
        if self._trains:
            folder.mkdir(parents=True, exist_ok=True)
            log, command = folder / "log.txt", [*command, f"--workdir={folder}"]
        chosen = group[: self.plan.counts[name]]
        where = f" on {self.devices.kind} {','.join(chosen)}" if self.devices else ""
        log.touch()
        offset = log.stat().st_size
        process = self.start(name, command, environment(self.devices, chosen), log)
        self._say(name, f"started{where} as {process.pid}")
        self._free.remove(group)
        self._running[name] = Started(process, group, log, offset, time.monotonic())
        if self._stopped:  # a signal came just now
            process.send_signal(signal.SIGTERM)

    def _end(self, name: str, code: int) -> None:
        started = self._running.pop(name)
        self._free = sorted([*self._free, started.group])
        output = started.log.read_bytes()[started.offset :].decode(errors="replace")
        last = (output.strip().splitlines() or ["no output"])[-1]
        status = "failed" if code else "done"
        asked = last.startswith("stopped; ") or -code in (signal.SIGINT, signal.SIGTERM)
        if code and (asked or self._stopped):
            status, last = "stopped", "the same command goes on"
        minutes = (time.monotonic() - started.time) / 60
        score = self._best(name) if self._trains else ""
        self._report(Outcome(name, status, minutes, score, last if code else ""))
        if not self._trains:
            print(output, flush=True)
        elif status == "failed":
            print(f"  the whole output: {started.log}", flush=True)

    def _best(self, name: str) -> str:
        return best(member_folders(self.configs[name], self.workdir / name))

    def _report(self, outcome: Outcome) -> None:
        name, status, minutes, score, reason = outcome
        self._outcomes[name] = outcome
        known = list(self._outcomes.values())
        left = eta(known, len(self.members), len(self.plan.groups))
        took = f"{minutes:.1f} min" if minutes else ""
        head = f"{status}: {reason}" if reason else status
        self._say(name, "  ".join(filter(None, [head, took, score, left])))

    def _say(self, name: str, text: str) -> None:
        place = f"{list(self.members).index(name) + 1}/{len(self.members)}"
        print(f"{time.strftime('%H:%M:%S')}  {place} {name}  {text}", flush=True)

    def _forward(self, number: int, frame: object) -> None:
        self._stopped = True
        for started in list(self._running.values()):
            started.process.send_signal(number)


def eta(outcomes: Sequence[Outcome], total: int, at_once: int = 1) -> str:
    """Estimate the time that is left, from the mean of the runs so far.

    Example:
        >>> eta([Outcome("a", "done", 30.0)], 4)
        'about 1.5 h left'
    """
    took = [outcome.minutes for outcome in outcomes if outcome.status == "done"]
    if not took or total == len(outcomes):
        return ""
    rounds = math.ceil((total - len(outcomes)) / at_once)
    minutes = sum(took) / len(took) * rounds
    text = f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.0f} min"
    return f"about {text} left"


def best(folders: Sequence[Path]) -> str:
    """The best validation SI-SDR of a run, or its mean over the runs of its seeds."""
    values = []
    for run in filter(Path.is_dir, folders):
        records, _ = read_log(run / "metrics.jsonl")
        losses = (number(one.get("loss")) for one in records if one["kind"] == "valid")
        if known := [loss for loss in losses if loss]:
            values.append(-min(known))
    if not values:
        return ""
    several = f" (mean of {len(values)})" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.2f} dB{several}"


def summary(outcomes: Sequence[Outcome], total: int) -> str:
    """Return a table of the outcome of every member, for the end of a sweep."""
    rows = [("member", "status", "minutes", "best validation SI-SDR")]
    for name, status, minutes, best_score, reason in outcomes:
        rows.append((name, status, f"{minutes:.1f}", best_score or reason))
    done = sum(outcome.good for outcome in outcomes)
    return f"{aligned(rows, left=(0, 1, 3))}\n{done} of {total} members are done"
