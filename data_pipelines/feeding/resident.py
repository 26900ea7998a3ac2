"""The resident feeder: the whole split as int16 on the device, no data loader.

Chunks are gathered inside ``jit``: a step moves some hundred bytes from the host.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from data_pipelines.feeding.host import map_file, read_frames
from data_pipelines.feeding.schedule import Plan, plans_of_steps
from data_pipelines.manifest import Manifest, Track

BLOCK = 4096  # frames; small, so that little is padded and little read in vain


class Store(NamedTuple):
    """Audio on the device, and where each file of the manifest begins.

    Two dimensions keep every index within int32, whatever the amount of audio. A
    looping file is stored unrolled by one chunk, so that every read is contiguous.
    """

    blocks: jax.Array  # int16 (blocks, BLOCK * channels), frames interleaved
    first: jax.Array  # int32 (files,), first block


def gather_chunks(store: Store, plan: Plan, chunk: int) -> jax.Array:
    """Gather the chunks of a plan, int16 (batch, sources, chunk, channels).

    Jittable (``chunk`` static), so that a training step may contain its data.
    """
    channels = store.blocks.shape[1] // BLOCK
    span = (_span(chunk), BLOCK * channels)

    def read(file, start, stop):
        block = store.first[file] + start // BLOCK
        audio = jax.lax.dynamic_slice(store.blocks, (block, 0), span).reshape(-1)
        offset = start % BLOCK * channels
        audio = jax.lax.dynamic_slice_in_dim(audio, offset, chunk * channels)
        # The difference, not start + t < stop, which could leave int32.
        inside = jnp.arange(chunk) < stop - start
        return jnp.where(inside[:, None], audio.reshape(chunk, channels), jnp.int16(0))

    return jax.vmap(jax.vmap(read))(plan.file, plan.start, plan.stop)


def store_bytes(manifest: Manifest, tracks: tuple[Track, ...], chunk: int) -> int:
    """Return the memory that the store of these tracks takes on each device."""
    blocks = sum(_sizes(manifest, _files(tracks), chunk)) + _span(chunk)
    return 2 * blocks * BLOCK * manifest.file_channels


def build_store(
    manifest: Manifest,
    tracks: tuple[Track, ...],
    chunk: int,
    sharding: NamedSharding | None = None,
) -> Store:
    """Read every file of the tracks' stems onto the device.

    The trainer checks that the audio fits, since it knows the memory of a step.

    Args:
        manifest: canonical.
        tracks: to be held.
        chunk: the longest read, in frames.
        sharding: of the batches; the store is replicated over its mesh.
    """
    files = _files(tracks)
    sizes = _sizes(manifest, files, chunk)
    channels = manifest.file_channels
    # Behind the last file lies one span of silence, so that no read is clamped.
    blocks = np.zeros((sum(sizes) + _span(chunk), BLOCK * channels), np.int16)
    first = np.zeros(max(len(manifest.files), 1), np.int32)
    flat = blocks.reshape(-1, channels)
    for (file, loop), begin in zip(files.items(), np.cumsum([0, *sizes])):
        samples = map_file(manifest, file)
        frames = read_frames(samples, 0, len(samples) + loop * chunk, loop)
        flat[begin * BLOCK :][: len(frames)] = frames
        first[file] = begin
    everywhere = sharding and NamedSharding(sharding.mesh, PartitionSpec())
    return Store(_place(blocks, everywhere), _place(first, everywhere))


def feed(
    store: Store,
    plans: Iterable[Plan],
    chunk: int,
    sharding: NamedSharding | None = None,
) -> Iterator[dict[str, jax.Array]]:
    """Batches of plans with the leading axes (steps, batch).

    With ``sharding`` the plans hold this process's rows, and the batches are global
    arrays of that sharding; without, they lie on the default device.
    """
    gather = gather_rows(chunk, sharding)
    for plan in plans_of_steps(plans):
        rows = Plan(*(_place(field, sharding) for field in plan))
        yield {"chunks": gather(store, rows)} | rows.augmentation()


@functools.lru_cache(maxsize=16)
def gather_rows(
    chunk: int, sharding: NamedSharding | None
) -> Callable[[Store, Plan], jax.Array]:
    """:func:`gather_chunks`, compiled; every device reads its own rows of the plan."""
    gather = functools.partial(gather_chunks, chunk=chunk)
    if sharding is not None and sharding.mesh.size > 1:
        specs = dict(in_specs=(PartitionSpec(), sharding.spec), out_specs=sharding.spec)
        gather = jax.shard_map(gather, mesh=sharding.mesh, check_vma=False, **specs)
    return jax.jit(gather, out_shardings=sharding)


def _place(array: np.ndarray, sharding: NamedSharding | None) -> jax.Array:
    if sharding is None:
        return jnp.asarray(array)
    return jax.make_array_from_process_local_data(sharding, array)


def _files(tracks: tuple[Track, ...]) -> dict[int, bool]:
    """File to whether it loops somewhere, for the files of all stems."""
    files: dict[int, bool] = {}
    for track in tracks:
        for stem in track.stems.values():
            files[stem.file] = files.get(stem.file, False) or stem.loop
    return files


def _sizes(manifest: Manifest, files: dict[int, bool], chunk: int) -> list[int]:
    frames = (manifest.files[f].frames + loop * chunk for f, loop in files.items())
    return [-(-count // BLOCK) for count in frames]


def _span(chunk: int) -> int:
    """Blocks that hold a chunk wherever it starts."""
    return -(-chunk // BLOCK) + 1
