"""Sums, products, convolutions and Fourier transforms of JAX in ONNX."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sepjax.export.graph import (
    TRANSLATORS,
    CannotConvertError,
    Complex,
    Graph,
    Value,
    as_complex,
)
from sepjax.export.primitives import (
    cut,
    elementwise,
    full,
    multiply,
    pad,
    reshape,
    shape_of,
    stacked,
    transpose,
    whole,
)


def _reduce(graph: Graph, equation: Any, x: Value) -> Value:
    (x,), axes = full(graph, equation, x), np.int64(equation.params["axes"])
    kind = dict(reduce_sum="ReduceSum", reduce_max="ReduceMax", reduce_min="ReduceMin")
    how = dict(keepdims=0, shape=shape_of(equation), dtype=x.dtype)
    return graph.add(kind[equation.primitive.name], x, axes, **how)


for _name in ("reduce_sum", "reduce_max", "reduce_min"):
    TRANSLATORS.register(_name)(_reduce)


@TRANSLATORS.register("cumsum")
def _cumsum(graph: Graph, equation: Any, x: Value) -> Value:
    (x,), params = full(graph, equation, x), equation.params
    how = dict(reverse=int(params["reverse"]), shape=x.shape, dtype=x.dtype)
    return graph.add("CumSum", x, np.int64(params["axis"]), **how)


@TRANSLATORS.register("reduce_window_sum")
def _reduce_window_sum(graph: Graph, equation: Any, x: Value) -> Value:
    """Sums of parts that do not overlap."""
    (x,), params = full(graph, equation, x), equation.params
    window, shape = params["window_dimensions"], shape_of(equation)
    spread = {*params["base_dilation"], *params["window_dilation"]} != {1}
    if tuple(params["window_strides"]) != tuple(window) or spread:
        raise CannotConvertError("sums of windows that overlap have no translation")
    x = pad(graph, x, params["padding"])
    x = cut(graph, x, [0] * len(window), [a * b for a, b in zip(shape, window)])
    split = [size for pair in zip(shape, window) for size in pair]
    axes = np.arange(1, len(split), 2)
    parts = reshape(graph, x, split), axes
    return graph.add("ReduceSum", *parts, keepdims=0, shape=shape, dtype=x.dtype)


@TRANSLATORS.register("dot_general")
def _dot_general(graph: Graph, equation: Any, a: Value, b: Value) -> Value:
    _, (batches, _) = equation.params["dimension_numbers"]
    avals = [atom.aval for atom in equation.invars]

    def product(a: Value, b: Value) -> Value:
        a, b = (whole(graph, x, aval.shape) for x, aval in zip((a, b), avals))
        sides = zip((a, b), *map(list, equation.params["dimension_numbers"]))
        (a, free), (b, more) = (
            _as_matrices(graph, *side, turned)
            for side, turned in zip(sides, (False, True))
        )
        shape = (*a.shape[:-1], b.shape[-1])
        made = graph.add("MatMul", a, b, shape=shape, dtype=a.dtype)
        batch = [avals[0].shape[axis] for axis in batches]
        return reshape(graph, made, (*batch, *free, *more))

    return multiply(graph, product, a, b)


def _as_matrices(
    graph: Graph, x: Value, sums: Sequence[int], batches: Sequence[int], turned: bool
) -> tuple[Value, list[int]]:
    """Matrices with the summed axes last, or first, and the sizes of the free axes."""
    free = [axis for axis in range(len(x.shape)) if axis not in (*sums, *batches)]
    sides = (sums, free) if turned else (free, sums)
    shape = [math.prod(x.shape[axis] for axis in side) for side in (batches, *sides)]
    turned_x = transpose(graph, x, [*batches, *sides[0], *sides[1]])
    matrices = reshape(graph, turned_x, shape if batches else shape[1:])
    return matrices, [x.shape[axis] for axis in free]


@TRANSLATORS.register("conv_general_dilated")
def _convolution(graph: Graph, equation: Any, x: Value, taps: Value) -> Value:
    (x, taps), params = full(graph, equation, x, taps), equation.params
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    x = transpose(graph, x, numbers.lhs_spec)
    taps = transpose(graph, taps, numbers.rhs_spec)
    steps, spread = params["window_strides"], params["rhs_dilation"]
    between, edges = params["lhs_dilation"], params["padding"]
    reach = [d * (size - 1) for d, size in zip(spread, taps.shape[2:])]
    how: dict[str, Any] = dict(dilations=list(spread))
    kind, cuts = "Conv", [(min(low, 0), min(high, 0)) for low, high in edges]
    if set(between) != {1}:
        # Between the samples of a transposed convolution there are zeros.
        if groups > 1 or set(steps) != {1}:
            raise CannotConvertError("a convolution in groups with zeros in between")
        kind, steps = "ConvTranspose", between
        edges = [(far - low, far - high) for far, (low, high) in zip(reach, edges)]
        cuts = [(0, 0)] * len(edges)
        axes = (0, 1), tuple(range(2, len(taps.shape)))
        taps = _turned(graph, taps, axes[1])
    if any(low < 0 or high < 0 for low, high in edges) and kind == "ConvTranspose":
        raise CannotConvertError("a transposed convolution with more than its edges")
    stops = [size + high for size, (_, high) in zip(x.shape[2:], cuts)]
    x = cut(graph, x, [0, 0, *(-low for low, _ in cuts)], [*x.shape[:2], *stops])
    edges = [(max(low, 0), max(high, 0)) for low, high in edges]
    how |= dict(pads=[low for low, _ in edges] + [high for _, high in edges])
    how |= dict(strides=list(steps), group=groups)
    shape = [shape_of(equation)[axis] for axis in numbers.out_spec]
    made = graph.add(kind, x, taps, shape=shape, dtype=x.dtype, **how)
    return transpose(graph, made, np.argsort(numbers.out_spec))


def _turned(graph: Graph, taps: Value, axes: Sequence[int]) -> Value:
    """Taps of a transposed convolution: backwards, (inputs, outputs, ...)."""
    if not isinstance(taps, np.ndarray):
        raise CannotConvertError("a transposed convolution with taps of the input")
    return np.flip(taps.swapaxes(0, 1), axes)


@TRANSLATORS.register("fft")
def _fft(graph: Graph, equation: Any, x: Value) -> Value:
    """Transforms of the last axis; an inverse of real signals is a real part."""
    params = equation.params
    kind, lengths = str(params["fft_type"]).rpartition(".")[2], params["fft_lengths"]
    kind = {"0": "FFT", "1": "IFFT", "2": "RFFT", "3": "IRFFT"}.get(kind, kind)
    if len(lengths) != 1:
        raise CannotConvertError("transforms of several axes have no translation")
    aval, (length,) = equation.invars[0].aval, lengths
    parts = [whole(graph, part, aval.shape) for part in as_complex(x)]
    if kind == "RFFT":
        spectrum = _dft(graph, parts[:1], length, onesided=1)
        return Complex(*_parts(graph, spectrum))
    if kind == "IRFFT":
        parts = _mirrored(graph, parts, length)
    made = _dft(graph, parts, length, inverse=int(kind != "FFT"))
    real, imag = _parts(graph, made)
    return real if kind == "IRFFT" else Complex(real, imag)


def _dft(graph: Graph, parts: Sequence[Value], length: int, **how: int) -> Value:
    """Transform (..., length), real or in two parts, to (..., bins, 2)."""
    *batch, size = parts[0].shape
    rows = math.prod(batch)
    # The operator takes one axis of batches.
    flat = [reshape(graph, part, (rows, size)) for part in parts]
    inputs = stacked(graph, flat, axis=2)
    bins = length // 2 + 1 if how.get("onesided") else length
    shape = (rows, bins, 2)
    made = graph.add("DFT", inputs, axis=1, shape=shape, dtype=np.float32, **how)
    return reshape(graph, made, (*batch, bins, 2))


def _parts(graph: Graph, spectrum: Value) -> list[Value]:
    """Real and imaginary part of (..., 2)."""
    *shape, _ = spectrum.shape
    how = dict(axis=len(shape), shape=shape, dtype=spectrum.dtype)
    return [graph.add("Gather", spectrum, np.int64(side), **how) for side in (0, 1)]


def _mirrored(graph: Graph, parts: list[Value], length: int) -> list[Value]:
    """All bins of a real signal's spectrum, of which the upper half is conjugate.

    The imaginary parts of the first bin, and of the middle one, are not heard.
    """
    places = np.arange(length // 2 + 1, length)
    mirror = np.concatenate([np.arange(length // 2 + 1), length - places])
    signs = np.ones(length, np.float32)
    signs[places] = -1
    signs[[0, length // 2] if length % 2 == 0 else [0]] = 0
    made = []
    for part in parts:
        how = dict(axis=len(part.shape) - 1, dtype=part.dtype)
        shape = (*part.shape[:-1], length)
        made.append(graph.add("Gather", part, mirror, shape=shape, **how))
    signs = signs.reshape((1,) * (len(shape) - 1) + (length,))
    return [made[0], elementwise(graph, "Mul", made[1], signs)]
