"""Attention whose weights need little memory, in training too."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Tokens = Float[Array, "batch _ heads channels"]
LARGEST = 1 << 20  # weights of a block, as caches hold
FEWEST = 128  # queries of a block nevertheless, as accelerators want


def attend(queries: Tokens, keys: Tokens, values: Tokens) -> Tokens:
    r"""Scaled dot-product attention, for some queries at a time.

    .. math:: y_q = \sum_k P_{q k} v_k, \quad
        P_{q k} = e^{q \cdot k / \sqrt d - L_q}, \quad
        L_q = \log \sum_k e^{q \cdot k / \sqrt d}

    The gradient computes the weights P of a block again, from the :math:`L_q` that were
    kept. Weights are float32, whatever the type of the tokens.

    Args:
        queries: tokens that hear, ``(batch, tokens, heads, channels)``.
        keys: tokens that are heard.
        values: of the keys.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (1, 300, 2, 4))
        >>> whole = jax.nn.dot_product_attention(x, x, x)
        >>> bool(jnp.allclose(attend(x, x, x), whole, atol=1e-5))
        True

    Reference: Rabe and Staats 2021, "Self-attention does not need O(n^2) memory"; Dao
    et al. 2022, "FlashAttention".
    """
    batch, count, heads, width = queries.shape
    size = max(LARGEST // (batch * heads * keys.shape[1]), FEWEST)
    size = -(-count // -(-count // size))  # as few more as can be
    padded = jnp.pad(queries, ((0, 0), (0, -count % size), (0, 0), (0, 0)))
    blocks = jnp.swapaxes(padded.reshape(batch, -1, size, heads, width), 0, 1)
    heard = jax.lax.map(lambda block: _block(block, keys, values), blocks)
    return jnp.swapaxes(heard, 0, 1).reshape(padded.shape)[:, :count]


def _scores(queries: Tokens, keys: Tokens) -> Float[Array, "batch heads _ _"]:
    return _product("bqhc,bkhc->bhqk", queries * queries.shape[-1] ** -0.5, keys)


def _product(form: str, first: Array, second: Array) -> Array:
    return jnp.einsum(form, first, second, preferred_element_type=jnp.float32)


@jax.custom_vjp
def _block(queries: Tokens, keys: Tokens, values: Tokens) -> Tokens:
    return _forward(queries, keys, values)[0]


def _forward(
    queries: Tokens, keys: Tokens, values: Tokens
) -> tuple[Tokens, tuple[Array, ...]]:
    scores = _scores(queries, keys)
    peak = scores.max(-1, keepdims=True)
    shares = jnp.exp(scores - peak)
    total = shares.sum(-1, keepdims=True)
    sums = _product("bhqk,bkhc->bqhc", shares.astype(values.dtype), values)
    heard = (sums / jnp.swapaxes(total, 1, 2)).astype(values.dtype)
    return heard, (queries, keys, values, heard, peak + jnp.log(total))


def _backward(kept: tuple[Array, ...], change: Tokens) -> tuple[Tokens, ...]:
    queries, keys, values, heard, total = kept
    kind = queries.dtype
    weights = jnp.exp(_scores(queries, keys) - total)
    of_values = jnp.einsum("bhqk,bqhc->bkhc", weights.astype(kind), change)
    raised = _product("bqhc,bkhc->bhqk", change, values)
    mean = (change * heard).astype(jnp.float32).sum(-1, keepdims=True)
    slopes = weights * (raised - jnp.swapaxes(mean, 1, 2))
    slopes = (slopes * queries.shape[-1] ** -0.5).astype(kind)
    of_queries = jnp.einsum("bhqk,bkhc->bqhc", slopes, keys)
    return of_queries, jnp.einsum("bhqk,bqhc->bkhc", slopes, queries), of_values


_block.defvjp(_forward, _backward)
