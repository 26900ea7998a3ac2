"""One device mesh for everything, from a single CPU to many hosts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import (
    global_array_to_host_local_array,
    host_local_array_to_global_array,
)
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"
WHOLE, SPLIT = PartitionSpec(), PartitionSpec(AXIS)


def start_distributed(address: str, count: int, index: int) -> None:
    """Join ``count`` processes as number ``index``; do nothing for a single process.

    The address is ``host:port`` of process 0, or ``"auto"`` where a cluster's
    environment tells (Slurm, TPU pods).
    """
    # Processes wait for each other as they exit, and the first one evaluates before.
    week = 7 * 24 * 3600
    if address == "auto":
        jax.distributed.initialize(shutdown_timeout_seconds=week)
    elif count > 1:
        jax.distributed.initialize(address, count, index, shutdown_timeout_seconds=week)


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Devices along one axis, over which batches are split.

    By default all devices of all processes. Those of a process stand together, in the
    order of the processes, as the schedule deals out a batch's rows; ``jax.make_mesh``
    would put the chips of a TPU in the order of their network.

    Example:
        >>> make_mesh().axis_names
        ('data',)
    """
    devices = jax.devices() if devices is None else devices
    order = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(order), (AXIS,), axis_types=(AxisType.Auto,))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Leading axis split over the devices."""
    return NamedSharding(mesh, SPLIT)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, WHOLE)


def require_divisible(batch_size: int, devices: int, accumulate: int = 1) -> None:
    """Refuse a batch that does not split evenly.

    Raises:
        ValueError: with the nearest sizes that do, and how many of the devices would.

    Example:
        >>> require_divisible(6, 4)
        Traceback (most recent call last):
        ValueError: train.batch_size=6 does not divide over 4 devices: choose 4 or 8, or
        run on 3 devices
    """
    parts = devices * accumulate
    if batch_size % parts == 0:
        return
    lower = batch_size // parts * parts
    advice = f"choose {lower} or {lower + parts}" if lower else f"choose {parts}"
    share, rest = divmod(batch_size, accumulate)
    if rest == 0:
        most = max(n for n in range(1, devices + 1) if share % n == 0)
        advice += f", or run on {most} device{'s' * (most > 1)}"
    over = [f"{devices} devices"] * (devices > 1)
    over += [f"{accumulate} microbatches (train.accumulate)"] * (accumulate > 1)
    raise ValueError(
        f"train.batch_size={batch_size} does not divide over {' x '.join(over)}: "
        + advice
    )


def split(tree: Any, count: int) -> Any:
    """Leading axes of ``count n`` items as ``(count, n)``."""
    return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), tree)


def merge(tree: Any) -> Any:
    """The inverse of :func:`split`."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def spread(
    function: Callable[..., Any],
    mesh: Mesh,
    form: str = "jit",
    *,
    more: int = 0,
    donate: bool = False,
) -> Callable[..., Any]:
    """Compile ``function(state, rows, *more) -> results`` for all devices of a mesh.

    The function is that of one device: it is given the device's rows of the batch and
    reduces its results over the mesh's axis itself, if there is more than one device.
    ``state``, ``more`` and results are the same on every device. Nothing else moves
    between devices.

    Args:
        function: of one device.
        mesh: over which the leading axis of the rows is split.
        form: ``jit``, of ``shard_map``, or ``pmap``. Both give the same numbers.
        more: number of further arguments.
        donate: whether the state's memory may be used for the results.
    """
    donated = (0,) * donate
    if form == "pmap":
        return _pmapped(function, mesh, more, donated)
    if mesh.size > 1:
        inputs = (WHOLE, SPLIT, *[WHOLE] * more)
        function = jax.shard_map(
            function, mesh=mesh, in_specs=inputs, out_specs=WHOLE, check_vma=False
        )
    every = replicated(mesh)
    return jax.jit(
        function,
        in_shardings=(every, batch_sharding(mesh), *[every] * more),
        out_shardings=every,
        donate_argnums=donated,
    )


def _pmapped(
    function: Callable[..., Any], mesh: Mesh, more: int, donated: tuple[int, ...]
) -> Callable[..., Any]:
    """The form ``pmap`` of :func:`spread`, for global arrays as ``jit`` takes them."""
    local, several = len(mesh.local_devices), mesh.is_multi_process
    mapped = jax.pmap(
        function,
        axis_name=AXIS,
        in_axes=(None, 0, *[None] * more),
        out_axes=None,
        devices=list(mesh.devices.flat),
        donate_argnums=donated,
    )

    def call(state: Any, batch: Any, *rest: Any) -> Any:
        if several:
            state, rest = global_array_to_host_local_array((state, rest), mesh, WHOLE)
            batch = global_array_to_host_local_array(batch, mesh, SPLIT)
        results = mapped(state, split(batch, local), *rest)
        if several:
            results = host_local_array_to_global_array(results, mesh, WHOLE)
        return results

    return call


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
