"""What a compiled program does: flops, bytes, collectives, read from its HLO text.

    work = read_work(jax.jit(step).lower(state, batch).compile().as_text())
    work.flops, work.bytes, totals(work.collectives)

XLA's own ``cost_analysis`` counts the body of a loop once and is empty on a GPU. Here
a loop counts as often as it runs: as XLA notes beside it, or, where it notes nothing
(TPU), as the constant in its condition says. All figures are those of one device.

Flops are the multiplications and additions of matrix products and convolutions. Bytes
are what instructions read and write in main memory, as if no cache kept anything:
operands and results, arrays padded to their tiles; of a slice, or an update in place,
the slice alone; nothing of what lies on the chip. All branches of a conditional count.
Transfers between devices are counted apart, without padding.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

BITS = {"pred": 8, "s4": 4, "u4": 4, "bf16": 16, "f8e4m3fn": 8, "f8e5m2": 8, "c64": 64}
BITS |= {"c128": 128} | {f"{k}{n}": n for k in "suf" for n in (8, 16, 32, 64)}
FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast"),
    *("iota", "while"),
    *("after-all", "opt-barrier", "partition-id", "replica-id", "async-update"),
}
COLLECTIVES = {
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all"),
    *("collective-permute", "collective-broadcast"),
}
SLICES = ("dynamic-slice", "slice", "gather")
# What runs other computations, and how it names them.
CALLS = ("call", "conditional", "async-start")
CALLED = re.compile(
    r"(?:to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)"
    r"|branch_computations=\{([^}]*)\}"
)
ARRAY = re.compile(r"([a-z]+\d*[a-z0-9]*)\[([\d,<=]*)\](?:\{([^}]*)\})?")
LINE = re.compile(r"\s*(ROOT )?%?([\w.\-]+) = (.*)")
HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{")


class Array(NamedTuple):
    """An array of a type: its kind of number, its dimensions, its layout."""

    kind: str
    dims: tuple[int, ...]
    layout: str

    @property
    def bytes(self) -> float:
        """Without padding."""
        return math.prod(self.dims) * BITS.get(self.kind, 0) / 8

    @property
    def stored(self) -> float:
        """Padded to its tiles; 0 for an array that lies on the chip, ``S(1)``."""
        if re.search(r"S\([1-9]", self.layout):
            return 0.0
        tile = re.search(r"T\(([\d,]+)\)", self.layout)
        if not tile or not self.dims:
            return self.bytes
        dims = list(self.dims)
        minor = [int(axis) for axis in self.layout.split(":")[0].split(",")]
        for axis, size in zip(minor, reversed(tile[1].split(","))):
            dims[axis] += -dims[axis] % int(size)
        return self._replace(dims=tuple(dims)).bytes


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    op: str
    arrays: tuple[Array, ...]  # of its result
    operands: tuple[str, ...]
    arguments: str
    attributes: str
    root: bool

    def called(self) -> list[str]:
        """The computations that a fusion, a call or a conditional runs."""
        found = CALLED.findall(self.attributes)
        return re.findall(r"[\w.\-]+", " ".join(a or b for a, b in found))

    def attribute(self, pattern: str) -> str:
        """The first group of a regular expression, or nothing."""
        found = re.search(pattern, self.attributes)
        return found[1] if found else ""


Computation = dict[str, Instruction]
Module = dict[str, Computation]


class Collective(NamedTuple):
    """A transfer between devices, and how often it runs."""

    kind: str  # all-reduce, all-gather, ...
    bytes: float  # of one run: what a device gives or what it gets, the larger
    times: int
    shapes: tuple[str, ...]  # of its operands, as f32[8,16]
    source: str  # where in the program it comes from, in jax's words


class Work(NamedTuple):
    """What one device does in one run of a program."""

    flops: float
    bytes: float
    bytes_by_op: dict[str, float]
    cycles: float  # the compiler's own estimates, where it writes them (TPU)
    collectives: list[Collective]
    loops: list[tuple[int, int]]  # (trips, how often it starts); trips 0: not known


def read_work(text: str) -> Work:
    """Count what a module does, from its text as ``compiled.as_text()`` gives it.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> many = lambda x, w: jax.lax.scan(lambda x, w: (x @ w, None), x, w)
        >>> shapes = jnp.ones((4, 8)), jnp.ones((10, 8, 8))
        >>> work = read_work(jax.jit(many).lower(*shapes).compile().as_text())
        >>> work.flops == 10 * 2 * 4 * 8 * 8, work.loops
        (True, [(10, 1)])
    """
    module, entry = parse(text)
    flops, cycles, by_op, collectives, loops = 0.0, 0.0, {}, [], []
    for one, scope, times in running(module, entry):
        if one.op == "while":
            loops.append((trips(one, module), times))
        cycles += times * int(one.attribute(r'"estimated_cycles":"(\d+)"') or 0)
        by_op[one.op] = by_op.get(one.op, 0.0) + times * moved(one, scope, module)
        for inner, around in inside(one, scope, module):
            flops += times * own_flops(inner, around)
            if inner.op.removesuffix("-start") in COLLECTIVES:
                collectives.append(transfer(inner, around, times))
    by_op = {op: size for op, size in by_op.items() if size}
    return Work(flops, sum(by_op.values()), by_op, cycles, collectives, loops)


def totals(collectives: Iterable[Collective]) -> dict[str, dict[str, float]]:
    """Count and bytes of every kind of transfer, loops multiplied out.

    Example:
        >>> totals([Collective("all-reduce", 8.0, 3, ("f32[2]",), "psum")])
        {'all-reduce': {'count': 3, 'bytes': 24.0}}
    """
    found: dict[str, dict[str, float]] = {}
    for one in collectives:
        row = found.setdefault(one.kind, {"count": 0, "bytes": 0.0})
        row["count"] += one.times
        row["bytes"] += one.times * one.bytes
    return found


def parse(text: str) -> tuple[Module, str]:
    """All computations of a module by name, and the name of the first to run."""
    module, entry, scope = {}, "", None
    for line in text.splitlines():
        if scope is None and (head := HEAD.match(line)):
            scope = module.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            scope = None
        elif scope is not None and (found := LINE.match(line)):
            scope[found[2]] = instruction(*found.groups())
    return module, entry


def instruction(root: str | None, name: str, rest: str) -> Instruction:
    """``type opcode(arguments), attributes`` taken apart."""
    end = closing(rest) + 1 if rest.startswith("(") else rest.index(" ")
    kind, rest = rest[:end], rest[end:].lstrip()
    start = rest.index("(")
    end = start + closing(rest[start:])
    arguments, attributes = rest[start + 1 : end], rest[end + 1 :]
    operands = tuple(re.findall(r"%([\w.\-]+)", arguments))
    return Instruction(
        name, rest[:start], arrays_of(kind), operands, arguments, attributes, bool(root)
    )


def closing(text: str) -> int:
    """Where the bracket that a text starts with is closed."""
    depth = 0
    for found in re.finditer(r"[()]", text):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return found.start()
    raise ValueError(f"no closing bracket in HLO: {text[:80]}")


def arrays_of(kind: str) -> tuple[Array, ...]:
    """The arrays of a type, of a tuple in order."""
    found = ARRAY.findall(kind)
    return tuple(
        Array(name, tuple(int(n) for n in re.findall(r"\d+", dims)), layout)
        for name, dims, layout in found
    )


def running(
    module: Module, name: str, times: int = 1
) -> Iterator[tuple[Instruction, Computation, int]]:
    """Every instruction that runs, with its computation and how often."""
    scope = module[name]
    for one in scope.values():
        yield one, scope, times
        if one.op == "while":
            body = one.attribute(r"body=%?([\w.\-]+)")
            yield from running(module, body, times * (trips(one, module) or 1))
        elif one.op in CALLS:
            for called in one.called():
                yield from running(module, called, times)


def inside(
    one: Instruction, scope: Computation, module: Module
) -> Iterator[tuple[Instruction, Computation]]:
    """An instruction, or all that a fusion consists of."""
    if one.op != "fusion":
        yield one, scope
        return
    for called in one.called():
        for inner in module[called].values():
            yield from inside(inner, module[called], module)


def trips(loop: Instruction, module: Module) -> int:
    """How often a counted loop runs; 0 where nothing says so."""
    if noted := loop.attribute(r"known_trip_count\W+n\W+(\d+)"):
        return int(noted)
    condition = module[loop.attribute(r"condition=%?([\w.\-]+)")]
    parts = (inside(one, condition, module) for one in condition.values())
    bounds = [
        int(one.arguments)
        for one, _ in itertools.chain(*parts)
        if one.op == "constant" and one.arrays[0][:2] == ("s32", ())
    ]
    return max(bounds, default=0)


def own_flops(one: Instruction, scope: Computation) -> float:
    """Of a matrix product or a convolution, also one that a library computes."""
    target = one.attribute(r'custom_call_target="([^"]*)"')
    if one.op not in ("dot", "convolution") and not re.match(
        r"__(cublas|cudnn\$conv|onednn\$matmul)", target
    ):
        return 0.0
    arrays = [scope[name].arrays[0] for name in one.operands[:2]]
    if one.op == "convolution" or "conv" in target:
        # The pass that a library's target names permutes input, kernel and output.
        first, second, result = *arrays, one.arrays[0]
        if target.endswith("BackwardInput"):
            first, result = result, first
        elif target.endswith("BackwardFilter"):
            second, result = result, second
        return convolution_flops(one, first, second, result)
    axes = re.findall(r"\d+", one.attribute(r"lhs_contracting_dim\w*([^\]}]*)"))
    depth = math.prod(arrays[0].dims[int(axis)] for axis in axes)
    return 2.0 * depth * math.prod(one.arrays[0].dims)


def convolution_flops(
    one: Instruction, signal: Array, kernel: Array, result: Array
) -> float:
    """Only taps that meet a sample: neither padding nor the gaps of a dilated signal.

    A TPU writes a product of batches of matrices as such a convolution.
    """
    labels = re.split("_|->", one.attribute(r"dim_labels=(\w+->\w+)"))
    arrays = (signal, kernel, result)
    lengths, taps, counts = (dict(zip(x, y.dims)) for x, y in zip(labels, arrays))
    window = one.attribute(r"window=\{([^}]*)\}")
    options = dict(re.findall(r"(\w+)=([\d_x\-]+)", window))
    pairs = 1
    for axis in filter(str.isdigit, lengths):
        here = {key: value.split("x")[int(axis)] for key, value in options.items()}
        names = ("stride", "lhs_dilate", "rhs_dilate")
        stride, gap, spread = (int(here.get(name, 1)) for name in names)
        first = -int(here.get("pad", "0").split("_")[0])
        where = first + stride * np.arange(counts[axis])[:, None]
        where = where + spread * np.arange(taps[axis])
        valid = (where % gap == 0) & (where >= 0) & (where <= gap * (lengths[axis] - 1))
        pairs *= int(np.count_nonzero(valid))
    return 2.0 * pairs * taps["i"] * counts["b"] * counts["f"]


def transfer(one: Instruction, scope: Computation, times: int) -> Collective:
    """A collective's bytes, operands and origin."""
    given = [array for name in one.operands for array in scope[name].arrays]
    size = sum(array.bytes for array in given)
    result = sum(array.bytes for array in one.arrays)
    # The first half of a transfer in two has its operands in its type as well.
    result -= size if one.op.endswith("-start") else 0
    shapes = tuple(f"{x.kind}[{','.join(map(str, x.dims))}]" for x in given)
    kind, source = one.op.removesuffix("-start"), one.attribute(r'op_name="([^"]*)"')
    return Collective(kind, max(size, result), times, shapes, source)


