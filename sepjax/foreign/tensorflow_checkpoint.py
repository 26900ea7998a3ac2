"""Checkpoints of TensorFlow, format V2, opened without TensorFlow.

``<prefix>.index`` is a sorted table of names with places, and ``<prefix>.data-*``
hold the numbers. What they say is checked before it is believed.
"""

import glob
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from sepjax.foreign.crc32c import crc32c

INDEX = ".index"
MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER, TRAILER = 48, 5
"""Bytes at the end of the index, and behind each of its blocks."""
LARGEST = 1 << 26
"""Bytes of an index, and of all of its names: a million tensors have less."""
_NUMBERS = (1, 2, 3, 4, 5, 6, 8, 9, 10, 17, 18, 19, 22, 23)
_KINDS = "<f4 <f8 <i4 u1 <i2 i1 <c8 <i8 ? <u2 <c16 <f2 <u4 <u8"
DTYPES = dict(zip(_NUMBERS, map(np.dtype, _KINDS.split())))
DTYPES[14] = np.dtype(ml_dtypes.bfloat16)
TEXT = 7  # such as the graph of objects of newer checkpoints
DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, struct.error)


def checkpoint_files(path: str | Path) -> dict[str, bytes]:
    """Read the files of a checkpoint, by its prefix or ``<prefix>.index``.

    Raises:
        OSError: a file is missing or cannot be read.
    """
    prefix = Path(str(path).removesuffix(INDEX))
    index = prefix.with_name(prefix.name + INDEX)
    with open(index, "rb") as file:
        files = {index.name: file.read(LARGEST + 1)}
    parts = sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*-of-*"))
    return files | {part.name: part.read_bytes() for part in parts}


def checkpoint_tensors(files: Mapping[str, bytes], place: str) -> dict[str, np.ndarray]:
    """Read all tensors that ``tf.train.Saver`` or ``Checkpoint`` wrote.

    Args:
        files: name -> content, as :func:`checkpoint_files` reads them.
        place: for messages.

    Returns:
        Names -> read-only arrays. Tensors of text are left out.

    Raises:
        FileNotFoundError: there is a part of the checkpoint only.
        ValueError: a file is damaged, or of another kind; the message says how.

    Example:
        >>> checkpoint_tensors({"model.index": b"no table"}, "model")
        Traceback (most recent call last):
        ValueError: model is damaged, or no TensorFlow checkpoint (its index does not
        end as one): fetch or copy it again

    Source: the formats as TensorFlow's ``tensor_bundle.proto`` and LevelDB's
    ``table_format.md`` (Apache-2.0, BSD-3) describe them.
    """
    try:
        (index,) = (name for name in files if name.endswith(INDEX))
        entries = _read_index(files[index])
        header = dict(_fields(entries.pop(b"", b"")))
        count, arrays, left = header.get(1, 0), {}, {}
        if header.get(2, 0) or not count:
            raise ValueError(
                "it has no header, or its numbers begin with the high byte"
            )
        for key, message in entries.items():
            name, fields = key.decode(), dict(_fields(message))
            shard, size = fields.get(3, 0), fields.get(5, 0)
            file = f"{index.removesuffix(INDEX)}.data-{shard:05}-of-{count:05}"
            if file not in files:
                raise FileNotFoundError(f"{place} has no {file}: put it there as well")
            # No two tensors share bytes, so that none can be read time and again.
            left[file] = left.get(file, len(files[file])) - size
            if left[file] < 0:
                raise ValueError(f"the tensors in {file} are larger than the file")
            if fields.get(1) != TEXT:
                arrays[name] = _array(name, fields, files[file])
        return arrays
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{place} is damaged, or no TensorFlow checkpoint ({reason[:300]}): "
            "fetch or copy it again"
        ) from error


