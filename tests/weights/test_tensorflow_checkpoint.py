"""Checkpoints of TensorFlow: as it writes them, damaged, and made to harm."""

import contextlib

import ml_dtypes
import numpy as np
import pytest
from tensorflow_writer import (
    crc32c,
    field,
    header,
    index_of,
    masked,
    varint,
    write_checkpoint,
    write_index,
)

from sepjax.foreign import crc32c as quick
from sepjax.foreign import tensorflow_checkpoint
from sepjax.foreign.tensorflow_checkpoint import checkpoint_files, checkpoint_tensors

RNG = np.random.default_rng(0)
ARRAYS = {
    "conv2d/bias": RNG.normal(size=3).astype("f4"),
    "conv2d/kernel": RNG.normal(size=(2, 1, 3)).astype("f4"),
    "conv2d_1/bias": RNG.normal(size=2),
    "empty": np.zeros((0, 3), "f4"),
    "flags": np.array([True, False]),
    "global_step": np.array(7, "i8"),
    "half": RNG.normal(size=4).astype("f2"),
    "short": RNG.normal(size=4).astype(ml_dtypes.bfloat16),
}


FEW = {name: ARRAYS[name] for name in ("conv2d/bias", "flags", "global_step")}


def read(path):
    return checkpoint_tensors(checkpoint_files(path), str(path))


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksums_of_the_standard(data, checksum):
    """RFC 3720, B.4."""
    assert quick.crc32c(data) == checksum


def test_checksums_by_the_definition():
    for count in (*range(40), 255, 256, 257, 1031):
        data = RNG.bytes(count)
        assert quick.crc32c(data) == crc32c(data)
    assert quick.crc32c(memoryview(data)[3:77]) == crc32c(data[3:77])


@pytest.mark.parametrize("shards", [1, 3])
def test_names_and_numbers(tmp_path, shards):
    write_checkpoint(tmp_path / "model", ARRAYS, shards)
    for path in (tmp_path / "model", tmp_path / "model.index"):
        assert_same(read(path), ARRAYS)
    assert not read(path)["conv2d/bias"].flags.writeable


def test_as_tensorflow_writes_them(tmp_path):
    tf = pytest.importorskip("tensorflow")
    arrays = ARRAYS | {f"layer_{n}/kernel": np.full((n, 5), n, "f4") for n in range(90)}
    names, parts = sorted(arrays), []
    for n in range(3):  # each process of a cluster writes a part of its own
        part = names[n::3]
        parts.append(str(tmp_path / f"part-{n:05}-of-00003"))
        tf.raw_ops.SaveV2(
            prefix=parts[-1],
            tensor_names=part,
            shape_and_slices=[""] * len(part),
            tensors=[tf.constant(arrays[name]) for name in part],
        )
        assert_same(read(parts[-1]), {name: arrays[name] for name in part})
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=str(tmp_path / "model")
    )
    assert len(list(tmp_path.glob("model.data-*"))) == 3
    assert_same(read(tmp_path / "model"), arrays)
    # Newer checkpoints have a graph of objects as text beside the numbers.
    tf.train.Checkpoint(kernel=tf.Variable([1.0, 2.0])).write(str(tmp_path / "objects"))
    (found,) = [a for n, a in read(tmp_path / "objects").items() if "kernel" in n]
    assert found.tolist() == [1, 2]


def test_every_flipped_byte_is_noticed(tmp_path):
    write_checkpoint(tmp_path / "model", FEW)
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        for place in range(len(data)):
            damaged = bytearray(data)
            damaged[place] ^= 1 << place % 8
            path.write_bytes(damaged)
            found = None
            with contextlib.suppress(ValueError):
                found = read(tmp_path / "model")
            if found:  # the handle of a block that nobody reads, and filling
                assert_same(found, FEW)
                assert len(data) - 48 <= place < len(data) - 8
        path.write_bytes(data)