def moved(one: Instruction, scope: Computation, module: Module) -> float:
    """Bytes that an instruction reads and writes in main memory."""
    free = one.op in FREE or one.op in CALLS or one.op.endswith("-done")
    if free or one.op.removesuffix("-start") in COLLECTIVES:
        return 0.0
    operands = [scope[name] for name in one.operands if name in scope]
    if one.op == "fusion":
        return fusion_reads(one, operands, module) + written(one, scope, module)
    if one.op in SLICES:
        return one.arrays[0].bytes + one.arrays[0].stored
    if one.op == "dynamic-update-slice":
        return operands[1].arrays[0].bytes + written(one, scope, module)
    if one.op == "copy-start":
        return sum(array.stored for array in one.arrays[:2])
    if one.op == "slice-start":  # into the memory of the chip, or out of it
        return one.arrays[1].bytes
    if one.op == "custom-call" and not operands:
        return 0.0  # only names a buffer
    return sum(x.stored for y in operands for x in y.arrays) + written(
        one, scope, module
    )


def fusion_reads(
    one: Instruction, operands: list[Instruction], module: Module
) -> float:
    """Bytes that a fusion reads of its operands: of some only slices."""
    body = module[one.called()[0]]
    total = 0.0
    for index, name in parameters(body).items():
        size = sum(array.stored for array in operands[index].arrays)
        total += min(size, sliced(name, body, module))
    return total


