"""Checkpoints of TensorFlow, byte by byte, also such as TensorFlow never writes."""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

NUMBERS = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int64": 9,
    "bool": 10,
    "bfloat16": 14,
    "float16": 19,
}
MAGIC = bytes.fromhex("57fb808b247547db")


def crc32c(data, crc=0xFFFFFFFF):
    """By the definition, bit by bit."""
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


class Entry(NamedTuple):
    """What the index says about a tensor; ``more`` is appended to the message."""

    dtype: int
    shape: tuple
    shard: int
    offset: int
    size: int
    checksum: int
    more: bytes = b""

    def message(self):
        dims = b"".join(field(2, field(1, size)) for size in self.shape)
        numbers = {1: self.dtype, 2: dims, 3: self.shard, 4: self.offset, 5: self.size}
        message = b"".join(field(n, value) for n, value in numbers.items() if value)
        return (
            message + varint(6 << 3 | 5) + struct.pack("<I", self.checksum) + self.more
        )


def block(pairs, restarts=1, kind=0):
    """Sorted names and values, each name without what it shares with the one before."""
    body, last = b"", b""
    for key, value in pairs:
        shared = 0
        while shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        sizes = varint(shared) + varint(len(key) - shared) + varint(len(value))
        body, last = body + sizes + key[shared:] + value, key
    body += bytes(4) + struct.pack("<I", restarts) + bytes([kind])
    return body + struct.pack("<I", masked(body))


def index_of(groups, handles=(), **options):
    """An index of blocks of pairs; ``handles`` instead of the true ones."""
    data, true = b"", []
    for pairs in groups:
        part = block(pairs, **options)
        true.append(varint(len(data)) + varint(len(part) - 5))
        data += part
    top = block([(b"z%d" % n, handle) for n, handle in enumerate(handles or true)])
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(top) - 5)
    return data + top + footer.ljust(40, b"\0") + MAGIC


def entries_of(arrays, shards=1):
    """Entries of arrays, dealt out to files, and the contents of these."""
    parts, entries = [b""] * shards, {}
    for n, (name, array) in enumerate(arrays.items()):
        data, shard = np.asarray(array).tobytes(), n % shards
        number = NUMBERS[np.asarray(array).dtype.name]
        place = shard, len(parts[shard]), len(data), masked(data)
        entries[name] = Entry(number, np.shape(array), *place)
        parts[shard] += data
    return entries, parts


def header(shards, **fields):
    return field(1, shards) + b"".join(field(int(n[1:]), v) for n, v in fields.items())


def write_index(prefix, entries, shards=1, top=None, size=5, **options):
    pairs = sorted((n.encode(), entry.message()) for n, entry in entries.items())
    pairs.insert(0, (b"", header(shards) if top is None else top))
    groups = [pairs[n : n + size] for n in range(0, len(pairs), size)]
    Path(f"{prefix}.index").write_bytes(index_of(groups, **options))


def write_checkpoint(prefix, arrays, shards=1):
    """Write a sound checkpoint; return the entries of its index."""
    entries, parts = entries_of(arrays, shards)
    write_index(prefix, entries, shards)
    for n, part in enumerate(parts):
        Path(f"{prefix}.data-{n:05}-of-{shards:05}").write_bytes(part)
    return entries
