"""Pickles of PyTorch files, read without running what they ask for.

A pickle is a program: it names functions and classes and calls them. Here a name is
never looked up. It becomes an inert type that only remembers how it is called, and the
few calls that files of weights consist of (:data:`CALLS`) are answered by functions of
ours. Everything else that a file wants to call or to build is :class:`Refused`.
"""

import pickle
import pickletools
import re
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

MANY = 1000  # names in a file of weights are a dozen; each takes memory
DEEP = 200  # a file of weights nests a dozen deep
WIDE = 10**6  # and has some ten thousand objects, each counted where it is mentioned


class Refused(ValueError):
    """A file tries to run code."""


class Named(NamedTuple):
    """A function or class that a file names, as a class is named beside its weights."""

    module: str
    name: str


class Storage(NamedTuple):
    """The numbers behind tensors, which lie elsewhere in the file."""

    kind: str  # FloatStorage, LongStorage, ... of torch
    key: str
    count: int  # elements


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str = ""  # of torch, where the storage has none of its own


class Pairs(dict):
    """An OrderedDict; what is attached to it (``_metadata``) is dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class Fields:
    """An argparse.Namespace."""

    __slots__ = ("values",)

    def __init__(self, *nothing: Any):
        self.values: dict = {}

    def __setstate__(self, state: dict) -> None:
        self.values = dict(state)


class Version(str):
    """A TorchVersion."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class NumpyType:
    """A numpy.dtype of plain numbers."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_: Any):
        if not re.fullmatch("b1|[iu][1248]|f[248]", code):
            raise ValueError(f"NumPy numbers of type {code!r} are not supported")
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = "<>="["<>=".index(state[1])] if state[1] != "|" else "="


def load_pickle(stream: BytesIO) -> tuple[Any, dict[str, Storage]]:
    """Load the next pickle of a stream, with stand-ins for all but plain Python.

    Args:
        stream: at the first byte; afterwards behind the last one.

    Returns:
        The object, in which names are types with an attribute ``named``, tensors are
        :class:`Tensor`, and the storages that it mentions, by key.

    Raises:
        Refused: it wants to call or to build something that is not in :data:`CALLS`.
        Exception: many kinds, where the pickle is damaged.
    """
    begin = stream.tell()
    _check_opcodes(stream)
    end = stream.tell()
    stream.seek(begin)
    reader = _Unpickler(BytesIO(stream.read(end - begin)))
    content = reader.load()
    require_tree(content)
    return content, reader.storages


def _check_opcodes(stream: BytesIO) -> None:
    """Walk through a pickle without obeying it: all there, of sizes that can be."""
    count, nesting = 0, _Nesting()
    for opcode, argument, _ in pickletools.genops(stream):
        count += 1
        # The reader makes room for as many objects as the greatest place says.
        if opcode.name in PUTS and argument > count:
            raise ValueError(f"an object is put at place {argument} of {count}")
        if opcode.name == "BYTEARRAY8":
            raise ValueError("a byte array, which no checkpoint has")
        # Tuples are hashed in C, where too deep ones would end the whole process, and
        # wide ones, which mention the same tuple again and again, would never end.
        extent = nesting.follow(opcode, argument)
        if extent.depth > DEEP or extent.size > WIDE:
            raise ValueError("it is nested too deeply")


PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
GETS = ("GET", "BINGET", "LONG_BINGET")
FILLS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")


class Extent(NamedTuple):
    """How deep an object is nested, and how many objects it mentions, again and again.

    Tuples have exact numbers; objects that are filled later are measured at the end.
    """

    depth: int = 0
    size: int = 1


class _Nesting:
    """The extents of the objects on a pickle's stack."""

    def __init__(self):
        self.stack: list[Extent] = []
        self.marks: list[int] = []
        self.memo: dict[int, Extent] = {}

    def follow(self, opcode: Any, argument: Any) -> Extent:
        """The extent of what an opcode leaves on the stack."""
        name, stack = opcode.name, self.stack
        if name == "MARK":
            self.marks.append(len(stack))
        elif name in PUTS:
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in GETS:
            stack.append(self.memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "POP" and self.marks and self.marks[-1] == len(stack):
            self.marks.pop()
        else:
            self._replace(opcode)
        return stack[-1] if stack else Extent()

    def _replace(self, opcode: Any) -> None:
        before = opcode.stack_before
        start = len(self.stack) - len(before)
        if pickletools.markobject in before:
            start = self.marks.pop() - before.index(pickletools.markobject)
        if start < 0:
            raise ValueError(f"{opcode.name} finds nothing to work with")
        parts = self.stack[start:]
        del self.stack[start:]
        size = 1 + sum(extent.size for extent in parts)
        depths = [extent.depth for extent in parts]
        depth = 1 + max(depths, default=-1)
        if opcode.name in FILLS:  # what is filled is no deeper for being filled again
            depth = max(depths[0], 1 + max(depths[1:], default=-1))
        self.stack += [Extent(depth, size)] * len(opcode.stack_after)


def require_tree(content: Any) -> None:
    """Refuse a tree that would take for ever to walk through, or to print.

    Raises:
        ValueError: a container holds itself, or shared ones add up to too many objects.

    Example:
        >>> rows = [1, 2]
        >>> require_tree({"a": rows, "b": rows})
        >>> rows.append(rows)
        >>> require_tree(rows)
        Traceback (most recent call last):
        ValueError: it holds itself
    """
    sizes: dict[int, int] = {}

    def size(item: Any) -> int:
        if not isinstance(item, dict | list | tuple):
            return 1
        if id(item) not in sizes:
            sizes[id(item)] = 0  # while it is looked through
            parts = [*item, *item.values()] if isinstance(item, dict) else item
            sizes[id(item)] = 1 + sum(size(part) for part in parts)
        elif not sizes[id(item)]:
            raise ValueError("it holds itself")
        if sizes[id(item)] > WIDE:
            raise ValueError("it is nested too deeply")
        return sizes[id(item)]

    try:
        size(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: BytesIO):
        super().__init__(stream, encoding="utf-8")
        self.names: dict[Named, type] = {}
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> type:
        named = Named(module, name)
        if named not in self.names:
            if len(self.names) == MANY:
                raise ValueError(f"it names more than {MANY} functions and classes")
            self.names[named] = _Name("Name", (), {"named": named, "__new__": _call})
        return self.names[named]

    def persistent_load(self, record: Any) -> Any:
        if not isinstance(record, tuple) or not record:
            raise ValueError(f"unknown reference ({type(record).__name__})")
        if record[0] == "module":  # (class, file, source text): only the class counts
            return record[1]
        what, kind, key, _, count, *view = record
        if what != "storage" or any(part is not None for part in view):
            raise ValueError(
                "a view of a storage (PyTorch before 0.4) is not supported"
            )
        name = kind.named.name if isinstance(kind, _Name) else str(kind)
        storage = Storage(name, str(key), _size(count))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {key!r} is mentioned with two sizes or types")
        return storage


class _Name(type):
    """Stand-in for a name in a pickle.

    A type, because the opcode NEWOBJ takes nothing else. Each file has its own, so that
    nothing which a file does to one could outlast it.
    """

    named: Named

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _call(cls, *args, **kwargs)

    def __setattr__(cls, name: str, value: Any) -> None:
        raise _refuse(cls)

    def __setstate__(cls, state: Any) -> None:
        raise _refuse(cls)


def _refuse(cls: _Name) -> Refused:
    name = f"{cls.named.module}.{cls.named.name}"[:200]
    return Refused(
        f"the file wants to run {name!r}. That was refused, and nothing was run: "
        "weights need no code. A file that holds only a state_dict has none"
    )


def _call(cls: _Name, *args: Any, **kwargs: Any) -> Any:
    if kwargs or cls.named not in CALLS:
        raise _refuse(cls)
    return CALLS[cls.named](*args)


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        number = isinstance(value, int | float)
        raise ValueError(f"a size is {value if number else type(value).__name__}")
    return value


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *_: Any, dtype: str = ""
) -> Tensor:
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("a tensor without storage, or with strides of another shape")
    sizes, steps = (tuple(_size(value) for value in part) for part in (shape, strides))
    return Tensor(storage, _size(offset), sizes, steps, dtype)


