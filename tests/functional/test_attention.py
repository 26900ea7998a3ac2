"""Attention in blocks: values and gradients of the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional import attention


def whole(queries, keys, values):
    return jax.nn.dot_product_attention(queries, keys, values)


def tokens(*counts: int, width: int = 4) -> list[np.ndarray]:
    draw = np.random.default_rng(0).standard_normal
    return [draw((2, count, 3, width), "f") for count in counts]


@pytest.mark.parametrize(("together", "weights"), [(False, 1), (True, 1 << 20)])
def test_blocks_are_the_whole_with_its_gradients(monkeypatch, together, weights):
    # With the fewest of queries, 37 of them are four blocks of which one is filled up;
    # with many weights they are one block.
    blocks = attention.Blocks(together, weights, queries=10)
    monkeypatch.setattr(attention, "CPU", blocks)
    *given, change = tokens(37, 23, 23, 37)
    # Queries far apart, so that exponentials of bare scores would overflow.
    given[0] *= 100
    pairs = [
        jax.jit(lambda *x, f=f: (*jax.vjp(f, *x)[1](change), f(*x)))(*given)
        for f in (attention.attend, whole)
    ]
    for found, expected in zip(*pairs):
        assert np.isfinite(found).all()
        bound = 1e-5 * float(jnp.abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


def test_narrow_tokens_stay_narrow():
    given = [jnp.asarray(x, jnp.bfloat16) for x in tokens(37, 23, 23)]
    found, back = jax.vjp(attention.attend, *given)
    wide = [x.astype("f") for x in given]
    expected, wide_back = jax.vjp(whole, *wide)
    change = jnp.ones_like(found)
    pairs = zip((found, *back(change)), (expected, *wide_back(change.astype("f"))))
    for narrow, exact in pairs:
        assert narrow.dtype == jnp.bfloat16
        bound = 0.02 * float(jnp.abs(exact).max())  # eight bits
        np.testing.assert_allclose(narrow.astype("f"), exact, rtol=0, atol=bound)
