"""Checkpoint files of PyTorch: what is in them, what is damaged."""

import gzip
import pickle
import struct
import zipfile

import numpy as np
import pytest
from torch_writer import Call, name, pickled, storage, tensor, write_stream, write_zip
from vectors import load

from sepjax.foreign.restricted_pickle import Named
from sepjax.foreign.torch_file import read_torch_file

META = ("zip", "legacy_cuda", "dataparallel")


def test_what_projects_save(shared_data):
    for file, arrays in (
        ("kaituoxu_gln_relu.pth.tar", "kaituoxu_gln_relu"),
        ("asteroid_gln_sigmoid.pth", "asteroid_gln_sigmoid"),
        *((f"meta_checkpoint_{kind}.pth", "meta_checkpoint_expect") for kind in META),
    ):
        found = read_torch_file(shared_data / "model_ref" / file)
        assert type(found) is dict
        expected = load(shared_data, arrays)[1]
        prefix = "module." if "dataparallel" in file else ""
        assert set(found["state_dict"]) == {prefix + key for key in expected}
        for key, array in expected.items():
            np.testing.assert_array_equal(found["state_dict"][prefix + key], array)


@pytest.mark.parametrize(
    ("file", "arrays", "class_name"),
    [
        ("demucs_v1_depth3_mono.th.gz", "demucs_v1_depth3_mono", "model.Demucs"),
        ("demucs_v1_depth3_mono_legacy_cuda.th", "demucs_v1_depth3_mono", None),
        ("demucs_v1_tasnet_stereo.th.gz", "demucs_tasnet_stereo", "tasnet.ConvTasNet"),
    ],
)
def test_classes_that_are_only_named(shared_data, file, arrays, class_name):
    module, name = (class_name or "model.Demucs").split(".")
    found = read_torch_file(shared_data / "model_ref" / file)
    assert found[0] == Named(f"demucs.{module}", name)
    expected = load(shared_data, arrays)[1]
    for key, array in found[3].items():
        np.testing.assert_array_equal(array, expected[key])
    assert set(found[3]) == set(expected)


def test_arguments_of_a_program_are_a_dictionary(shared_data):
    files = [shared_data / f"model_ref/meta_checkpoint_{kind}.pth" for kind in META]
    first, second, third = (read_torch_file(file) for file in files)
    assert type(first["args"]) is dict
    assert first["args"]["sampling_rate"] == 8000
    assert first["args"] == second["args"] == third["args"]
    asteroid = read_torch_file(shared_data / "model_ref/asteroid_gln_sigmoid.pth")
    version = asteroid["infos"]["software_versions"]["torch_version"]
    assert type(version) is str
    assert version.startswith("2.")


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("FloatStorage", "float32"),
        ("DoubleStorage", "float64"),
        ("HalfStorage", "float16"),
        ("LongStorage", "int64"),
        ("CharStorage", "int8"),
        ("BoolStorage", "bool"),
    ],
)
@pytest.mark.parametrize("write", [write_zip, write_stream])
def test_tensors_are_views_of_storages(tmp_path, kind, dtype, write):
    numbers = (np.arange(12) % 5).astype(dtype)
    program = pickled(
        {
            "whole": tensor(kind, "0", 12, (3, 4), (4, 1)),
            "turned": tensor(kind, "0", 12, (4, 3), (1, 4)),
            "part": tensor(kind, "0", 12, (2, 2), (4, 2), offset=5),
            "scalar": tensor(kind, "0", 12, (), (), offset=11),
            "empty": tensor(kind, "0", 12, (0, 7), (7, 1)),
        }
    )
    raw = numbers.tobytes()
    if write is write_zip:
        path = write_zip(tmp_path / "a.pth", program, {"0": raw})
    else:
        path = write_stream(tmp_path / "a.pth", program, [("0", 12, raw)])
    found = read_torch_file(path)
    whole = numbers.reshape(3, 4)
    expected = {
        "whole": whole,
        "turned": whole.T,
        "part": whole[1:, 1::2],
        "scalar": whole[-1, -1],
        "empty": np.empty((0, 7)),
    }
    assert list(found) == list(expected)
    for key, array in expected.items():
        assert found[key].dtype == dtype
        np.testing.assert_array_equal(found[key], array)
    # The same inside gzip.
    packed = tmp_path / "a.th.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_torch_file(packed)["whole"], whole)


