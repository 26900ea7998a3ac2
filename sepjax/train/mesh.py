"""One device mesh for everything, from a single CPU to many hosts."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def start_distributed(address: str, count: int, index: int) -> None:
    """Join ``count`` processes; does nothing for a single one.

    Args:
        address: ``host:port`` of process 0; ``"auto"`` where a cluster's environment
            tells (Slurm, TPU pods).
        count: number of processes.
        index: this process.
    """
    # Processes wait for each other as they exit, and the first one evaluates before.
    patience = dict(shutdown_timeout_seconds=7 * 24 * 3600)
    if address == "auto":
        jax.distributed.initialize(**patience)
    elif count > 1:
        jax.distributed.initialize(address, count, index, **patience)


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Devices along one axis, over which batches are split.

    By default all devices of all processes.

    Example:
        >>> make_mesh().axis_names
        ('data',)
    """
    # Explicit axes, jax's default, forbid the scatters and gathers of augmentation.
    devices = jax.devices() if devices is None else devices
    shape, kind = (len(devices),), (AxisType.Auto,)
    return jax.make_mesh(shape, (AXIS,), axis_types=kind, devices=devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Leading axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def shard_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Global arrays from the rows that every process has of a batch.

    Arrays that already are global (the resident feeder's) pass unchanged.
    """
    sharding = batch_sharding(mesh)

    def place(rows: np.ndarray | jax.Array) -> jax.Array:
        if isinstance(rows, jax.Array) and rows.sharding == sharding:
            return rows
        return jax.make_array_from_process_local_data(sharding, np.asarray(rows))

    return {name: place(rows) for name, rows in batch.items()}
