"""What is exported of a model: pure functions of arrays, weights inside.

``separate`` is one chunk of a mixture. ``step`` is a block of a stream: its state goes
in and comes out as arrays with names, so that whoever calls it holds it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from sepjax.inference.chunks import Chunking
from sepjax.models.contract import SeparationModel, Variables


class Program(NamedTuple):
    """A function and the arrays with which its first call begins.

    The first input is the signal, ``(1, *channels, samples)``, the first output the
    estimates, ``(1, sources, *channels, samples)``. The last outputs are the last
    inputs of the next call.
    """

    name: str
    function: Callable[..., tuple[jax.Array, ...]]
    inputs: dict[str, np.ndarray]
    outputs: tuple[str, ...]
    facts: dict[str, Any]  # for those who call it

    @property
    def state(self) -> list[str]:
        """Names of the inputs that are the state."""
        return [name for name in self.inputs if name.startswith("state.")]


def silence(model: SeparationModel, samples: int) -> np.ndarray:
    """Return a silent signal as the model hears it: one item, all channels."""
    channels = (model.audio_channels,) if model.audio_channels > 1 else ()
    return np.zeros((1, *channels, samples), np.float32)


def chunk_program(
    model: SeparationModel, variables: Variables, chunking: Chunking
) -> Program:
    """Return the separation of a chunk, as long as ``chunking`` says, or of a tile.

    Raises:
        ValueError: the model is an oracle.

    Example:
        >>> from sepjax.models import Separation
        >>> class Halves(SeparationModel):
        ...     sources: tuple = ("one", "two")
        ...     sample_rate: int = 8000
        ...     def __call__(self, mixture):
        ...         return Separation(jax.numpy.stack([mixture / 2] * 2, axis=1))
        >>> program = chunk_program(Halves(), {}, Chunking(chunk=0.5))
        >>> program.facts["length"], program.facts["hop"]
        (4000, 3000)
        >>> [array.shape for array in program.function(*program.inputs.values())]
        [(1, 2, 4000)]
    """
    if model.needs_sources:
        raise ValueError("an oracle is given the true sources: there is none to export")
    length = max(round(chunking.chunk * model.sample_rate), 1)
    hop = max(length - round(chunking.overlap * length), 1)
    facts: dict[str, Any] = dict(length=length, hop=hop, before=0, joined="cross-faded")
    if (tiling := model.tiling) is not None:
        facts = tiling._asdict() | dict(joined="added")

    variables = jax.tree.map(jax.numpy.asarray, variables)

    def separate(mixture: jax.Array) -> tuple[jax.Array]:
        return (model.apply(variables, mixture, method="tile").estimates,)

    signal = dict(mixture=silence(model, facts["length"]))
    return Program("separate", separate, signal, ("estimates",), facts)


def step_program(
    model: SeparationModel, variables: Variables, seconds: float
) -> Program:
    """Return the step of a stream with blocks of about so many seconds.

    Inputs are ``block``, ``samples``, which says how many of its samples are the
    signal's, and ``state.…``; outputs ``estimates`` and ``next.…``.

    Raises:
        ValueError: the model needs the whole song; the message says why.
    """
    state = jax.device_get(model.init_state(1))
    streaming = model.streaming
    assert streaming is not None  # init_state has said why not
    size = streaming.whole_blocks(round(seconds * model.sample_rate))
    variables = jax.tree.map(jax.numpy.asarray, variables)
    leaves, tree = jax.tree_util.tree_flatten_with_path(state)
    keys = [jax.tree_util.keystr(p, simple=True, separator=".") for p, _ in leaves]

    def step(block: jax.Array, samples: jax.Array, *leaves: jax.Array) -> tuple:
        before = jax.tree.unflatten(tree, leaves)
        how = dict(method="step")
        after, estimates = model.apply(variables, before, block, samples, **how)
        return (estimates, *jax.tree.leaves(after))

    inputs = dict(block=silence(model, size), samples=np.asarray(size, np.int32))
    inputs |= {f"state.{key}": np.asarray(leaf) for key, (_, leaf) in zip(keys, leaves)}
    facts = dict(streaming._asdict(), block=size, delay=streaming.delay)
    names = ("estimates", *(f"next.{key}" for key in keys))
    return Program("step", step, inputs, names, facts)


def example_calls(program: Program, count: int = 5) -> list[list[np.ndarray]]:
    """Return what is heard in some calls: noise, which ends in the last block but one.

    The state is not among it: that of a call is what the call before returned.
    """
    signal, *rest = program.inputs.values()
    rng, calls = np.random.default_rng(0), []
    for number in range(count if program.state else 1):
        noise = np.float32(0.1) * rng.standard_normal(signal.shape, np.float32)
        calls.append([noise])
        if program.state:
            (most,) = rest[:1]
            left = {count - 2: most // 3, count - 1: 0}.get(number, most)
            calls[-1].append(np.asarray(left, np.int32))
    return calls


def run_calls(
    program: Program, call: Callable[..., Any], calls: list[list[np.ndarray]]
) -> np.ndarray:
    """Return the estimates of calls, one after the other, along time."""
    state, found = [program.inputs[name] for name in program.state], []
    for given in calls:
        estimates, *state = call(*given, *state)
        found.append(np.asarray(estimates, np.float32))
    return np.concatenate(found, axis=-1)


def estimates_of(program: Program, calls: list[list[np.ndarray]]) -> np.ndarray:
    """Return JAX's own estimates, which files are compared with."""
    return run_calls(program, jax.jit(program.function), calls)


def null_db(found: np.ndarray, truth: np.ndarray) -> float:
    r"""Return :math:`10 \log_{10} \sum (a - b)^2 / \sum b^2`; -200: equal.

    Example:
        >>> round(null_db(np.float32([1, 2.002]), np.float32([1, 2])), 1)
        -61.0
    """
    error = np.sum(np.square(found.astype(np.float64) - truth))
    energy = np.sum(np.square(truth.astype(np.float64)))
    share = error / energy if energy else float(error > 0)
    return round(float(10 * np.log10(max(share, 1e-20))), 1)
