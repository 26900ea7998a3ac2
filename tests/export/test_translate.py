"""What JAX computes, ONNX Runtime computes: primitives, steps of streams, families."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sepjax.export.programs import (
    chunk_program,
    estimates_of,
    example_calls,
    null_db,
    run_calls,
    step_program,
)
from sepjax.inference.chunks import Chunking
from sepjax.models.build import model_of
from tests.models.test_streams import MODELS_OF_STREAMS, QUICK, parts
from tests.support.families import FAMILIES, family_config

onnxruntime = pytest.importorskip("onnxruntime", reason="needs sepjax[onnx]")
translate = pytest.importorskip("sepjax.export.translate")

RNG = np.random.default_rng(0)
WAVE = RNG.standard_normal((2, 12)).astype(np.float32)
IMAGE = RNG.standard_normal((1, 6, 7, 4)).astype(np.float32)
TAPS = RNG.standard_normal((3, 3, 4, 5)).astype(np.float32)
PLACE = np.asarray(3, np.int32)
AXES = ("NHWC", "HWIO", "NHWC")

FUNCTIONS = {
    "wave": (lambda x: jnp.tanh(x) ** 3 / (1 + jnp.square(x)), WAVE),
    "signs": (lambda x: jnp.where(x > 0.5, -x, lax.rsqrt(jnp.abs(x) + 1)), WAVE),
    "floors": (lambda n: jnp.stack([-n // 2, n % -2, jnp.sign(-n)]), PLACE),
    "masks": (lambda x: jax.nn.softmax(x, -1) * jnp.max(x, 0, keepdims=True), WAVE),
    "sums": (lambda x: jnp.cumsum(x[::-1], axis=-1) - x.sum(0, keepdims=True), WAVE),
    "place": (lambda x, n: lax.dynamic_slice(x, (0, n), (2, 4)), WAVE, PLACE),
    "beyond": (lambda x, n: lax.dynamic_slice(x, (0, 9 * n), (2, 4)), WAVE, PLACE),
    "take": (lambda x, n: jnp.take(x, n + jnp.arange(5), -1, mode="clip"), WAVE, PLACE),
    "rows": (lambda x, n: x.T[jnp.array([[0, 2], [1, 1]])] * n, WAVE, PLACE),
    "pads": (lambda x: lax.pad(x, 2.0, ((0, 1, 0), (-2, 3, 0))), WAVE),
    "adds": (lambda x: x.at[:, 3:5].add(x[:, :2]), WAVE),
    "batches": (lambda x: jnp.einsum("bfc,bfd->bcd", x[..., None], x[..., None]), WAVE),
    "outer": (lambda x: jnp.einsum("af,bg->gabf", x, x), WAVE),
    "loop": (lambda x: lax.scan(lambda c, r: (c + r, c * r), x[0], x[0])[1],
             WAVE[:1]),
    "backwards": (lambda x: lax.scan(lambda c, r: (c + r, c), 0.0, x[0], reverse=True),
                  WAVE),
    "layers": (lambda x: lax.scan(lambda c, r: (c * r, None), x, WAVE[0])[0], WAVE),
    "convolution": (lambda x: lax.conv_general_dilated(
        x, TAPS, (2, 1), ((1, 1), (2, -1)), rhs_dilation=(1, 2),
        dimension_numbers=AXES), IMAGE),
    "transposed": (lambda x: lax.conv_general_dilated(
        x, TAPS, (1, 1), ((2, 1), (1, 1)), lhs_dilation=(2, 2),
        dimension_numbers=AXES), IMAGE),
    "pool": (lambda x: lax.reduce_window(
        x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"), IMAGE),
    "spectrum": (lambda x: jnp.abs(jnp.fft.rfft(x)) * 2, WAVE),
    "odd spectrum": (lambda x: jnp.fft.irfft(jnp.fft.rfft(x[:, :9]) * 1j, 9), WAVE),
    "even spectrum": (lambda x: jnp.fft.irfft(jnp.fft.rfft(x) * (2 + 1j), 12), WAVE),
    "complex": (lambda x: jnp.imag(jnp.fft.ifft(jnp.conj(jnp.fft.fft(x)) * 1j)), WAVE),
    "half": (lambda x: (x.astype(jnp.bfloat16).astype(jnp.float32) > 0) * 1.0, WAVE),
}  # fmt: skip


@pytest.fixture(scope="module")
def results():
    """All functions as one model: name -> what ONNX Runtime says, and what JAX says."""
    arrays = [array for _, *arrays in FUNCTIONS.values() for array in arrays]
    trees = []

    def flat(*arrays):
        rest, made = [*arrays], []
        for function, *own in FUNCTIONS.values():
            tree = jax.tree.leaves(function(*rest[: len(own)]))
            rest = rest[len(own) :]
            trees.append(len(tree))
            made += tree
        return tuple(made)

    inputs = {f"in {place}": array for place, array in enumerate(arrays)}
    truth = jax.jit(flat)(*arrays)
    names = [f"out {place}" for place in range(len(truth))]
    session = onnxruntime.InferenceSession(translate.to_onnx(flat, inputs, names))
    pairs = iter(zip(session.run(names, inputs), truth))
    return {name: [next(pairs) for _ in range(n)] for name, n in zip(FUNCTIONS, trees)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_what_it_was(name, results):
    assert results[name]
    for a, b in results[name]:
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: jnp.sort(x), "'sort'"),
        (lambda x: jnp.fft.rfft(x), "is complex"),
        (lambda x: x + jax.random.normal(jax.random.key(0), x.shape), "random numbers"),
        (
            lambda x: lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x),
            "'while'",
        ),
    ],
)
def test_what_does_not_convert_is_said(function, text):
    with pytest.raises(translate.CannotConvertError, match=text):
        translate.to_onnx(lambda x: (function(x),), {"x": WAVE}, ["y"])


def check(program, name):
    model = translate.to_onnx(program.function, program.inputs, program.outputs)
    session = onnxruntime.InferenceSession(model)

    def call(*given):
        feed = dict(zip(program.inputs, map(np.asarray, given)))
        return session.run(list(program.outputs), feed)

    calls = example_calls(program)
    truth = estimates_of(program, calls)
    assert np.abs(truth).max() > 0
    null = null_db(run_calls(program, call, calls), truth)
    print(f"{name} {program.name} {null}")
    assert null <= -90


# Transforms of both sides round; the rest is matrices and their order.
@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("hybrid", "unmix")
        else pytest.param(name, marks=pytest.mark.slow)
        # Of random parameters, pseudo-inverses differ within JAX as well; ONNX has no
        # state of no frames.
        for name in MODELS_OF_STREAMS
        if name not in ("dec", "enc", "prelu")
    ],
)
def test_steps_of_a_stream(name):
    model, variables, _ = parts(name)
    check(step_program(model, variables, 0.024), name)
    if name not in QUICK:
        check(chunk_program(model, variables, Chunking(chunk=0.5)), name)


WIENER = dict(model__wiener_iterations=1, model__audio_channels=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*(name for name in FAMILIES if name != "irm"), "wiener"]
)
def test_families(name):
    """All of them, also those with transforms on both sides and the Wiener filter."""
    family, fields = ("open_unmix", WIENER) if name == "wiener" else (name, {})
    model = model_of(family_config(family, **fields))
    program = chunk_program(model, {}, Chunking(chunk=0.5))
    variables = jax.jit(model.init)(jax.random.key(0), *program.inputs.values())
    check(chunk_program(model, variables, Chunking(chunk=0.5)), name)
