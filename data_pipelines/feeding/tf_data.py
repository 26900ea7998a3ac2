"""The feeder ``tf_data``, for file systems that TensorFlow reaches and open() does not.

Others do better with ``streaming`` (``docs/decisions/0010-streaming-feeder.md``). The
graph holds no Python function: such an iterator hangs the process at exit.
"""

import os
from collections.abc import Iterable, Iterator

import numpy as np

from data_pipelines.feeding.host import Batch, file_sizes
from data_pipelines.feeding.schedule import Plan, take
from data_pipelines.manifest import DataError, Manifest

PREFETCH = 4  # batches


def feed(manifest: Manifest, plans: Iterable[Plan], chunk: int) -> Iterator[Batch]:
    """Batches of plans with the leading axes (steps, batch), as the resident feeder's.

    Raises:
        DataError: tensorflow is not installed, or a file is not as the manifest says.
    """
    tf = _tensorflow()
    read = _reader(tf, manifest, chunk)
    for plan in plans:
        batch, sources = plan.file.shape[1:]
        flat = tuple(field.reshape(-1) for field in plan[:4])
        reads = tf.data.Dataset.from_tensor_slices(flat)
        reads = reads.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        reads = reads.batch(batch * sources).prefetch(PREFETCH)
        for step, samples in enumerate(reads.as_numpy_iterator()):
            chunks = samples.reshape(batch, sources, chunk, manifest.file_channels)
            yield {"chunks": chunks} | take(plan, step).augmentation()


def _tensorflow():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its greetings say nothing
    try:
        import tensorflow as tf
    except ImportError as error:
        raise DataError(
            "data.feeder=tf_data needs tensorflow: pip install 'sepjax[data]', or use"
            " --config.data.feeder=streaming, which needs nothing"
        ) from error
    try:
        tf.config.set_visible_devices([], "GPU")  # the accelerator belongs to JAX
    except RuntimeError:
        pass  # tensorflow was initialized before; its devices cannot change any more
    return tf


def _reader(tf, manifest: Manifest, chunk: int):
    """The graph function (file, start, stop, loop) -> int16 (chunk * channels,).

    Every read is of exactly the samples that are needed.
    """
    table = [
        (file.data_offset, file.frames, file.channels, size)
        for file, size in zip(manifest.files, file_sizes(manifest))
    ]
    table = tf.constant(np.array(table, np.int64).reshape(-1, 4))
    paths = tf.constant([manifest.path(file) for file in manifest.files], tf.string)
    channels = manifest.file_channels

    def read(file, start, stop, loop):
        start, stop = tf.cast(start, tf.int64), tf.cast(stop, tf.int64)
        silence = tf.zeros([chunk * channels], tf.int16)
        return tf.cond(file < 0, lambda: silence, lambda: cut(file, start, stop, loop))

    def cut(file, start, stop, loop):
        offset, frames, width, size = tf.unstack(table[file])
        # A loop is read whole and unrolled; any other read is exact.
        count = tf.minimum(stop - start, chunk)
        low = tf.where(loop, tf.zeros_like(start), start)
        high = tf.where(loop, frames, start + count)
        header = offset + low * width * 2
        record = (high - low) * width * 2
        footer = size - header - record
        reads = tf.data.FixedLengthRecordDataset(
            paths[file], record, header, footer, buffer_size=record
        )
        audio = tf.io.decode_raw(reads.get_single_element(), tf.int16)
        audio = tf.reshape(audio, [high - low, width])
        turns = (start - low + count - 1) // (high - low) + 1
        audio = tf.tile(audio, [turns, 1])[start - low : start - low + count]
        audio = tf.broadcast_to(audio, [count, channels])
        audio = tf.pad(audio, [[0, chunk - count], [0, 0]])
        return tf.reshape(audio, [chunk * channels])

    return read
