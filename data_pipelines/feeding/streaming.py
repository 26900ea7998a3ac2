"""The streaming feeder, for audio larger than memory: reads ahead of training.

It is the plain reader of :mod:`data_pipelines.feeding.host` in a few threads, straight
from the page cache into the batch; the interpreter is free meanwhile.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from data_pipelines.feeding.host import Batch, file_sizes, read_chunks
from data_pipelines.feeding.schedule import Plan, plans_of_steps
from data_pipelines.manifest import Manifest

PREFETCH = 4  # batches that are read or wait; each has a thread of its own


def feed(manifest: Manifest, plans: Iterable[Plan], chunk: int) -> Iterator[Batch]:
    """Batches of plans with the leading axes (steps, batch), as the resident feeder's.

    Raises:
        DataError: a file is shorter than the manifest says.
    """
    file_sizes(manifest)
    pool = ThreadPoolExecutor(PREFETCH, thread_name_prefix="streaming")
    try:
        reads = (
            pool.submit(read_chunks, manifest, plan, chunk)
            for plan in plans_of_steps(plans)
        )
        ahead = deque(itertools.islice(reads, PREFETCH))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(itertools.islice(reads, 1))
            yield batch
    finally:  # batches that nobody asks for any more are not begun
        pool.shutdown(cancel_futures=True)
