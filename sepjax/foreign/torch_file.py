"""Checkpoint files of PyTorch, opened without PyTorch and without running them."""

import math
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from sepjax.foreign.restricted_pickle import (
    Fields,
    Named,
    Refused,
    Storage,
    Tensor,
    Version,
    load_pickle,
)

MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of the stream format
PROTOCOL = 1001  # second
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
# Weights hardly shrink. What grows more than this was made to fill a memory.
EXPANSION, FREE_EXPANSION = 100, 1 << 26

DTYPES = {
    "FloatStorage": np.dtype("float32"),
    "DoubleStorage": np.dtype("float64"),
    "HalfStorage": np.dtype("float16"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("int64"),
    "IntStorage": np.dtype("int32"),
    "ShortStorage": np.dtype("int16"),
    "CharStorage": np.dtype("int8"),
    "ByteStorage": np.dtype("uint8"),
    "BoolStorage": np.dtype("bool"),
    "ComplexFloatStorage": np.dtype("complex64"),
    "ComplexDoubleStorage": np.dtype("complex128"),
    "UntypedStorage": np.dtype("uint8"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
} | {
    name: np.dtype(name)
    for name in (
        "float16 float32 float64 complex64 complex128 bool "
        "int8 int16 int32 int64 uint8 uint16 uint32 uint64"
    ).split()
}

# What damaged zip files, streams and pickles raise.
DAMAGED_FILES = (pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error)
DAMAGED_VALUES = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
DAMAGE = (*DAMAGED_FILES, *DAMAGED_VALUES, EOFError, RuntimeError, MemoryError)


def read_torch_file(path: str | Path) -> Any:
    r"""Read a file of ``torch.save``, as plain Python and NumPy.

    Both formats are read, the zip file and the stream that PyTorch wrote before 1.6,
    and either of them inside gzip. Nothing that the file names is imported or run.

    Args:
        path: of the file.

    Returns:
        Dictionaries (also for OrderedDict and argparse.Namespace), lists, tuples, sets,
        numbers and strings (also for versions, devices and paths). Tensors on any
        device are NumPy arrays, read-only views of what was read; bfloat16 is that of
        ml_dtypes. Functions and classes that are only named are :class:`Named`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or no PyTorch checkpoint, or wants to run something;
            the message says which file, and what.

    Example:
        >>> import tempfile, zipfile
        >>> path = tempfile.mkdtemp() + "/model.pth"
        >>> with zipfile.ZipFile(path, "w") as file:
        ...     file.writestr("model/data.pkl", pickle.dumps({"epoch": 3}, protocol=2))
        >>> read_torch_file(path)
        {'epoch': 3}

    Source: the formats as ``torch/serialization.py`` (BSD-3) writes them.
    """
    try:
        with open(path, "rb") as file:
            return _read(file, Path(path).stat().st_size)
    except Refused as error:
        raise ValueError(f"{path}: {error}") from None
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        if isinstance(error, RecursionError):
            reason = "it is nested too deeply"
        raise ValueError(
            f"{path} is damaged, or no PyTorch checkpoint: {reason[:300]}"
        ) from error


def _read(file: BinaryIO, size: int) -> Any:
    if file.read(2) == GZIP:
        data = _expand(file, size)
        file, size = BytesIO(data), len(data)
    file.seek(0)
    head = file.read(4)
    file.seek(0)
    return _read_zip(file, size) if head == ZIP else _read_stream(file.read())


def _expand(file: BinaryIO, size: int) -> bytes:
    """The content of a gzip file, unless it grows beyond all reason."""
    file.seek(0)
    unpack = zlib.decompressobj(wbits=31)
    most = max(size * EXPANSION, FREE_EXPANSION)
    data = unpack.decompress(file.read(), most)
    if unpack.unconsumed_tail:
        raise ValueError(f"its {size} bytes of gzip expand to more than {most}")
    if not unpack.eof:
        raise ValueError("its gzip data is truncated")
    return data


def _read_zip(file: BinaryIO, size: int) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        # torch stores; so nothing expands, and no two entries share their bytes.
        if any(entry.compress_size != entry.file_size for entry in entries):
            raise ValueError("its entries are compressed, which torch.save never does")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its entries are larger than the file")
        names = set(archive.namelist())
        roots = [name[:-8] for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ValueError("it has no data.pkl, or several")
        (root,) = roots
        if f"{root}constants.pkl" in names:
            raise ValueError("it is a TorchScript program: save its state_dict instead")
        order = "little"
        if f"{root}byteorder" in names:
            order = archive.read(f"{root}byteorder").decode()
        content, _ = load_pickle(BytesIO(archive.read(f"{root}data.pkl")))
        contents = _Contents(lambda key: archive.read(f"{root}data/{key}"), order)
        return contents.plain(content)


def _read_stream(data: bytes) -> Any:
    stream = BytesIO(data)
    head = [load_pickle(stream)[0]]
    if head[0] != MAGIC:
        raise ValueError("it does not begin as one")
    head += [load_pickle(stream)[0] for _ in range(2)]
    if head[1] != PROTOCOL:
        raise ValueError(f"protocol {head[1]!r} of the stream format is not known")
    order = "little" if head[2].get("little_endian", True) else "big"
    content, storages = load_pickle(stream)
    keys, _ = load_pickle(stream)
    place, pieces = stream.tell(), {}
    for key in map(str, keys):
        (count,) = struct.unpack_from("<q", data, place)
        place += 8
        length = count * _dtype(storages[key].kind).itemsize
        if not 0 <= length <= len(data) - place:
            raise ValueError(f"storage {key!r} of {count} elements is truncated")
        pieces[key] = memoryview(data)[place : place + length]
        place += length
    return _Contents(pieces.__getitem__, order).plain(content)


def _dtype(name: str) -> np.dtype:
    if name not in DTYPES:
        raise ValueError(f"numbers of the type {name[:100]!r} are not supported")
    return DTYPES[name]


class _Contents:
    """Stand-ins turned into plain Python; what is shared in the file stays shared."""

    def __init__(self, read: Callable[[str], bytes | memoryview], order: str):
        self.read = read
        self.swapped = order != sys.byteorder
        self.done: dict[int, Any] = {}
        self.raw: dict[str, bytes | memoryview] = {}
        self.numbers: dict[tuple[str, np.dtype], np.ndarray] = {}

    def plain(self, value: Any) -> Any:
        # Objects live as long as the tree that is converted, so their ids are theirs.
        if id(value) not in self.done:
            result = self._convert(value)
            self.done.setdefault(id(value), result)
        return self.done[id(value)]

    def _convert(self, value: Any) -> Any:
        if isinstance(value, Fields):
            value = value.values
        match value:
            case Tensor():
                return self._array(value)
            case Storage():
                return self._numbers(value, _dtype(value.kind))
            case Version():
                return str(value)
            case type(named=Named() as named):
                return named
            case dict():
                pairs = self.done[id(value)] = {}
                for key, item in value.items():
                    pairs[self.plain(key)] = self.plain(item)
                return pairs
            case list():
                items = self.done[id(value)] = []
                items.extend(self.plain(item) for item in value)
                return items
            case tuple() | set():
                return type(value)(self.plain(item) for item in value)
        return value

    def _numbers(self, storage: Storage, dtype: np.dtype) -> np.ndarray:
        """All elements of a storage."""
        if storage.key not in self.raw:
            data = self.raw[storage.key] = self.read(storage.key)
            size = storage.count * _dtype(storage.kind).itemsize
            if len(data) != size:
                raise ValueError(
                    f"storage {storage.key!r} has {len(data)} bytes instead of {size}"
                )
        place = storage.key, dtype
        if place not in self.numbers:
            plain = np.dtype("uint8") if dtype.kind == "b" else dtype
            numbers = np.frombuffer(self.raw[storage.key], plain)
            numbers = numbers.byteswap() if self.swapped else numbers
            # A byte that is neither 0 nor 1 would be a bool that equals neither.
            self.numbers[place] = numbers != 0 if dtype.kind == "b" else numbers
        return self.numbers[place]

    def _array(self, tensor: Tensor) -> np.ndarray:
        """The view that a tensor is, once it is sure to lie within its storage."""
        dtype = _dtype(tensor.dtype or tensor.storage.kind)
        numbers = self._numbers(tensor.storage, dtype)
        size = math.prod(tensor.shape)
        steps = zip(tensor.shape, tensor.strides)
        last = tensor.offset + sum((length - 1) * step for length, step in steps)
        # More elements than the storage has would be copies once they are worked with.
        if size and not (last < len(numbers) and size <= len(numbers)):
            raise ValueError(
                f"a tensor of shape {tensor.shape} at {tensor.offset} with strides "
                f"{tensor.strides} leaves its storage of {len(numbers)} elements"
            )
        if not size:
            return np.empty(tensor.shape, dtype)
        strides = [step * dtype.itemsize for step in tensor.strides]
        return np.lib.stride_tricks.as_strided(
            numbers[tensor.offset :], tensor.shape, strides, writeable=False
        )
