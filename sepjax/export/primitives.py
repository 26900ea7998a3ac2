"""What JAX's primitives are in ONNX.

Elementwise operators broadcast by themselves, so their inputs keep the shape that they
have; what needs all of an array asks for it by :func:`whole`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sepjax.export.graph import (
    TRANSLATORS,
    CannotConvertError,
    Complex,
    Graph,
    Value,
    as_complex,
    is_complex,
    plain,
)

ELEMENTWISE = {
    **dict(abs="Abs", add="Add", add_any="Add", ceil="Ceil", cos="Cos", div="Div"),
    **dict(erf="Erf", exp="Exp", floor="Floor", log="Log", logistic="Sigmoid"),
    **dict(max="Max", min="Min", mul="Mul", neg="Neg", pow="Pow", sign="Sign"),
    **dict(sin="Sin", sqrt="Sqrt", sub="Sub", tanh="Tanh"),
}
COMPARISONS = dict(eq="Equal", ge="GreaterOrEqual", gt="Greater", le="LessOrEqual")
COMPARISONS |= {"lt": "Less", "and": "And", "or": "Or", "not": "Not", "xor": "Xor"}
CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call")
CALLS += ("custom_vjp_call", "checkpoint", "remat2")
REWRITTEN: dict[str, Callable] = {
    "clamp": lambda low, x, high: jnp.minimum(jnp.maximum(x, low), high),
    "conj": lambda x, **_: lax.complex(lax.real(x), -lax.imag(x)),
    "integer_pow": lambda x, y: x * x if y == 2 else lax.pow(x, lax.full_like(x, y)),
    "log1p": lambda x, **_: lax.log(1 + x),
    "ne": lambda a, b: lax.bitwise_not(lax.eq(a, b)),
    "rsqrt": lambda x, **_: 1 / lax.sqrt(x),
    "square": lambda x: x * x,
}
"""What ONNX does not have, by what it has."""
SAME = ("stop_gradient", "copy", "copy_p", "optimization_barrier", "reduce_precision")


def shape_of(equation: Any, output: int = 0) -> tuple[int, ...]:
    """Return the shape of an equation's output."""
    return tuple(equation.outvars[output].aval.shape)


def whole(graph: Graph, value: Value, shape: Sequence[int]) -> Value:
    """Return a value without broadcasts left open."""
    if value.shape == tuple(shape):
        return value
    return graph.add("Expand", value, np.int64(shape), shape=shape, dtype=value.dtype)


def full(graph: Graph, equation: Any, *values: Value) -> list[Value]:
    """Return the inputs of an equation without broadcasts left open."""
    avals = [atom.aval for atom in equation.invars]
    return [whole(graph, value, aval.shape) for value, aval in zip(values, avals)]


def reshape(graph: Graph, value: Value, shape: Sequence[int]) -> Value:
    """Return the same numbers in another shape."""
    if isinstance(value, np.ndarray):
        return value.reshape(shape)
    if value.shape == tuple(shape):
        return value
    return graph.add("Reshape", value, np.int64(shape), shape=shape, dtype=value.dtype)


def transpose(graph: Graph, value: Value, order: Sequence[int]) -> Value:
    """Return a value with its axes in another order."""
    order = [int(axis) for axis in order]
    if isinstance(value, np.ndarray):
        return value.transpose(order)
    if order == sorted(order):
        return value
    shape = [value.shape[axis] for axis in order]
    return graph.add("Transpose", value, perm=order, shape=shape, dtype=value.dtype)


def cut(
    graph: Graph,
    x: Value,
    starts: Sequence[int],
    stops: Sequence[int],
    steps: Sequence[int] | None = None,
) -> Value:
    """Return a part of a value along the axes where it is not all of it."""
    steps = steps or [1] * len(starts)
    each = list(zip(starts, stops, steps, x.shape, range(len(starts))))
    parts = [part for part in each if part[:3] != (0, part[3], 1)]
    if isinstance(x, np.ndarray) or not parts:
        return x[tuple(slice(*one[:3]) for one in each)] if parts else x
    shape = [len(range(*part[:3])) for part in each]
    bounds = [np.int64([p[i] for p in parts]) for i in (0, 1, 4, 2)]
    return graph.add("Slice", x, *bounds, shape=shape, dtype=x.dtype)


def pad(
    graph: Graph, x: Value, edges: Sequence[tuple[int, int]], fill: Value = None
) -> Value:
    """Put zeros, or ``fill``, before and behind a value along each axis."""
    if not any(map(any, edges)):
        return x
    fill = np.zeros((), plain(x.dtype)) if fill is None else fill
    pads = np.int64([low for low, _ in edges] + [high for _, high in edges])
    shape = [size + int(sum(edge)) for size, edge in zip(x.shape, edges)]
    return graph.add("Pad", x, pads, fill, shape=shape, dtype=x.dtype)


def stacked(graph: Graph, values: Sequence[Value], axis: int = 0) -> Value:
    """Return values of one shape side by side along a new axis."""
    shape = [*values[0].shape]
    shape.insert(axis, 1)
    rows = [reshape(graph, value, shape) for value in values]
    shape[axis] = len(values)
    return graph.add("Concat", *rows, axis=axis, shape=shape, dtype=values[0].dtype)