def test_other_byte_orders_and_narrow_numbers(tmp_path):
    values = np.float32([1, -2.5, 3e8])
    half = (values.view(np.uint32) >> 16).astype(np.uint16)  # what bfloat16 keeps
    whole = storage("UntypedStorage", "1", 6)
    program = pickled(
        [
            tensor("BFloat16Storage", "0", 3, (3,), (1,)),
            Call(
                *("torch._utils", "_rebuild_tensor_v3", whole, 0, (3,), (1,), False),
                *({}, name("torch", "uint16")),
            ),
        ]
    )
    data = {"0": half.tobytes(), "1": half.tobytes()}
    narrow, plain = read_torch_file(write_zip(tmp_path / "a.pth", program, data))
    np.testing.assert_allclose(np.float32(narrow), values, rtol=2**-7)
    np.testing.assert_array_equal(plain, half)
    program = pickled(tensor("FloatStorage", "0", 3, (3,), (1,)))
    big = [("0", 3, values.astype(">f4").tobytes())]
    path = write_stream(tmp_path / "b.pth", program, big, {"little_endian": False})
    np.testing.assert_array_equal(read_torch_file(path), values)


def test_what_stands_beside_weights(tmp_path):
    parameter = ("torch._utils", "_rebuild_parameter")
    number = np.float64(2.5)
    content = {
        "ordered": Call("collections", "OrderedDict", [["b", 1], ["a", 2]]),
        "size": Call("torch", "Size", (3, 4)),
        "device": Call("torch", "device", "cuda", 1),
        "path": Call("pathlib", "PosixPath", "/", "data", "musdb"),
        "set": {1, 2},
        "type": name("torch", "float32"),
        "parameter": Call(*parameter, tensor("FloatStorage", "0", 1, (1,), (1,)), 1, 2),
        "best": number,
    }
    found = read_torch_file(
        write_zip(tmp_path / "a.pth", pickled(content), {"0": bytes(4)})
    )
    assert list(found.pop("ordered").items()) == [("b", 1), ("a", 2)]
    np.testing.assert_array_equal(found.pop("parameter"), [0])
    assert found == {
        "size": (3, 4),
        "device": "cuda:1",
        "path": "/data/musdb",
        "set": {1, 2},
        "type": Named("torch", "float32"),
        "best": 2.5,
    }


def test_shared_content_is_read_and_what_would_never_end_is_refused(tmp_path):
    rows = [1, 2]
    found = read_torch_file(
        write_zip(tmp_path / "a.pth", pickled({"a": rows, "b": rows}))
    )
    assert found == {"a": [1, 2], "b": [1, 2]}
    circle = {"list": []}
    circle["list"] += [circle, (circle,)]
    with pytest.raises(ValueError, match="itself"):
        read_torch_file(write_zip(tmp_path / "b.pth", pickled(circle)))
    # Printed or searched through, these are 2^60 objects.
    lists, tuples = [], ()
    for _ in range(60):
        lists, tuples = [lists, lists], (tuples, tuples)
    for tree in (lists, tuples):
        with pytest.raises(ValueError, match="nested too deeply"):
            read_torch_file(write_zip(tmp_path / "c.pth", pickled(tree)))


def test_wide_tuples_are_no_keys(tmp_path):
    # EMPTY_DICT, EMPTY_TUPLE, sixty times DUP and TUPLE2, 1, SETITEM, STOP: hashing the
    # key would take longer than the universe has lasted.
    program = b"\x80\x04})" + b"2\x86" * 60 + b"K\x01s."
    with pytest.raises(ValueError, match="nested too deeply"):
        read_torch_file(write_zip(tmp_path / "a.pth", program))


@pytest.mark.parametrize(
    ("program", "storages", "message"),
    [
        (tensor("FloatStorage", "0", 9, (3,), (1,)), {"0": bytes(12)}, "12 bytes inst"),
        (tensor("FloatStorage", "1", 3, (3,), (1,)), {"0": bytes(12)}, "model/data/1"),
        (tensor("FloatStorage", "0", 3, (4,), (1,)), {"0": bytes(12)}, "leaves its"),
        (tensor("FloatStorage", "0", 3, (2,), (3,)), {"0": bytes(12)}, "leaves its"),
        (tensor("FloatStorage", "0", 3, (3,), (1,), 1), {"0": bytes(12)}, "leaves its"),
        (tensor("FloatStorage", "0", 3, (3,), (-1,)), {"0": bytes(12)}, "size is -1"),
        (
            tensor("FloatStorage", "0", 3, (3,), (1,), -1),
            {"0": bytes(12)},
            "size is -1",
        ),
        (tensor("FloatStorage", "0", 3, (3.0,), (1,)), {"0": bytes(12)}, "size is 3.0"),
        (tensor("FloatStorage", "0", 3, (3,), (1, 1)), {"0": bytes(12)}, "strides of"),
        # Strides of zero would make a petabyte out of 12 bytes.
        (tensor("FloatStorage", "0", 3, (1 << 50,), (0,)), {"0": bytes(12)}, "leaves"),
        (tensor("QInt8Storage", "0", 3, (3,), (1,)), {"0": bytes(3)}, "QInt8Storage"),
        (
            [storage("FloatStorage", "0", 3), storage("LongStorage", "0", 3)],
            {"0": bytes(12)},
            "two sizes or types",
        ),
        (storage("FloatStorage", "0", 3, view=[("a", 0, 1)]), {}, "view of a storage"),
        (("PID", "unknown"), {}, "unknown reference"),
        ({(Call("torch", "Size", [1, 2]), ()): 1, "a": {"b"}}, {}, None),
    ],
)
def test_tensors_that_the_file_does_not_hold(tmp_path, program, storages, message):
    path = write_zip(tmp_path / "a.pth", pickled(program), storages)
    if message is None:
        assert read_torch_file(path) == {((1, 2), ()): 1, "a": {"b"}}
        return
    with pytest.raises(ValueError, match=message) as caught:
        read_torch_file(path)
    assert str(path) in str(caught.value)