def test_every_cut_is_noticed(tmp_path):
    write_checkpoint(tmp_path / "model", FEW)
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        for size in range(len(data)):
            path.write_bytes(data[:size])
            with pytest.raises(ValueError, match="fetch or copy it again"):
                read(tmp_path / "model")
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(shape=(1 << 40, 1 << 40)), "which are not"),
        (dict(shape=(0, 1 << 62)), "which are not"),
        (dict(shape=(0, 1 << 62), size=0, checksum=masked(b"")), "damaged"),
        (dict(shape=(2**64 - 1,)), "which are not"),
        (dict(shape=(1,) * 33), "which are not"),
        (dict(shape=(5,)), "which are not"),
        (dict(size=1 << 50), "larger than the file"),
        (dict(offset=1 << 50), "outside of its file"),
        (dict(offset=1), "outside of its file"),
        (dict(checksum=1), "another checksum"),
        (dict(shard=1), "has no model.data-00001-of-00001"),
        (dict(dtype=20), "or of type 20"),
        (dict(dtype=2), "which are not"),
        (dict(more=field(7, b"")), "is in slices"),
        (dict(more=field(5, b"text")), "damaged"),
        (dict(more=b"\x0b"), "in the middle"),
        (dict(more=varint(9 << 3) + b"\xff" * 11), "more than ten bytes"),
        (dict(more=varint(9 << 3 | 2) + b"\x7f"), "in the middle"),
    ],
)
def test_entries_that_lie(tmp_path, changes, message):
    entries = write_checkpoint(tmp_path / "model", {"a": ARRAYS["conv2d/bias"]})
    write_index(tmp_path / "model", {"a": entries["a"]._replace(**changes)})
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read(tmp_path / "model")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (index_of([[(b"a", b"")]]), "no header"),
        (index_of([[(b"", header(1)), (b"b", b""), (b"a", b"")]]), "not sorted"),
        (index_of([[(b"", header(1))]], kind=1), "compressed"),
        (index_of([[(b"", header(1))]], restarts=1 << 31), "no header"),
        (index_of([[(b"", header(1, _2=1))]]), "high byte"),
        (index_of([[(b"", field(1, b"x")), (b"a", b"")]]), "damaged"),
        (index_of([[(b"", header(1)), (b"\xff", b"")]]), "damaged"),
        (index_of([], [varint(1 << 40) + varint(9)]), "outside of its index"),
        (index_of([], [varint(0) + varint(0)] * 2), "damaged"),
        (index_of([[(b"", header(1))]], [varint(0) + varint(13)] * 9), "not sorted"),
        (b"", "does not end as one"),
        (bytes(100), "does not end as one"),
    ],
)
def test_indexes_that_lie(tmp_path, index, message):
    (tmp_path / "model.index").write_bytes(index)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "model")


def test_long_names_that_share_all_but_a_letter(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorflow_checkpoint, "LARGEST", 1 << 14)
    pairs = [(b"a" * n, header(1)) for n in range(300)]
    (tmp_path / "model.index").write_bytes(index_of([pairs]))
    with pytest.raises(ValueError, match="or too long"):
        read(tmp_path / "model")
    pairs = [(b"%05d" % n, bytes(9)) for n in range(2000)]
    (tmp_path / "model.index").write_bytes(index_of([pairs]))
    with pytest.raises(ValueError, match="more than 0 MiB"):
        read(tmp_path / "model")


def test_tensors_do_not_share_bytes(tmp_path):
    entries = write_checkpoint(tmp_path / "model", {"a": np.zeros(9, "f4")})
    write_index(tmp_path / "model", {f"{n}": entries["a"] for n in range(3)})
    with pytest.raises(ValueError, match="larger than the file"):
        read(tmp_path / "model")


def test_a_file_that_is_not_there(tmp_path):
    write_checkpoint(tmp_path / "model", ARRAYS, 2)
    (tmp_path / "model.data-00001-of-00002").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model\.data-00001-of"):
        read(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match=r"other\.index"):
        read(tmp_path / "other")
