"""A computation of JAX as a graph of ONNX.

JAX writes a function down as equations of a few dozen primitives; each of them has a
translation in the modules beside this one. What depends on no input, as filters made of
parameters do, is computed here, once. Broadcasts wait until an operator needs them, and
complex numbers are two tensors.

Reference: ONNX operators, version 18; ``jax.make_jaxpr``.
"""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
from jax.extend.core import Literal

from sepjax.registry import Registry

OPSET, IR = 18, 8
"""Versions of ONNX's operators and of its files, which runtimes know since 2023."""
LARGEST = 1 << 16
"""Numbers that may be computed beforehand, unless there were as many already."""


class CannotConvertError(ValueError):
    """A computation has no translation; the message says which part of it."""


class Tensor(NamedTuple):
    """A result of the graph; along axes of size 1 it may stand for more of the same."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


class Complex(NamedTuple):
    """Real and imaginary part."""

    real: Any
    imag: Any


Value = Any
"""A :class:`Tensor`, an array that is known beforehand, or a :class:`Complex`."""
TRANSLATORS = Registry("primitive")
"""Name of a primitive -> ``(graph, equation, *values) -> value or values``."""
LINEAR = frozenset(
    "add add_any sub neg reshape transpose broadcast_in_dim squeeze slice split pad "
    "concatenate select_n rev reduce_sum dynamic_slice gather stack unstack tile "
    "copy scatter-add".split()
)
"""Primitives that do the same to real and imaginary parts."""


class Graph:
    """Nodes in their order; constants and names are those of the outermost graph."""

    def __init__(self, outer: "Graph | None" = None) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = outer.constants if outer else {}
        self.numbers: Iterator[int] = outer.numbers if outer else itertools.count()

    def new_name(self, kind: str) -> str:
        """Return a name that nothing has."""
        return f"{kind.lower()}_{next(self.numbers)}"

    def name(self, value: Value) -> str:
        """Return the name of a tensor, or of a constant, which is kept once."""
        if isinstance(value, Tensor):
            return value.name
        array = np.ascontiguousarray(value, dtype=plain(np.asarray(value).dtype))
        array = array.reshape(np.shape(value))
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:24]
        sizes = "x".join(map(str, array.shape))
        name = f"{array.dtype}_{sizes}_{digest}"
        self.constants[name] = array
        return name

    def add(
        self, kind: str, *inputs: Value, shape: Sequence[int], dtype: Any, **how: Any
    ) -> Tensor:
        """Add a node of one output."""
        names = [self.name(value) for value in inputs]
        made = Tensor(self.new_name(kind), tuple(shape), plain(dtype))
        self.put(kind, names, [made.name], **how)
        return made

    def put(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **how: Any
    ) -> None:
        """Add a node by the names of its inputs and outputs."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, outputs, **how))

    def walk(
        self, jaxpr: Any, constants: Sequence[Any], inputs: Sequence[Value]
    ) -> list:
        """Translate all equations; return the values of the outputs."""
        values = [*map(np.asarray, constants), *inputs]
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], values, strict=True))

        def value_of(atom: Any) -> Value:
            if isinstance(atom, Literal):
                return np.asarray(atom.val, atom.aval.dtype)
            return known[atom]

        for equation in jaxpr.eqns:
            values = [value_of(atom) for atom in equation.invars]
            results = computed(equation, values)
            if results is None:
                results = self._translated(equation, values)
            known.update(zip(equation.outvars, results, strict=True))
        return [value_of(atom) for atom in jaxpr.outvars]

    def _translated(self, equation: Any, values: list[Value]) -> list[Value]:
        name = equation.primitive.name
        if name not in TRANSLATORS:
            raise CannotConvertError(f"ONNX has no counterpart of {name!r} here")
        translate: Callable = TRANSLATORS[name]

        def one(*values: Value) -> list[Value]:
            made = translate(self, equation, *values)
            return made if isinstance(made, list) else [made]

        if name in LINEAR and any(map(is_complex, values)):
            real, imag = (one(*side) for side in zip(*map(halves(name), values)))
            return [Complex(*both) for both in zip(real, imag)]
        return one(*values)


def halves(name: str) -> Callable[[Value], Complex]:
    """Return what makes two real values of one; a condition is the same for both."""
    keep = name in ("select_n", "gather", "dynamic_slice", "scatter-add")

    def split(value: Value) -> Complex:
        whole = keep and not is_complex(value) and dtype_of(value).kind in "biu"
        return Complex(value, value) if whole else as_complex(value)

    return split


def is_complex(value: Value) -> bool:
    """Return whether a value has two parts."""
    return isinstance(value, Complex) or (
        isinstance(value, np.ndarray) and value.dtype.kind == "c"
    )


def as_complex(value: Value) -> Complex:
    """Return real and imaginary part of any value."""
    if isinstance(value, Complex):
        return value
    if isinstance(value, Tensor):
        return Complex(value, np.zeros((1,) * len(value.shape), value.dtype))
    return Complex(np.real(value), np.imag(value).astype(np.real(value).dtype))


def dtype_of(value: Value) -> np.dtype:
    """Return the type of a value's numbers, real ones if it is complex."""
    return dtype_of(value.real) if isinstance(value, Complex) else value.dtype


def plain(dtype: Any) -> np.dtype:
    """Return the type in ONNX: half precision for brains is computed as float32."""
    dtype = np.dtype(dtype)
    return np.dtype(np.float32) if dtype == ml_dtypes.bfloat16 else dtype


def computed(equation: Any, values: list[Value]) -> list[np.ndarray] | None:
    """Return the results of an equation of constants; None: it needs a node.

    Equations that hold others are looked into instead.
    """
    constant = all(isinstance(value, np.ndarray) for value in values)
    params = equation.params.values()
    inner = any(hasattr(each, "eqns") or hasattr(each, "jaxpr") for each in params)
    if not constant or inner or equation.primitive.name == "broadcast_in_dim":
        return None
    outputs = [atom.aval for atom in equation.outvars]
    if any(jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended) for aval in outputs):
        raise CannotConvertError("random numbers have no translation")
    most = max(LARGEST, 2 * sum(value.size for value in values))
    sizes = [
        math.prod(atom.aval.shape) for atom in [*equation.invars, *equation.outvars]
    ]
    if values and max(sizes) > most:
        return None
    whole = [
        np.broadcast_to(value, atom.aval.shape)
        for value, atom in zip(values, equation.invars)
    ]
    with jax.ensure_compile_time_eval():
        results = equation.primitive.bind(*whole, **equation.params)
    results = results if equation.primitive.multiple_results else [results]
    return [np.asarray(each, aval.dtype) for each, aval in zip(results, outputs)]


def infos(tensors: Sequence[Tensor]) -> list[Any]:
    """Return how ONNX declares tensors."""
    from onnx import helper

    return [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(plain(dtype)), list(shape)
        )
        for name, shape, dtype in tensors
    ]
