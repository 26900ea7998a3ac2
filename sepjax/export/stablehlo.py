"""StableHLO: programs of JAX for every platform in one file, weights inside."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from sepjax.export.programs import Program

PLATFORMS = ("cpu", "cuda", "tpu")
MEASURE = """
import sys
import numpy as np
from jax import export
program = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
given, state, found = np.load(sys.argv[2]), [], []
while f"state {len(state)}" in given:
    aval = program.in_avals[len(program.in_avals) - int(given["states"]) + len(state)]
    state.append(given[f"state {len(state)}"].astype(aval.dtype))
for number in range(int(given["calls"])):
    heard = [given[n] for n in given if n.startswith(f"call {number} ")]
    estimates, *state = program.call(*heard, *state)
    found.append(np.asarray(estimates, np.float32))
assert "sepjax" not in sys.modules
np.save(sys.argv[3], np.concatenate(found, axis=-1))
"""
"""What a process does that knows jax and numpy only."""


def to_stablehlo(program: Program) -> tuple[bytes, list[list[Any]]]:
    """Return the bytes of ``jax.export``, and the shapes of the inputs.

    A chunk has any number of items and samples where the model's code allows for it,
    else any number of items, else its own shape. A step has its own.

    Raises:
        ValueError: JAX cannot export it; the message is JAX's.
    """
    problem: Exception | None = None
    for shapes in _shapes(program):
        try:
            made = export.export(jax.jit(program.function), platforms=PLATFORMS)(
                *shapes
            )
            sizes = [[str(d) if not isinstance(d, int) else d for d in shape.shape]
                     for shape in shapes]  # fmt: skip
            return bytes(made.serialize()), sizes
        except Exception as error:  # whatever a model's code does with symbols
            problem = error
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    raise ValueError(f"jax.export: {lines[0][:300]}") from problem


def _shapes(program: Program) -> Iterator[list[jax.ShapeDtypeStruct]]:
    """Shapes of the inputs, the most general first."""
    arrays = list(program.inputs.values())
    if not program.state:
        (signal,) = arrays
        channels = ", ".join(map(str, signal.shape[1:-1]))
        channels = f"{channels}, " if channels else ""
        texts = [f"batch, {channels}time"] if program.facts["joined"] != "added" else []
        texts.append(f"batch, {channels}{signal.shape[-1]}")
        for text in texts:
            least = [f"time >= {signal.shape[-1] // 2}"] if "time" in text else []
            shape = export.symbolic_shape(text, constraints=least)
            yield [jax.ShapeDtypeStruct(shape, signal.dtype)]
    yield [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]


def run_alone(
    path: Path, program: Program, calls: list[list[np.ndarray]]
) -> np.ndarray:
    """Return the estimates of a file in a process that does not import sepjax.

    Raises:
        RuntimeError: the process failed; the message is the last line of its own.
    """
    given: dict[str, Any] = dict(calls=len(calls), states=len(program.state))
    for place, name in enumerate(program.state):
        state = program.inputs[name]
        exact = state.dtype.kind in "fiub" and state.dtype.isbuiltin
        given[f"state {place}"] = state if exact else state.astype(np.float32)
    for number, heard in enumerate(calls):
        given |= {f"call {number} {place}": x for place, x in enumerate(heard)}
    with tempfile.TemporaryDirectory() as folder:
        inputs, found = Path(folder, "given.npz"), Path(folder, "found.npy")
        np.savez(inputs, **given)
        command = [sys.executable, "-c", MEASURE, path.absolute(), inputs, found]
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        how = dict(capture_output=True, text=True, cwd=folder, env=environment)
        done = subprocess.run([*map(str, command)], check=False, **how)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it ended"]
            raise RuntimeError(lines[-1][:300])
        return np.load(found)