def test_sizes_beyond_the_file_are_not_believed(tmp_path):
    program = pickled(tensor("FloatStorage", "0", 1 << 60, (1 << 60,), (1,)))
    path = write_stream(tmp_path / "a.pth", program, [("0", 1 << 60, bytes(8))])
    with pytest.raises(ValueError, match="truncated"):
        read_torch_file(path)
    path = write_stream(tmp_path / "a.pth", program, [("0", -1, bytes(8))])
    with pytest.raises(ValueError, match="truncated"):
        read_torch_file(path)
    for program in (
        b"\x80\x02Nr\xff\xff\xff\xff.",  # at place 2^32 of a table
        b"Np999999999999\n.",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b".",  # 2^60 bytes
        b"\x80\x05\x96" + struct.pack("<Q", 1) + b"a.",  # a byte array
        b"\x80\x02" + b"".join(b"cos\nf%d\n0" % n for n in range(2000)) + b"N.",
    ):
        with pytest.raises(ValueError, match="is damaged"):
            read_torch_file(write_zip(tmp_path / "a.pth", program))


def test_files_that_would_fill_the_memory(tmp_path):
    options = dict(compression=zipfile.ZIP_DEFLATED)
    path = write_zip(
        tmp_path / "a.pth", pickled([0] * 99), {"0": bytes(999)}, **options
    )
    with pytest.raises(ValueError, match="compressed"):
        read_torch_file(path)
    path.write_bytes(gzip.compress(bytes(1 << 27)))
    with pytest.raises(ValueError, match="expand to more"):
        read_torch_file(path)


@pytest.mark.parametrize(
    "program",
    [
        b"]" * 100000 + b"a" * 99999 + b".",
        b")" + b"\x85" * 100000 + b".",
        # As a key it is hashed in C, without a limit of its own.
        b"})" + b"\x85" * 1000000 + b"Ns.",
        b"})" + b"\x85q\x00h\x000h\x00" * 9999 + b"Ns.",
        b"cbuiltins\nset\n])" + b"\x85" * 1000000 + b"a\x85R.",
        b"(" * 300 + b"t" * 300 + b".",
    ],
)
def test_deep_nesting(tmp_path, program):
    with pytest.raises(ValueError, match="nested too deeply"):
        read_torch_file(write_zip(tmp_path / "a.pth", b"\x80\x02" + program))


def test_wide_content_is_not_deep(tmp_path):
    content = {
        "a": {str(n): [(n,)] for n in range(3000)},
        "b": [[n] for n in range(999)],
    }
    for protocol in (0, 1, 2, 4, 5):
        program = pickle.dumps(content, protocol)
        assert read_torch_file(write_zip(tmp_path / "a.pth", program)) == content


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("kaituoxu_gln_relu.pth.tar", (0, 3, 100, 10000, -1, -30)),
        ("demucs_v1_depth3_mono.th.gz", (1, 2, 20, 20000, -1)),
        ("demucs_v1_depth3_mono_legacy_cuda.th", (1, 10, 20, 40, 2000, 6000, -1)),
    ],
)
def test_truncated_files(shared_data, tmp_path, name, kept):
    data = (shared_data / "model_ref" / name).read_bytes()
    path = tmp_path / name
    for end in kept:
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match="is damaged, or no") as caught:
            read_torch_file(path)
        assert str(path) in str(caught.value)


def test_flipped_bytes_are_noticed(shared_data, tmp_path):
    data = bytearray((shared_data / "model_ref/kaituoxu_gln_relu.pth.tar").read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"(?i)crc"):
        read_torch_file(path)


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "a.pth"
    for content in (b"", b"RIFF1234WAVE", b"\x89PNG", b"\x00" * 99, pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no PyTorch checkpoint"):
            read_torch_file(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("numbers.npy", b"")
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        read_torch_file(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", pickle.dumps(1))
        file.writestr("a/constants.pkl", pickle.dumps(1))
    with pytest.raises(ValueError, match="TorchScript"):
        read_torch_file(path)
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "missing.pth")
