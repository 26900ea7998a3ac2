"""Shapes, parts and places of JAX in ONNX."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sepjax.export.graph import (
    TRANSLATORS,
    CannotConvertError,
    Graph,
    Value,
    dtype_of,
)
from sepjax.export.primitives import (
    cut,
    elementwise,
    full,
    pad,
    reshape,
    shape_of,
    stacked,
    tensor_type,
    transpose,
)


@TRANSLATORS.register("broadcast_in_dim")
def _broadcast(graph: Graph, equation: Any, x: Value) -> Value:
    shape = [1] * len(equation.params["shape"])
    for axis, size in zip(equation.params["broadcast_dimensions"], x.shape):
        shape[axis] = size
    return reshape(graph, x, shape)


@TRANSLATORS.register("reshape")
@TRANSLATORS.register("squeeze")
@TRANSLATORS.register("expand_dims")
def _reshape(graph: Graph, equation: Any, x: Value) -> Value:
    return reshape(graph, *full(graph, equation, x), shape_of(equation))


@TRANSLATORS.register("transpose")
def _transpose(graph: Graph, equation: Any, x: Value) -> Value:
    return transpose(graph, x, equation.params["permutation"])


@TRANSLATORS.register("slice")
def _slice(graph: Graph, equation: Any, x: Value) -> Value:
    (x,), params = full(graph, equation, x), equation.params
    return cut(graph, x, params["start_indices"], params["limit_indices"],
               params["strides"])  # fmt: skip


@TRANSLATORS.register("split")
@TRANSLATORS.register("unstack")
def _split(graph: Graph, equation: Any, x: Value) -> list[Value]:
    """Parts of an axis; what is unstacked has one row each, and not that axis."""
    (x,), axis, start, parts = full(graph, equation, x), equation.params["axis"], 0, []
    sizes = equation.params.get("sizes", (1,) * len(equation.outvars))
    for size, atom in zip(sizes, equation.outvars):
        starts, stops = [0] * len(x.shape), [*x.shape]
        starts[axis], stops[axis] = start, start + size
        parts.append(reshape(graph, cut(graph, x, starts, stops), atom.aval.shape))
        start += size
    return parts


@TRANSLATORS.register("rev")
def _rev(graph: Graph, equation: Any, x: Value) -> Value:
    (x,) = full(graph, equation, x)
    axes = np.int64(equation.params["dimensions"])
    back = np.full_like(axes, -1)
    ends = np.full_like(axes, np.iinfo(np.int64).min)
    return graph.add("Slice", x, back, ends, axes, back, shape=x.shape, dtype=x.dtype)


@TRANSLATORS.register("concatenate")
def _concatenate(graph: Graph, equation: Any, *values: Value) -> Value:
    values, axis = full(graph, equation, *values), equation.params["dimension"]
    how = dict(shape=shape_of(equation), dtype=dtype_of(values[0]))
    return graph.add("Concat", *values, axis=axis, **how)


@TRANSLATORS.register("stack")
def _stack(graph: Graph, equation: Any, *values: Value) -> Value:
    axis = equation.params["axis"]
    return stacked(graph, full(graph, equation, *values), axis)


@TRANSLATORS.register("tile")
def _tile(graph: Graph, equation: Any, x: Value) -> Value:
    (x,), shape = full(graph, equation, x), shape_of(equation)
    reps = np.int64(equation.params["reps"])
    x = reshape(graph, x, (1,) * (len(shape) - len(x.shape)) + x.shape)
    return graph.add("Tile", x, reps, shape=shape, dtype=x.dtype)


@TRANSLATORS.register("pad")
def _pad(graph: Graph, equation: Any, x: Value, fill: Value) -> Value:
    (x, fill), sizes = full(graph, equation, x, fill), equation.params["padding_config"]
    if any(inner for *_, inner in sizes):
        raise CannotConvertError("'pad' between samples has no translation")
    x = pad(graph, x, [(max(low, 0), max(high, 0)) for low, high, _ in sizes], fill)
    starts = [max(-low, 0) for low, _, _ in sizes]
    stops = [size - max(-high, 0) for size, (_, high, _) in zip(x.shape, sizes)]
    return cut(graph, x, starts, stops)


@TRANSLATORS.register("dynamic_slice")
def _dynamic_slice(graph: Graph, equation: Any, x: Value, *starts: Value) -> Value:
    x, *starts = full(graph, equation, x, *starts)
    return window(graph, x, starts, shape_of(equation))


def window(
    graph: Graph, x: Value, starts: Sequence[Value], sizes: Sequence[int]
) -> Value:
    """Cut a part of known sizes at places that come at last; it lies inside."""
    axes = [axis for axis, size in enumerate(sizes) if size < x.shape[axis]]
    if not axes:
        return x
    places = []
    for axis in axes:
        place, most = reshape(graph, starts[axis], (1,)), x.shape[axis] - sizes[axis]
        if isinstance(place, np.ndarray):
            places.append(np.clip(place, 0, most).astype(np.int64))
        else:
            how = dict(to=tensor_type(np.dtype(np.int64)), shape=(1,), dtype=np.int64)
            place = graph.add("Cast", place, **how)
            place = elementwise(graph, "Max", place, np.int64([0]))
            places.append(elementwise(graph, "Min", place, np.int64([most])))
    if all(isinstance(place, np.ndarray) for place in places):
        first = [0] * len(sizes)
        for axis, place in zip(axes, places):
            first[axis] = int(place[0])
        return cut(graph, x, first, [a + b for a, b in zip(first, sizes)])
    how = dict(shape=(len(axes),), dtype=np.int64)
    start = graph.add("Concat", *places, axis=0, **how)
    stop = elementwise(graph, "Add", start, np.int64([sizes[axis] for axis in axes]))
    bounds = start, stop, np.int64(axes)
    return graph.add("Slice", x, *bounds, shape=sizes, dtype=x.dtype)


@TRANSLATORS.register("gather")
def _gather(graph: Graph, equation: Any, x: Value, indices: Value) -> Value:
    """A part of an array, or rows of one axis by their numbers."""
    x, indices = full(graph, equation, x, indices)
    numbers = equation.params["dimension_numbers"]
    sizes = tuple(equation.params["slice_sizes"])
    axes, shape = [int(axis) for axis in numbers.start_index_map], shape_of(equation)
    if len(indices.shape) == 1:
        starts = [np.int64(0)] * len(x.shape)
        for place, axis in enumerate(axes):
            starts[axis] = cut(graph, indices, [place], [place + 1])
        return reshape(graph, window(graph, x, starts, sizes), shape)
    axis, count = axes[0], len(indices.shape) - 1
    rows = tuple(1 if each == axis else size for each, size in enumerate(x.shape))
    if len(axes) != 1 or sizes != rows or not numbers.collapsed_slice_dims:
        raise CannotConvertError("'gather' of more than whole rows has no translation")
    places = reshape(graph, indices, indices.shape[:-1])
    places = elementwise(graph, "Max", places, np.zeros((), places.dtype))
    most = np.asarray(x.shape[axis] - 1, places.dtype)
    places = elementwise(graph, "Min", places, most)
    made = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
    picked = graph.add("Gather", x, places, axis=axis, shape=made, dtype=x.dtype)
    inner = [*range(axis), *range(axis + count, len(made))]
    outer = [*range(axis, axis + count)]
    sides = [inner if n in numbers.offset_dims else outer for n in range(len(made))]
    return transpose(graph, picked, [side.pop(0) for side in sides])


@TRANSLATORS.register("scatter-add")
def _scatter_add(
    graph: Graph, equation: Any, x: Value, indices: Value, updates: Value
) -> Value:
    """Add an array to a part of another, which begins at a known place."""
    x, indices, updates = full(graph, equation, x, indices, updates)
    numbers = equation.params["dimension_numbers"]
    inserted = numbers.inserted_window_dims
    windows = len(numbers.update_window_dims) == len(updates.shape)
    if not isinstance(indices, np.ndarray) or indices.ndim != 1 or not windows:
        raise CannotConvertError("'scatter-add' to several places has no translation")
    start = np.zeros(len(x.shape), np.int64)
    start[list(numbers.scatter_dims_to_operand_dims)] = indices
    shape = [*updates.shape]
    for axis in inserted:
        shape.insert(axis, 1)
    updates = reshape(graph, updates, shape)
    rest = np.int64(x.shape) - start - np.int64(shape)
    return elementwise(graph, "Add", x, pad(graph, updates, [*zip(start, rest)]))
