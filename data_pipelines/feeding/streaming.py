"""The streaming feeder: random access into PCM WAV files, ahead of training.

For audio larger than memory. It is the plain reader of
:mod:`data_pipelines.feeding.host` in a few threads. Every (row, source) of a plan is
one read of exactly the samples it needs, straight from the page cache into the batch;
the interpreter is free meanwhile.
"""

import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from data_pipelines.feeding.host import SHRUNK, Batch, read_chunks
from data_pipelines.feeding.schedule import Plan, take
from data_pipelines.manifest import DataError, Manifest

PREFETCH = 4  # batches that are read or wait; each has a thread of its own


def feed(manifest: Manifest, plans: Iterator[Plan], chunk: int) -> Iterator[Batch]:
    """Batches of plans with the leading axes (steps, batch), as the resident feeder's.

    Raises:
        DataError: a file is shorter than the manifest says.
    """
    _check_sizes(manifest)
    steps = (take(plan, step) for plan in plans for step in range(len(plan.file)))
    pool = ThreadPoolExecutor(PREFETCH, thread_name_prefix="streaming")
    try:
        reads = (pool.submit(read_chunks, manifest, step, chunk) for step in steps)
        ahead = deque(itertools.islice(reads, PREFETCH))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(itertools.islice(reads, 1))
            yield batch
    finally:  # batches that nobody asks for any more are not begun
        pool.shutdown(cancel_futures=True)


def _check_sizes(manifest: Manifest) -> None:
    paths = [manifest.path(file) for file in manifest.files]
    short = [
        f"{path}: {SHRUNK}"
        for file, path in zip(manifest.files, paths)
        if os.path.getsize(path) < file.data_offset + 2 * file.frames * file.channels
    ]
    if short:
        raise DataError.of(f"dataset '{manifest.name}'", short)
