"""A program in place of ``run_experiment.py``, which does as its learning rate says."""

import json
import os
import sys
import threading
import time

import pytest

from sepjax.config import to_dict
from sepjax.configs.sweeps import Member
from sepjax.experiment.devices import Devices
from sepjax.experiment.members import configuration
from tests.tiny_run import ROOT

FREE = "configs/appendix_a.py:irm_fb_sinc_free_uniform"
# Learning rates: fail, wait until two such members run, wait for a signal once.
FAIL, MEET, HOLD = 0.05, 0.03, 0.01
# It starts often, so it imports nothing large: the configuration lies beside it.
PROGRAM = """
import json, os, pathlib, signal, sys, time
options = dict(a.lstrip("-").split("=", 1) for a in sys.argv[1:])
folder = pathlib.Path(options["workdir"])
assert options["mode"] == "run"
given = json.loads(pathlib.Path(__file__).with_name("config.json").read_text())
assert options["config"] == given["file"]
config = given["config"]
for option, text in options.items():
    if option.startswith("config."):
        _, section, field = option.split(".")
        assert field in config[section], option
        kind = type(config[section][field])
        config[section][field] = kind(text)
rate = config["optim"]["lr"]
with (folder / "starts").open("a") as file:
    print(os.environ.get("JAX_NUM_CPU_DEVICES"), file=file)
if rate == 0.05:
    sys.exit("error: the rate is too high")
if rate == 0.03:
    (folder / "met").touch()
    deadline = time.monotonic() + 30
    while len(list(folder.parent.glob("*/met"))) < 2:
        assert time.monotonic() < deadline, "nobody came"
        time.sleep(0.05)
if rate == 0.01 and not (folder / "signals").exists():
    def stop(number, frame):
        with (folder / "signals").open("a") as file:
            print(signal.Signals(number).name, file=file)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    (folder / "pids").write_text(f"{os.getpid()} {os.getppid()}")
    (folder / "pids").rename(folder / "pid")
    while not (folder / "signals").exists():
        time.sleep(0.05)
    time.sleep(0.5)  # a second signal would be noted
    sys.exit("stopped; the same command goes on from here")
(folder / "config.json").write_text(json.dumps(config))
lines = [{"kind": "valid", "step": s, "loss": -s / 2.0} for s in (1, 3, 2)]
(folder / "metrics.jsonl").write_text("\\n".join(map(json.dumps, lines)))
(folder / "results.json").write_text("{}")
"""


def cpus(count):
    return Devices("cpu", tuple(map(str, range(count))))


def members(**rates):
    return {name: Member(FREE, {"optim.lr": rate}) for name, rate in rates.items()}


def send_later(number, folders, whom):
    """Signal the programs that wait in folders: 0 them, 1 their parents, 2 us."""

    def send():
        deadline = time.monotonic() + 30
        while not all((folder / "pid").exists() for folder in folders):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        pids = [
            [*(folder / "pid").read_text().split(), os.getpid()] for folder in folders
        ]
        for pid in {int(line[whom]) for line in pids}:
            os.kill(pid, number)

    threading.Thread(target=send, daemon=True).start()


@pytest.fixture
def program(tmp_path, monkeypatch):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    tree = to_dict(configuration(Member(FREE, {})))
    given = {"file": FREE, "config": tree}
    path.with_name("config.json").write_text(json.dumps(given))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(ROOT)
    return [sys.executable, str(path)]


def lines(path):
    return path.read_text().splitlines()