def parameters(body: Computation) -> dict[int, str]:
    """Names of a computation's parameters by their place."""
    found = (one for one in body.values() if one.op == "parameter")
    return {int(one.arguments): one.name for one in found}


def sliced(name: str, scope: Computation, module: Module) -> float:
    """Bytes that are read of an array where all that use it take slices; else inf."""
    total = math.inf if scope[name].root else 0.0
    for user in (one for one in scope.values() if name in one.operands):
        place = user.operands.index(name)
        if user.op == "bitcast":
            total += sliced(user.name, scope, module)
        elif user.op == "fusion":
            body = module[user.called()[0]]
            total += sliced(parameters(body)[place], body, module)
        elif user.op in SLICES and place == 0:
            total += user.arrays[0].bytes
        elif user.op != "dynamic-update-slice" or place:
            return math.inf
    return total


def written(one: Instruction, scope: Computation, module: Module) -> float:
    """Bytes of results: of an update in place its own, none of a library's scratch."""
    total = 0.0
    for (result, around), array in zip(results(one, scope, module), one.arrays):
        scratch = one.op == "custom-call" and array.kind in ("s8", "u8")
        size = 0.0 if scratch else array.stored
        if result.op == "dynamic-update-slice" and size:
            size = min(size, around[result.operands[1]].arrays[0].bytes)
        total += size
    return total


def results(
    one: Instruction, scope: Computation, module: Module
) -> Iterator[tuple[Instruction, Computation]]:
    """What computes each array of a result, looked up inside a fusion."""
    if one.op == "fusion":
        body = module[one.called()[0]]
        root = next(inner for inner in body.values() if inner.root)
        yield from results(root, body, module)
    elif one.op == "tuple":
        for name in one.operands:
            yield from results(scope[name], scope, module)
    elif one.op == "bitcast" and one.operands[0] in scope:
        yield from results(scope[one.operands[0]], scope, module)
    else:
        yield from ((one, scope) for _ in one.arrays)
