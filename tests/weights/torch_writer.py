"""Files as torch.save writes them, without torch."""

import io
import pickle
import struct
import zipfile

from sepjax.foreign.torch_file import MAGIC, PROTOCOL


class Call:
    """An object that is pickled as a call, or as a name, of a module not installed."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


class Writer(pickle._Pickler):
    """torch.save's part of pickling: storages by reference, names as they are."""

    def persistent_id(self, value):
        return value[1] if isinstance(value, tuple) and value[:1] == ("PID",) else None

    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, Call):
            return super().save(obj, save_persistent_id)
        self.write(f"c{obj.module}\n{obj.name}\n".encode())
        if obj.arguments is not None:
            super().save(obj.arguments)
            self.write(pickle.REDUCE)


def name(module, name):
    found = Call(module, name)
    found.arguments = None
    return found


def pickled(value):
    stream = io.BytesIO()
    Writer(stream, 2).dump(value)
    return stream.getvalue()


def storage(kind, key, count, location="cpu", view=()):
    return ("PID", ("storage", name("torch", kind), key, location, count, *view))


def tensor(kind, key, count, shape, strides, offset=0):
    place = storage(kind, key, count)
    call = ("torch._utils", "_rebuild_tensor_v2")
    return Call(*call, place, offset, shape, strides, False, {})


def write_zip(path, program, storages=None, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        file.writestr("model/data.pkl", program)
        for key, data in (storages or {}).items():
            file.writestr(f"model/data/{key}", data)
    return path


def write_stream(path, program, storages=(), system=None):
    head = [MAGIC, PROTOCOL, system or {"little_endian": True}]
    data = b"".join(pickle.dumps(part, 2) for part in head) + program
    data += pickle.dumps([key for key, _, _ in storages], 2)
    for _, count, raw in storages:
        data += struct.pack("<q", count) + raw
    path.write_bytes(data)
    return path


def tensors_of(state):
    """Names -> tensors of float32 and int64, and the storages that they view."""
    kinds = {"float32": "FloatStorage", "int64": "LongStorage"}
    tensors = {
        key: tensor(
            *(kinds[array.dtype.name], str(number), array.size, array.shape),
            tuple(stride // array.itemsize for stride in array.strides),
        )
        for number, (key, array) in enumerate(state.items())
    }
    return tensors, {str(n): array.tobytes() for n, array in enumerate(state.values())}