def elementwise(graph: Graph, kind: str, *values: Value, dtype: Any = None) -> Value:
    """Add an operator that broadcasts."""
    shape = np.broadcast_shapes(*(value.shape for value in values))
    dtype = values[-1].dtype if dtype is None else dtype
    return graph.add(kind, *values, shape=shape, dtype=dtype)


def multiply(graph: Graph, product: Callable[..., Value], a: Value, b: Value) -> Value:
    """Return a product of values, real or complex."""
    if not is_complex(a) and not is_complex(b):
        return product(a, b)
    (ar, ai), (br, bi) = as_complex(a), as_complex(b)
    if not is_complex(b):
        return Complex(product(ar, b), product(ai, b))
    if not is_complex(a):
        return Complex(product(a, br), product(a, bi))
    sides = product(ar, br), product(ai, bi), product(ar, bi), product(ai, br)
    return Complex(
        elementwise(graph, "Sub", *sides[:2]), elementwise(graph, "Add", *sides[2:])
    )


def _elementwise(graph: Graph, equation: Any, *values: Value) -> Value:
    name = equation.primitive.name
    kind = ELEMENTWISE[name]
    if name == "mul":
        return multiply(graph, functools.partial(elementwise, graph, kind), *values)
    if any(map(is_complex, values)):
        return _complex(graph, name, *values)
    if name in ("max", "min") and plain(values[0].dtype).kind == "b":
        kind = dict(max="Or", min="And")[name]
    return elementwise(graph, kind, *values)


def _complex(graph: Graph, name: str, value: Value, *other: Value) -> Value:
    """Magnitudes, and quotients by real numbers."""
    real, imag = as_complex(value)
    if name == "abs":
        squares = [elementwise(graph, "Mul", part, part) for part in (real, imag)]
        return elementwise(graph, "Sqrt", elementwise(graph, "Add", *squares))
    if name == "div" and not is_complex(other[0]):
        return Complex(*(elementwise(graph, "Div", x, *other) for x in (real, imag)))
    raise CannotConvertError(f"{name!r} of complex numbers has no translation")


def _comparison(graph: Graph, equation: Any, *values: Value) -> Value:
    kind = COMPARISONS[equation.primitive.name]
    if kind in ("And", "Or", "Not", "Xor") and values[0].dtype.kind != "b":
        kind = f"Bitwise{kind}"
        return elementwise(graph, kind, *values)
    return elementwise(graph, kind, *values, dtype=bool)


def _call(graph: Graph, equation: Any, *values: Value) -> list[Value]:
    params = equation.params
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    if hasattr(inner, "consts"):
        return graph.walk(inner.jaxpr, inner.consts, values)
    return graph.walk(inner, [], values)


def _rewritten(graph: Graph, equation: Any, *values: Value) -> list[Value]:
    function = REWRITTEN[equation.primitive.name]
    avals = [atom.aval for atom in equation.invars]
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    closed = jax.make_jaxpr(lambda *x: function(*x, **equation.params))(*shapes)
    return graph.walk(closed.jaxpr, closed.consts, values)


def _same(graph: Graph, equation: Any, *values: Value) -> list[Value]:
    return list(values)


for _names, _translate in (
    (ELEMENTWISE, _elementwise),
    (COMPARISONS, _comparison),
    (CALLS, _call),
    (REWRITTEN, _rewritten),
    (SAME, _same),
):
    for _name in _names:
        TRANSLATORS.register(_name)(_translate)


@TRANSLATORS.register("rem")
def _rem(graph: Graph, equation: Any, a: Value, b: Value) -> Value:
    # The sign of the dividend, as in C.
    shape = np.broadcast_shapes(a.shape, b.shape)
    return graph.add("Mod", a, b, fmod=1, shape=shape, dtype=a.dtype)


@TRANSLATORS.register("select_n")
def _select_n(
    graph: Graph, equation: Any, which: Value, no: Value, yes: Value
) -> Value:
    if yes.dtype.kind != "b":
        return elementwise(graph, "Where", which, yes, no, dtype=yes.dtype)
    if which.dtype.kind != "b":
        raise CannotConvertError("a choice among more than two")
    other = elementwise(graph, "Not", which)
    sides = elementwise(graph, "And", which, yes), elementwise(graph, "And", other, no)
    return elementwise(graph, "Or", *sides)


@TRANSLATORS.register("convert_element_type")
def _convert(graph: Graph, equation: Any, x: Value) -> Value:
    dtype = plain(equation.params["new_dtype"])
    if dtype.kind == "c":
        return as_complex(x)
    if plain(x.dtype) == dtype:
        return x
    number = tensor_type(dtype)
    return graph.add("Cast", x, to=number, shape=x.shape, dtype=dtype)


def tensor_type(dtype: np.dtype) -> int:
    """Return the number of a type in ONNX."""
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(dtype)


TRANSLATORS.register("complex")(lambda graph, equation, *parts: Complex(*parts))
TRANSLATORS.register("real")(lambda graph, equation, x: as_complex(x).real)
TRANSLATORS.register("imag")(lambda graph, equation, x: as_complex(x).imag)
