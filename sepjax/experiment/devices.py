"""The devices of a machine, and how the members of a sweep share them."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sepjax.config import Config

# In a process of its own: one that has seen an accelerator keeps it from others. A chip
# of a TPU v2 or v3 is two devices at the same coordinates.
_COUNT = """
import jax
found = jax.local_devices()
places = {str(d.coords) if d.platform == "tpu" else d.id for d in found}
print("\\ndevices", found[0].platform, len(places))
"""
_VISIBLE = {"tpu": "TPU_VISIBLE_CHIPS", "gpu": "CUDA_VISIBLE_DEVICES"}
# Neighboring chips as x, y, z; other parts of a machine are not documented.
_BOUNDS = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1"}


class Devices(NamedTuple):
    """Devices by the names under which a process may be given them."""

    kind: str  # cpu | gpu | tpu
    names: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        """The numbers of devices that one process may be given, ascending."""
        total = len(self.names)
        if self.kind != "tpu":
            return list(range(1, total + 1))
        return sorted({size for size in _BOUNDS if size <= total} | {total})


class Plan(NamedTuple):
    """Devices of the members of a sweep."""

    groups: list[tuple[str, ...]]  # of devices; each is for one run at a time
    counts: dict[str, int]  # devices of a member: the first ones of its group
    refused: dict[str, str]  # member -> why it cannot run


def find_devices() -> Devices:
    """Count the devices that runs started from here would see.

    Raises:
        OSError: jax finds none; with its last line.
    """
    result = subprocess.run(
        [sys.executable, "-c", _COUNT], capture_output=True, text=True
    )
    if result.returncode:
        line = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise OSError(f"the devices of this machine cannot be counted: {line}")
    kind, count = result.stdout.split("\ndevices ")[-1].split()
    visible = os.environ.get(_VISIBLE.get(kind, ""), "")
    names = visible.split(",") if visible else map(str, range(int(count)))
    return Devices(kind, tuple(names)[: int(count)])


def share_devices(
    configs: Mapping[str, Config], devices: Devices | None, per_run: int = 0
) -> Plan:
    """Plan which devices the members of a sweep run on.

    By default (``per_run`` 0) the devices are divided by the members, at least one
    each, and a run has the most of its part over which its batch divides. How far a
    sweep has come does not matter: a run that goes on has as many devices as before,
    and ends with the same parameters. ``devices`` is None where a cluster gives every
    run its own.

    Raises:
        ValueError: ``per_run`` is more than the machine has, or not a part of a TPU.

    Example:
        >>> a, b = Config(), Config()
        >>> a.train.batch_size, b.train.batch_size = 7, 8
        >>> eight = Devices("gpu", tuple("01234567"))
        >>> plan = share_devices({"a": a, "b": b}, eight)
        >>> plan.groups, plan.counts
        ([('0', '1', '2', '3'), ('4', '5', '6', '7')], {'a': 1, 'b': 4})
        >>> share_devices({"a": a, "b": b}, eight, per_run=2).refused
        {'a': 'its batch of 7 does not divide over 2 devices: --devices_per_run=1 or 7'}
    """
    if devices is None:
        return Plan([()] * len(configs), dict.fromkeys(configs, 0), {})
    names, sizes = devices.names, devices.sizes
    if per_run and per_run not in sizes:
        known = ", ".join(map(str, sizes))
        raise ValueError(f"--devices_per_run={per_run}: this machine can give {known}")
    even = max(1, len(names) // max(1, len(configs)))
    width = per_run or max(size for size in sizes if size <= even)
    starts = range(0, len(names) - width + 1, width)
    plan = Plan([names[start : start + width] for start in starts], {}, {})
    for member, config in configs.items():
        batch = config.train.batch_size // config.train.accumulate
        fitting = [size for size in sizes if batch % size == 0]
        below = [size for size in fitting if size <= width][-1:]
        if per_run and batch % per_run:
            near = below + [size for size in fitting if size > width][:1]
            plan.refused[member] = (
                f"its batch of {batch} does not divide over {per_run} devices: "
                f"--devices_per_run={' or '.join(map(str, near))}"
            )
        else:
            plan.counts[member] = below[0]
    return plan


def environment(devices: Devices | None, chosen: Sequence[str]) -> dict[str, str]:
    """Return the environment variables that show a process only some of the devices.

    Those of TPUs let several processes share a machine, each alone on its chips:
    https://gist.github.com/skye/f82ba45d2445bb19d53545538754f9a3.

    Example:
        >>> environment(Devices("gpu", ("4", "5", "6", "7")), ["6", "7"])
        {'CUDA_VISIBLE_DEVICES': '6,7'}
    """
    if devices is None:
        return {}
    if devices.kind == "cpu":
        return {"JAX_NUM_CPU_DEVICES": str(len(chosen))}
    if devices.kind == "gpu":
        return {_VISIBLE["gpu"]: ",".join(chosen)}
    if len(chosen) == len(devices.names):
        return {}  # all of them: nothing to be hidden
    port = str(8476 + devices.names.index(chosen[0]))
    return {
        _VISIBLE["tpu"]: ",".join(chosen),
        "TPU_CHIPS_PER_PROCESS_BOUNDS": _BOUNDS[len(chosen)],
        "TPU_PROCESS_BOUNDS": _BOUNDS[1],
        "TPU_MESH_CONTROLLER_ADDRESS": f"localhost:{port}",
        "TPU_MESH_CONTROLLER_PORT": port,
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
