"""The feeder ``tf_data``: the reads of a plan as a tf.data pipeline.

For file systems and clusters that TensorFlow reaches and open() does not. Where both
do, the feeder ``streaming`` gives the same batches for a fifth of the processor's time
(``docs/decisions/0010-streaming-feeder.md``). Every (row, source) of a plan is one read
of exactly the samples it needs; reads run in parallel and ahead of training. The graph
holds no Python function: such an iterator hangs the process at exit.
"""

import os
from collections.abc import Iterator

import numpy as np

from data_pipelines.feeding.host import SHRUNK
from data_pipelines.feeding.schedule import Plan, take
from data_pipelines.manifest import DataError, Manifest

PREFETCH = 4  # batches


def feed(manifest: Manifest, plans: Iterator[Plan], chunk: int) -> Iterator[dict]:
    """Batches of plans with the leading axes (steps, batch), as the resident feeder's.

    Raises:
        DataError: tensorflow is not installed, or a file is not as the manifest says.
    """
    tf = _tensorflow()
    read = _reader(tf, manifest, chunk)
    channels = manifest.file_channels
    for plan in plans:
        batch, sources = plan.file.shape[1:]
        for step, samples in enumerate(_window(tf, read, plan)):
            chunks = samples.reshape(batch, sources, chunk, channels)
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


def _window(tf, read, plan: Plan) -> Iterator[np.ndarray]:
    """Chunks of the steps of one plan, each (batch * sources, chunk * channels)."""
    batch, sources = plan.file.shape[1:]
    flat = tuple(field.reshape(-1) for field in plan[:4])
    dataset = tf.data.Dataset.from_tensor_slices(flat)
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batch * sources).prefetch(PREFETCH)
    return dataset.as_numpy_iterator()


def _reader(tf, manifest: Manifest, chunk: int):
    """The graph function (file, start, stop, loop) -> int16 (chunk * channels,)."""
    paths = [manifest.path(file) for file in manifest.files]
    table = np.array(
        [
            (file.data_offset, file.frames, file.channels, size)
            for file, size in zip(manifest.files, map(_size, manifest.files, paths))
        ],
        np.int64,
    ).reshape(-1, 4)
    paths, table = tf.constant(paths, tf.string), tf.constant(table)
    channels = manifest.file_channels

    def read(file, start, stop, loop):
        def samples():
            return cut(file, tf.cast(start, tf.int64), tf.cast(stop, tf.int64), loop)

        def silence():
            return tf.zeros([chunk * channels], tf.int16)

        return tf.cond(file < 0, silence, samples)

    def cut(file, start, stop, loop):
        offset, frames, width, size = tf.unstack(table[file])
        # A loop is read whole and unrolled; any other read is exact.
        count = tf.minimum(stop - start, chunk)
        low = tf.where(loop, tf.zeros_like(start), start)
        high = tf.where(loop, frames, start + count)
        header = offset + low * width * 2
        record = (high - low) * width * 2
        dataset = tf.data.FixedLengthRecordDataset(
            paths[file],
            record_bytes=record,
            header_bytes=header,
            footer_bytes=size - header - record,
            buffer_size=record,
        )
        audio = tf.io.decode_raw(dataset.get_single_element(), tf.int16)
        audio = tf.reshape(audio, [high - low, width])
        turns = (start - low + count - 1) // (high - low) + 1
        audio = tf.tile(audio, [turns, 1])[start - low : start - low + count]
        audio = tf.broadcast_to(audio, [count, channels])
        audio = tf.pad(audio, [[0, chunk - count], [0, 0]])
        return tf.reshape(audio, [chunk * channels])

    return read


def _size(file, path: str) -> int:
    size = os.path.getsize(path)
    if size < file.data_offset + file.frames * file.channels * 2:
        raise DataError(f"{path}: {SHRUNK}")
    return size
