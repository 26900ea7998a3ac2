"""Loops and branches of JAX in ONNX."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sepjax.export.graph import (
    TRANSLATORS,
    CannotConvertError,
    Complex,
    Graph,
    Tensor,
    Value,
    as_complex,
    infos,
    is_complex,
    plain,
)
from sepjax.export.primitives import cut, reshape, stacked, whole

LAYERS = 128
"""Steps of a loop over parameters that are written one after the other."""


@TRANSLATORS.register("scan")
def _scan(graph: Graph, equation: Any, *values: Value) -> list[Value]:
    """A loop over frames is one; one over the parameters of layers is written out."""
    params = equation.params
    avals = [atom.aval for atom in equation.invars]
    fixed, carried = _kinds(params)
    values = [
        value if place < fixed else parted(whole, graph, value, aval.shape)
        for place, (value, aval) in enumerate(zip(values, avals))
    ]
    constants, state = values[:fixed], values[fixed : fixed + carried]
    rows, length = values[fixed + carried :], params["length"]
    layers = any(isinstance(row, np.ndarray) for row in rows)
    layers = layers or any(map(is_complex, values))
    if length == 1 or (layers and length <= LAYERS):
        return _written_out(graph, params, constants, state, rows)
    if any(map(is_complex, values)) or not rows:
        raise CannotConvertError("a long loop over complex numbers, or over nothing")
    return _loop(graph, params, constants, state, rows)


def _kinds(params: Any) -> tuple[int, int]:
    """Return how many inputs of a loop are fixed, and how many are carried."""
    if "num_consts" in params:  # jax before 0.11
        return params["num_consts"], params["num_carry"]
    fixed, carried, _ = params["ft_in"].unpack()
    return len(fixed), len(carried)


def _written_out(
    graph: Graph, params: Any, constants: list, state: list, rows: list
) -> list[Value]:
    closed, length, made = params["jaxpr"], params["length"], []
    for number in reversed(range(length)) if params["reverse"] else range(length):
        each = [parted(_row, graph, row, number) for row in rows]
        inputs = [*constants, *state, *each]
        results = graph.walk(closed.jaxpr, closed.consts, inputs)
        state = results[: len(state)]
        made.append(results[len(state) :])
    columns = zip(*(made[::-1] if params["reverse"] else made))
    atoms = closed.jaxpr.outvars[len(state) :]
    outputs = []
    for column, atom in zip(columns, atoms):
        column = [parted(whole, graph, value, atom.aval.shape) for value in column]
        if any(map(is_complex, column)):
            sides = zip(*map(as_complex, column))
            outputs.append(Complex(*(stacked(graph, side) for side in sides)))
        else:
            outputs.append(stacked(graph, column))
    return [*state, *outputs]


def parted(function: Callable, graph: Graph, value: Value, *how: Any) -> Value:
    """Do the same to a value, or to both of its parts."""
    if is_complex(value):
        return Complex(*(function(graph, part, *how) for part in as_complex(value)))
    return function(graph, value, *how)


def _row(graph: Graph, rows: Value, number: int) -> Value:
    if isinstance(rows, np.ndarray):
        return rows[number]
    rest = rows.shape[1:]
    start = [number, *(0 for _ in rest)]
    return reshape(graph, cut(graph, rows, start, [number + 1, *rest]), rest)


def _loop(
    graph: Graph, params: Any, constants: list, state: list, rows: list
) -> list[Value]:
    """Every frame after the other; what does not change is seen from inside."""
    from onnx import helper

    closed, inner = params["jaxpr"], Graph(graph)
    inputs = [Tensor(inner.new_name("state"), x.shape, plain(x.dtype)) for x in state]
    inputs += [Tensor(inner.new_name("row"), x.shape[1:], plain(x.dtype)) for x in rows]
    results = inner.walk(closed.jaxpr, closed.consts, [*constants, *inputs])
    outputs = []
    for atom, value in zip(closed.jaxpr.outvars, results):
        value = whole(inner, value, atom.aval.shape)
        name = inner.new_name("result")
        inner.put("Identity", [inner.name(value)], [name])
        outputs.append(Tensor(name, tuple(atom.aval.shape), plain(value.dtype)))
    body = helper.make_graph(inner.nodes, "body", infos(inputs), infos(outputs))
    count = len(state)
    ways = {"scan_input_directions": [1] * len(rows)}
    ways["scan_output_directions"] = [1] * (len(outputs) - count)
    ways = {name: way for name, way in ways.items() if params["reverse"] and way}
    made = [
        Tensor(
            graph.new_name("scan"),
            x.shape if place < count else (params["length"], *x.shape),
            x.dtype,
        )
        for place, x in enumerate(outputs)
    ]
    names = [graph.name(value) for value in (*state, *rows)]
    how = dict(body=body, num_scan_inputs=len(rows))
    graph.put("Scan", names, [each.name for each in made], **how, **ways)
    return made


@TRANSLATORS.register("cond")
def _cond(graph: Graph, equation: Any, which: Value, *values: Value) -> list[Value]:
    """A branch that is known."""
    if not isinstance(which, np.ndarray):
        raise CannotConvertError("a branch that depends on the input")
    closed = equation.params["branches"][int(which)]
    return graph.walk(closed.jaxpr, closed.consts, values)


@TRANSLATORS.register("platform_index")
def _platform_index(graph: Graph, equation: Any) -> Value:
    """What no platform is named for."""
    platforms = equation.params["platforms"]
    others = [place for place, names in enumerate(platforms) if names is None]
    return np.int32(others[0] if others else 0)
