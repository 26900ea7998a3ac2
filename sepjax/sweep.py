"""Many runs, one after another, each in a process of its own.

A process for each run keeps a failure, or memory that was not given back, from
touching the next. Where a sweep is split over machines, every shard takes each n-th
member of one fixed order.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from absl import flags
from ml_collections import config_flags

from sepjax.config import (
    Config,
    differences,
    from_dict,
    member_configs,
    member_folders,
    resolve,
)
from sepjax.registry import nearest
from sepjax.report.folder import number, read_run


class Member(Protocol):
    """A run of a sweep; ``configs.sweeps.Member`` is one."""

    config: str  # "file.py:name"
    overrides: Mapping[str, Any]  # dotted field -> value


class Outcome(NamedTuple):
    """What became of a member."""

    name: str
    status: str  # done | finished before | failed | stopped
    minutes: float = 0.0
    best: str = ""  # validation SI-SDR, dB

    @property
    def good(self) -> bool:
        """Whether the member has what the sweep is for."""
        return self.status in ("done", "finished before")


def select(
    sweeps: Mapping[str, Mapping[str, Member]], name: str, shard: str
) -> dict[str, Member]:
    """The members of a shard of a sweep.

    Args:
        sweeps: by name.
        name: of the sweep.
        shard: ``"k/n"``: each n-th member from the k-th on, counted from 1.

    Raises:
        ValueError: there is no such sweep, or the shard is not one.

    Example:
        >>> sweeps = {"letters": dict.fromkeys("abcde")}
        >>> list(select(sweeps, "letters", "2/3"))
        ['b', 'e']
    """
    if name not in sweeps:
        raise ValueError(f"unknown sweep {name!r}: {nearest(name, sweeps)}")
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    index, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= index <= count:
        raise ValueError(f"--shard={shard} must be k/n with 1 <= k <= n, such as 2/8")
    return dict(list(sweeps[name].items())[index - 1 :: count])


def missing_sources(
    members: Mapping[str, Member], workdir: Path
) -> list[tuple[str, str]]:
    """(run, the run it starts from) where that is neither a member nor in workdir."""
    sources = {
        name: configuration(member).train.pretrained_from
        for name, member in members.items()
    }
    return [
        (name, source)
        for name, source in sources.items()
        if source and source not in members and not (workdir / source).is_dir()
    ]


def configuration(member: Member, overrides: Sequence[str] = ()) -> Config:
    """The resolved configuration of a member.

    Args:
        member: its file and its fields.
        overrides: the user's, as ``--config.section.field=value``; they win.
    """
    given = [f"--config.{path}={value}" for path, value in member.overrides.items()]
    argv = ["sweep", f"--config={member.config}", *given, *overrides]
    # The parser of the run itself: what it reads is what the run will be.
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file(
        "config", flag_values=values, sys_argv=argv
    )
    try:
        values(argv)
    except (flags.Error, TypeError, ValueError) as error:
        line = str(error).strip().splitlines()[-1]
        raise ValueError(f"{member.config} {' '.join(overrides)}: {line}") from error
    return resolve(holder.value)


def finished(folder: Path, config: Config) -> bool:
    """Whether a run has its results, and they are those of this configuration.

    Of several seeds, each has a folder ``seed_…`` and all of them a ``band.json``.
    """
    if config.train.seeds == 1:
        stored = read_run(folder) if (folder / "results.json").exists() else None
        # Its configuration is stored resolved, and beside where it comes from.
        fields = stored.config if stored else {}
        tree = {name: part for name, part in fields.items() if name != "provenance"}
        return bool(tree) and not differences(from_dict(tree), config)
    band = folder / "band.json"
    ones = member_configs(config)
    if not band.exists() or json.loads(band.read_text())["seeds"] != [
        one.seed for one in ones
    ]:
        return False
    return all(map(finished, member_folders(config, folder), ones))


class Sweep:
    """Runs members one by one; Ctrl-C and SIGTERM end the current one and the rest.

    Args:
        members: by the name of their run folder.
        workdir: where the folders are made; unused by ``mode="check"``.
        mode: of every run: run, train or check.
        overrides: ``--config.…`` flags for all of them.
        program: what runs one.
    """

    def __init__(
        self,
        members: Mapping[str, Member],
        workdir: Path,
        mode: str,
        overrides: Sequence[str],
        program: Path,
    ):
        self.members, self.workdir, self.mode = members, workdir, mode
        self.overrides, self.program = list(overrides), program
        self._process: subprocess.Popen | None = None
        self._stopped = False

    def run(self) -> list[Outcome]:
        """Run everything that has no results yet; one line before each."""
        before = {
            number: signal.signal(number, self._forward)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        outcomes: list[Outcome] = []
        try:
            for place, (name, member) in enumerate(self.members.items(), start=1):
                if self._stopped:
                    break
                head = f"{place}/{len(self.members)} {name}"
                left = eta(outcomes, len(self.members))
                outcomes.append(self._one(head, name, member, left))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return outcomes

    def _one(self, head: str, name: str, member: Member, left: str) -> Outcome:
        folder = self.workdir / name
        if self.mode == "run" and finished(
            folder, configuration(member, self.overrides)
        ):
            print(f"{head}  finished before", flush=True)
            return Outcome(name, "finished before", best=self._best(name, member))
        print(f"{head} …{left}", flush=True)
        began = time.monotonic()
        code = self._launch(folder, member)
        minutes = (time.monotonic() - began) / 60
        score = "" if self.mode == "check" else self._best(name, member)
        if self._stopped and code:
            return Outcome(name, "stopped", minutes, score)
        if code and self.mode != "check":
            log = folder / "log.txt"
            lines = log.read_text(errors="replace").strip().splitlines() or [
                "no output"
            ]
            print(f"  failed: {lines[-1]}\n  the whole output: {log}", flush=True)
        return Outcome(name, "failed" if code else "done", minutes, score)

    def _best(self, name: str, member: Member) -> str:
        config = configuration(member, self.overrides)
        return best(member_folders(config, self.workdir / name))

    def _launch(self, folder: Path, member: Member) -> int:
        command = [sys.executable, str(self.program), f"--config={member.config}"]
        command += [
            f"--config.{path}={value}" for path, value in member.overrides.items()
        ]
        command += [*self.overrides, f"--mode={self.mode}"]
        if self.mode == "check":
            return self._wait(command, None)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("a") as log:
            return self._wait([*command, f"--workdir={folder}"], log)

    def _wait(self, command: list[str], log: Any) -> int:
        # In a session of its own: Ctrl-C comes once, through _forward, not twice.
        self._process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True
        )
        try:
            return self._process.wait()
        finally:
            self._process = None

    def _forward(self, number: int, frame: object) -> None:
        self._stopped = True
        if self._process is not None:
            self._process.send_signal(number)


def eta(outcomes: Sequence[Outcome], total: int) -> str:
    """The time that is left, from the mean of the runs so far.

    Example:
        >>> eta([Outcome("a", "done", 30.0)], 4)
        '  about 1.5 h left'
    """
    took = [outcome.minutes for outcome in outcomes if outcome.status == "done"]
    if not took:
        return ""
    minutes = sum(took) / len(took) * (total - len(outcomes))
    text = f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.0f} min"
    return f"  about {text} left"


def best(folders: Sequence[Path]) -> str:
    """The best validation SI-SDR of a run, or its mean over the runs of its seeds."""
    found = [
        [loss for line in read_run(run).valid if (loss := number(line.get("loss")))]
        for run in folders
        if run.is_dir()
    ]
    values = [-min(losses) for losses in found if losses]
    if not values:
        return ""
    several = f" (mean of {len(values)})" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.2f} dB{several}"


def summary(outcomes: Sequence[Outcome], total: int) -> str:
    """A table of what became of every member, for the end of a sweep."""
    width = max([len(outcome.name) for outcome in outcomes] + [len("member")]) + 2
    lines = [
        f"{'member':{width}s}{'status':17s}{'minutes':>8s}  best validation SI-SDR"
    ]
    lines += [
        f"{name:{width}s}{status:17s}{minutes:8.1f}  {score}".rstrip()
        for name, status, minutes, score in outcomes
    ]
    done = sum(outcome.good for outcome in outcomes)
    return "\n".join([*lines, f"{done} of {total} members are done"])