def _read_index(index: bytes) -> dict[bytes, bytes]:
    """Names of tensors, and what is said about them."""
    if len(index) > LARGEST:
        raise ValueError(f"its index has more than {LARGEST >> 20} MiB")
    if index[-len(MAGIC) :] != MAGIC:
        raise ValueError("its index does not end as one")
    *_, offset, size, _ = _varints(index[-FOOTER:], 0, 4)
    entries: dict[bytes, bytes] = {}
    last, letters = None, 0
    for _, handle in _block(index, offset, size):
        for key, value in _block(index, *_varints(handle, 0, 2)[:2]):
            letters += len(key)
            if (last is not None and key <= last) or letters > LARGEST:
                raise ValueError("its names are not sorted, or too long")
            entries[key], last = value, key
    return entries


def _block(index: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of a block whose checksum is right."""
    end = offset + size
    if end + TRAILER > len(index) - FOOTER:
        raise ValueError("a block lies outside of its index")
    _check(index[offset : end + 1], *struct.unpack_from("<I", index, end + 1))
    if index[end]:
        raise ValueError("a block of its index is compressed, which is not supported")
    (restarts,) = struct.unpack_from("<I", index[offset:end], size - 4)
    block = index[offset : max(end - 4 - 4 * restarts, offset)]
    place, key = 0, b""
    while place < len(block):
        shared, unshared, length, place = _varints(block, place, 3)
        middle, place = place + unshared, place + unshared + length
        if shared > len(key) or place > len(block):
            raise ValueError("an entry leaves its block")
        key = key[:shared] + block[middle - unshared : middle]
        yield key, block[middle:place]


def _array(name: str, fields: Mapping[int, Any], data: bytes) -> np.ndarray:
    """The tensor of a ``BundleEntryProto``, once it is sure to be where it says."""
    kind, offset, size = (fields.get(number, 0) for number in (1, 4, 5))
    dims = [dict(_fields(dim)) for n, dim in _fields(fields.get(2, b"")) if n == 2]
    shape = [dim.get(1, 0) for dim in dims]
    if kind not in DTYPES or 7 in fields:
        raise ValueError(f"{name!r} is in slices, or of type {kind}: not supported")
    if offset + size > len(data):
        raise ValueError(f"{name!r} lies outside of its file of {len(data)} bytes")
    if len(shape) > 32 or math.prod(shape) * DTYPES[kind].itemsize != size:
        raise ValueError(
            f"{name!r} has {size} bytes, which are not {shape[:32]} numbers"
        )
    part = memoryview(data)[offset : offset + size]
    _check(part, fields.get(6, 0))
    if kind == 10:  # a byte that is neither 0 nor 1 would equal neither
        return (np.frombuffer(part, np.uint8) != 0).reshape(shape)
    return np.frombuffer(part, DTYPES[kind]).reshape(shape)


def _check(data: bytes | memoryview, checksum: int) -> None:
    """Compare with a checksum as it is stored: turned, and with a constant added."""
    found = crc32c(data)
    found = ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF
    if found != checksum:
        raise ValueError("a part of it has another checksum")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of the fields of a protobuf message."""
    place = 0
    while place < len(message):
        key, place = _varints(message, place, 1)
        kind, value = key & 7, None
        if kind == 0:
            value, place = _varints(message, place, 1)
        elif kind == 2:
            length, place = _varints(message, place, 1)
            value, place = message[place : place + length], place + length
        elif kind in (1, 5):
            form = "<Q" if kind == 1 else "<I"
            (value,) = struct.unpack_from(form, message, place)
            place += struct.calcsize(form)
        if value is None or place > len(message):
            raise ValueError("a message ends in the middle, or is none")
        yield key >> 3, value


def _varints(data: bytes, place: int, count: int) -> tuple[int, ...]:
    """Numbers of seven bits a byte, the low ones first, and the place behind them."""
    values = []
    for _ in range(count):
        value = 0
        for shift in range(0, 70, 7):
            byte = data[place + shift // 7]
            value |= (byte & 127) << shift
            if byte < 128:
                break
        else:
            raise ValueError("a number has more than ten bytes")
        values.append(value)
        place += shift // 7 + 1
    return (*values, place)