def _tensor_of_type(
    storage: Any, offset: Any, shape: Any, strides: Any, _: Any, __: Any, dtype: Any
) -> Tensor:
    if not isinstance(dtype, _Name):
        raise ValueError("a tensor whose type has no name")
    return _tensor(storage, offset, shape, strides, dtype=dtype.named.name)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _scalar(dtype: Any, data: bytes) -> Any:
    if not isinstance(dtype, NumpyType):
        raise ValueError("a NumPy number without its type")
    return np.frombuffer(data, dtype.order + dtype.code, 1)[0].item()


def as_fraction(numerator: Any, denominator: Any = 1) -> Fraction:
    """Make a fraction of two numbers, or of one text, as ``fractions`` pickles its own.

    Raises:
        ValueError: they are not integers of at most 18 digits, as 10**10**10 would be.

    Example:
        >>> as_fraction(39, 5), as_fraction("39/5")
        (Fraction(39, 5), Fraction(39, 5))
    """
    text = numerator if isinstance(numerator, str) else f"{numerator}/{denominator}"
    if not re.fullmatch(r"-?[0-9]{1,18}(/[0-9]{1,18})?", text[:40]) or len(text) > 40:
        raise ValueError(f"{text[:40]!r} is no fraction")
    return Fraction(text)


def _path(*parts: str) -> str:
    return "/".join(parts).replace("//", "/")


def _device(kind: str, index: int | None = None) -> str:
    return str(kind) if index is None else f"{kind}:{index}"


# All that a file may call, and what is done instead: nothing of torch, nothing of ours
# that does more than build a container.
CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): Pairs,
    ("collections", "defaultdict"): lambda _=None, *pairs: Pairs(*pairs),
    ("builtins", "set"): lambda items=(): set(items),
    ("__builtin__", "set"): lambda items=(): set(items),
    ("argparse", "Namespace"): Fields,
    ("pathlib", "PosixPath"): _path,
    ("pathlib", "WindowsPath"): _path,
    ("_codecs", "encode"): _encode,
    ("fractions", "Fraction"): as_fraction,
    ("numpy", "dtype"): NumpyType,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("torch", "Size"): lambda sizes=(): tuple(sizes),
    ("torch", "device"): _device,
    ("torch.torch_version", "TorchVersion"): Version,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_type,
    ("torch._utils", "_rebuild_parameter"): lambda value, *_: value,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda value, *_: value,
}
