"""Functions of JAX as models of ONNX.

Own code where a library stands ready: docs/decisions/0016-export.md says why.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sepjax.export import loops, products, shapes
from sepjax.export.graph import (
    IR,
    OPSET,
    CannotConvertError,
    Graph,
    Tensor,
    Value,
    infos,
    is_complex,
    plain,
)
from sepjax.export.primitives import whole

MOST = 2_000_000_000  # bytes of weights in one file
REGISTERED = loops, products, shapes
"""Modules of translations."""


def to_onnx(
    function: Callable[..., tuple],
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
) -> bytes:
    """Translate a function of arrays into the bytes of an ONNX model.

    Args:
        function: of as many arrays as there are inputs, to a tuple of arrays.
        inputs: name -> an array of the shape and type of the input.
        outputs: names.

    Raises:
        CannotConvertError: a part of it has no translation.

    Example:
        >>> import pytest
        >>> runtime = pytest.importorskip("onnxruntime")
        >>> pair = {"x": np.float32([1, 2, 3]), "y": np.float32([4])}
        >>> function = lambda x, y: (jax.numpy.cumsum(x) * y + jax.numpy.sqrt(y),)
        >>> model = runtime.InferenceSession(to_onnx(function, pair, ["z"]))
        >>> model.run(["z"], pair)
        [array([ 6., 14., 26.], dtype=float32)]
    """
    from onnx import helper, numpy_helper

    traced = jax.make_jaxpr(function)(*inputs.values())
    graph = Graph()
    given = [
        Tensor(name, np.shape(value), np.asarray(value).dtype)
        for name, value in inputs.items()
    ]
    results = graph.walk(traced.jaxpr, traced.consts, given)
    named = end(graph, traced.jaxpr, results, outputs)
    if (size := sum(each.nbytes for each in graph.constants.values())) > MOST:
        raise CannotConvertError(
            f"{size / 1e9:.1f} GB are more than a file of ONNX holds"
        )
    constants = [
        numpy_helper.from_array(value, name) for name, value in graph.constants.items()
    ]
    parts = graph.nodes, "sepjax", infos(given), infos(named), constants
    opset = [helper.make_opsetid("", OPSET)]
    how = dict(ir_version=IR, opset_imports=opset, producer_name="sepjax")
    return helper.make_model(helper.make_graph(*parts), **how).SerializeToString()


def end(
    graph: Graph, jaxpr: Any, results: Sequence[Value], names: Sequence[str]
) -> list[Tensor]:
    """Give results their final names, and all of their shape."""
    made = []
    for name, atom, value in zip(names, jaxpr.outvars, results, strict=True):
        if is_complex(value):
            raise CannotConvertError(f"the output {name!r} is complex")
        value = whole(graph, value, atom.aval.shape)
        graph.put("Identity", [graph.name(value)], [name])
        made.append(Tensor(name, tuple(atom.aval.shape), plain(value.dtype)))
    return made
